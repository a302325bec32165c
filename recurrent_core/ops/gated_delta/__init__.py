"""The gated delta rule: before a value is written, what the memory says at its key is taken out.

I know nothing of models or sensors.
"""
