"""`signalbox keys`: making, listing and revoking API keys from the command line."""
