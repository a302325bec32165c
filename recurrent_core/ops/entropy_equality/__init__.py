"""Entropy-equality linear attention over time: the state, and the step, chunk and reference forms.

I know nothing of models, calendars or sensors; README.md beside me has the derivation.
"""
