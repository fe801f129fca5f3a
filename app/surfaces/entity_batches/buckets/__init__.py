"""Where content is published."""
