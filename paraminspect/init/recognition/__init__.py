"""Recognition: how a tensor was initialised, told from its values."""
