"""Images become batches, and batches become views."""
