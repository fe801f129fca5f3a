"""Secrets: keep, remove and list by name."""
