"""Training: the loop, the optimiser and what a run leaves behind."""
