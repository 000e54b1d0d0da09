"""What every module of a model is, takes, returns, computes and costs: the tree that `summary` shows."""
