"""Whole models: each folder one, behind the interface in `interface`."""
