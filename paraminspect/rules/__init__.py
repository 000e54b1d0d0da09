"""From what was read to what is wrong with it: one file a family of rules."""
