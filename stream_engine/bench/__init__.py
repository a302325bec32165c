"""Measurements that a user runs on a machine of their own.

I know nothing of how they are shown or where they are kept.
"""
