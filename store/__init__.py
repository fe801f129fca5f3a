"""Where it is kept: all SQL lives here. May import `engine`."""
