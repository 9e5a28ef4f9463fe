"""Metrics: sums that are streamed and merged, and the scores that follow from them."""
