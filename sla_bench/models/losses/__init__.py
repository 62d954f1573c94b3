"""Criteria for imbalanced classes: class counts and logits become a loss, and the scores that are read."""
