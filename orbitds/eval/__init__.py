"""Evaluation: scores, baselines, the report and maps."""
