"""Softmax over a ring of the last pairs: every one (a sliding window), or every so many, and the first ones for ever.

I know nothing of models or sensors.
"""
