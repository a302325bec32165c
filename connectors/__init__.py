"""Connectors: sources, sinks and state stores behind three contracts.

I know bytes, keys and positions; nothing of sensors, readings, forecasts or tensors.
"""
