"""Softmax over a few memory slots, each a decayed mean of the keys and values that were let into it.

I know nothing of models or sensors.
"""
