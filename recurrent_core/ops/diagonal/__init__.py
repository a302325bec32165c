"""Diagonal attention: each channel keeps a decayed mean of its own values, weighed by its own key.

I know nothing of models or sensors.
"""
