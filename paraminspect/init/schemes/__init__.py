"""The schemes: what each draws, what it should give a tensor, and how a name becomes one; without torch."""
