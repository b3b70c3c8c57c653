"""Scores of a mesh against the truth: pure functions and thin torchmetrics classes."""
