"""Lightning Attention-2: decayed linear attention without a denominator, in blocks.

I know nothing of models or sensors.
"""
