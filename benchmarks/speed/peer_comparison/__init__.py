"""The pieces of the comparison with other libraries: one module per topic, then times, tables and picture."""
