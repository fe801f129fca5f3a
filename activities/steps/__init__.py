"""The step types, one file each; reached through `activities.registry` alone."""
