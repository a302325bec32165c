"""Attention by a kernel's feature map, elu + 1 or ReLU, decayed in time.

I know nothing of models or sensors.
"""
