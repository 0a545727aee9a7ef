"""Audio and visual features: tensors in, tensors out, on the network's device."""
