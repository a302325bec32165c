"""FAVOR+: softmax's kernel by positive orthogonal random features.

I know nothing of models or sensors.
"""
