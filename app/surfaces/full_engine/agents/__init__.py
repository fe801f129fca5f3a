"""Agents: who steps of the type `agent_task` can be given to."""
