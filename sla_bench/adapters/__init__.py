"""Images and episodes to and from other libraries: torch data sets, learn2learn's tasks."""
