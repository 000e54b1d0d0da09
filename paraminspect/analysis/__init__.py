"""Measure a module: inventory, statistics, sharing, gradients. The only readers of tensors."""
