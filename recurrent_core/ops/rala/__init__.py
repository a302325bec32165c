"""Rank-augmented linear attention: keys weighed by what the queries look for, made causal.

I know nothing of models or sensors.
"""
