"""Whether a key is good, and where its caller comes from."""
