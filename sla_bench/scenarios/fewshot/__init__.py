"""Few-shot learning: episodes of some classes train, episodes of others test."""
