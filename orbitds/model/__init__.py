"""Reslim, the residual slim vision transformer: tensors in, tensors out."""
