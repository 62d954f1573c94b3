"""Parts of the check of a GPU."""
