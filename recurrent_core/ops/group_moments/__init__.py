"""Entropy-equality attention across the members of a group at one instant, kept incrementally.

I know nothing of sensors or partitions; README.md beside me has the derivation.
"""
