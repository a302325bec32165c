"""Linformer: keys and values of a window of fixed length, projected onto fewer. Not causal.

I know nothing of models or sensors.
"""
