"""Scripts that time pieces of the suite, and the comparison with other libraries (`peers.py`)."""
