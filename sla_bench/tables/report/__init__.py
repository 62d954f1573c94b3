"""The HTML report: one file that needs no network.

`page.py` writes it; its looks are the files beside it.
"""
