"""What is there: every tensor of a module, with all its names."""
