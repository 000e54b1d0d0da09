"""The figures of a tensor, whatever its type, layout and size."""
