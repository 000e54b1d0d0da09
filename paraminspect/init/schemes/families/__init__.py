"""One file a family of schemes: each defines SCHEMES, a tuple, which the registry collects."""
