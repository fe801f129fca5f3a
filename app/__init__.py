"""The front door: HTTP in, Temporal out, and the command line."""
