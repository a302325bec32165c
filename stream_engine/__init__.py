"""The streaming online forecasting engine: sensors, readings and forecasts.

The only package that knows both the connectors (bytes, positions) and the recurrent core (tensors, slots).
"""

__version__ = "0.1.0"
