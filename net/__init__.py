"""Networks, one file per published architecture: tensors in, tensors out."""
