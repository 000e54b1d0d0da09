"""The activations, a file for each kind, with the moments that have closed forms; `activations` gathers them."""
