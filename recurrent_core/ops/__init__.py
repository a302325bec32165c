"""Recurrences: each a folder with its derivation, its oracle and its fast forms.

We know tensors and slots, nothing of models, sensors or clocks.
"""
