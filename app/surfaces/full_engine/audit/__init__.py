"""The audit log: who called what."""
