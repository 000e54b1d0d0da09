"""Checkpoint files: one reader a format, from bytes to the headers of tensors. Nothing here runs what a file says."""
