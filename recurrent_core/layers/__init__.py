"""Layers around a rule of attention: projections, norms, convolution, and stacks of them.

We know hidden vectors and slots, nothing of sensors, forecasts or losses.
"""
