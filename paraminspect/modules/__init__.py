"""Read an nn.Module without running it; what every source yields: Subject, Batch, Loss, Ties."""
