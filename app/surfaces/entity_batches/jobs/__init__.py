"""Jobs: runs as they are followed and steered on this surface."""
