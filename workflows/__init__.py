"""How a run is carried out durably: replayed code. May import `engine` and temporalio."""
