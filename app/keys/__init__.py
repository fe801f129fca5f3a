"""`signalbox keys`: making, listing, rotating and revoking API keys from the command line."""
