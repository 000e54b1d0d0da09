"""Checkpoint files: what kind each is, and what it holds, read as data. Nothing that a file names is ever called."""
