"""Turn the SOURCE argument into a Subject: a module, its input, and where it came from."""
