"""Templates: list, read, install, make and delete them."""
