"""Data sets: a name becomes `LabeledImages` per split."""
