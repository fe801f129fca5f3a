"""Assessments: begin one, with a workflow or without, read them, delete one."""
