"""A Spec as the plain PyTorch script a person would write by hand."""
