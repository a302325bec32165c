"""Forecasters of other libraries, run sensor by sensor on the same readings as the model, for comparison.

I know histories and what a peer is; nothing of scores. The libraries are an extra (`stream-engine[peers]`), and each is
named in one file.
"""
