"""The comparison with other libraries: topics, times, tables, picture."""
