"""Networks, few-shot heads, losses, and their weights."""
