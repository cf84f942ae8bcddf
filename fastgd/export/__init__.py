"""Trained models for where there is no Python, or no fastgd: ONNX, and C."""
