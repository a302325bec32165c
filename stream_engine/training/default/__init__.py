"""Trains the model that ships with the package, on generated and development data."""
