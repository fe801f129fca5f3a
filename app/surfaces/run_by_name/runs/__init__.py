"""Runs: started by the name of their workflow, and followed."""
