"""Authoring: create, list, read and validate workflows."""
