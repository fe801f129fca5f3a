"""What a step can be: the step types of this deployment."""
