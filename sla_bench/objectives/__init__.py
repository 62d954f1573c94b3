"""Training losses of the methods, and how predictions are read at test."""
