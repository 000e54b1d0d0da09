"""The activations, a file for each kind; `activations` gathers their DEFINITIONS."""
