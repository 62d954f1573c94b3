"""Embeddings, metrics, and how sure a number is."""
