"""Runs of workflows over entities: started, and read by who has started them."""
