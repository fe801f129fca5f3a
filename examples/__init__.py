"""Workflows to begin with, one a file: the docs show them, and the API has them as templates."""
