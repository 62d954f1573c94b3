"""The commands; none of these modules imports torch at its top."""
