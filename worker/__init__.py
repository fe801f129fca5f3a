"""Who does the work: the Temporal worker process."""
