"""Records, one at a time and in bulk."""
