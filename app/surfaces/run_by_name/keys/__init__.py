"""API keys: list, make, rotate and revoke them."""
