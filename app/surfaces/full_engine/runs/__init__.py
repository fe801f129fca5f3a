"""Starting, reading, steering and watching runs."""
