"""All that touches ONNX Runtime."""
