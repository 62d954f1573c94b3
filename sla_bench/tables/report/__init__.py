"""The HTML report: one file that needs no network."""

# `page.py` writes it; the files beside it hold its looks.
