"""Starts at one time in the future."""
