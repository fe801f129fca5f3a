"""Types of records."""
