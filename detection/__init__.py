"""Object detection with YOLOX through onnxruntime: models, pre- and post-processing, videos."""
