"""One forward and one backward: the loss, the layers, the gradients, the uses."""
