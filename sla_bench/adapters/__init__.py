"""Images and episodes to and from torch data sets and learn2learn."""
