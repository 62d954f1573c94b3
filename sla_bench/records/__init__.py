"""Executes what is not yet recorded, and keeps the records."""
