"""Replays history through the router and the stepper of the live engine, and scores what they forecast.

I know the tables of `connectors.file` and the engine's own parts; nothing of topics, servers or the clock.
"""
