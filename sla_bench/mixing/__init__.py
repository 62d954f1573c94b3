"""Augmentations on top of crop and flip, with or without mixed labels."""
