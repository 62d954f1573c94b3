"""Few-shot heads: support embeddings and query embeddings become logits."""
