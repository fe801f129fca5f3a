"""Schedules: what starts a workflow at its times."""
