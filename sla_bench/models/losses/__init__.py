"""Losses for imbalanced classes: class counts and logits to loss and scores."""
