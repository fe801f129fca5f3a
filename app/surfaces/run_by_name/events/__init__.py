"""Events: publish one, and see what it has started."""
