"""Recurrent forecasting models with a constant-size state: tensors and slots.

I know nothing of sensors' names, topics, files or clocks.
"""
