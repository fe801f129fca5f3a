"""Workflows that run over entities: made and read."""
