"""The initialisers: a registry of schemes with formulas and expected moments, and how rules are applied."""
