"""Inference: a coarse dataset in, a fine dataset out, in memory or on disk."""
