"""`signalbox up`: everything on this machine as one, started, healed and stopped together."""
