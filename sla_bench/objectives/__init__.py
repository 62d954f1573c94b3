"""What is minimised in training, and how predictions are read off at test."""
