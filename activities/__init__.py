"""What a step does: one file per step type. May import `store` and `engine`."""
