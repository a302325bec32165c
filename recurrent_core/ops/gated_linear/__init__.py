"""Gated linear attention: a decay for each channel of the key, given by the input.

I know nothing of models or sensors.
"""
