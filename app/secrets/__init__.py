"""`signalbox secrets`: keeping, listing and removing secrets from the command line."""
