"""The built-in person detector: its network, its training on simulated frames, and the onnx file."""
