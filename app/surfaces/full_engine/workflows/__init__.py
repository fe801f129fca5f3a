"""Authoring: create, list, read, change, compare, validate and delete workflows."""
