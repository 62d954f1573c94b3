"""Fixed classes, imbalanced or whole."""
