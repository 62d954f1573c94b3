"""Scripts that time pieces of the suite and compare other libraries."""
