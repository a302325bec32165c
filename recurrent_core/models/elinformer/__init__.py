"""The model elinformer: one row of state per slot, many simple read-outs, mixed by their recent errors."""
