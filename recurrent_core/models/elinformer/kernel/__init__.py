"""The elinformer for a CPU: one row after the other, loops over a few floats, compiled by numba.

The same equations as `fold`, `forecast` and `settle` a floor above, which are the truth they are tested against and
what runs on a GPU. A row (8 KB) stays in the cache while a run of readings passes over it, and what one slot gives
does not depend on which others stand beside it. Arithmetic is float64, state float32.
"""
