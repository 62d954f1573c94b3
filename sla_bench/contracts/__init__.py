"""The contracts of pieces, as checks on drawn data."""
