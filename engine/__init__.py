"""What a workflow is and what may run next. Pure: no I/O, clock, randomness, Temporal or SQL."""
