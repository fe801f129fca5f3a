"""API keys: make, list, rotate and revoke them."""
