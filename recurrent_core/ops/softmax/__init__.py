"""Softmax over all pairs so far: the oracle that linear rules stand in for. Its memory grows with the run.

I know nothing of models or sensors.
"""
