"""What a step has asked of a model, counted."""

from dataclasses import dataclass


@dataclass
class Usage:
    """Counts of requests that were answered, and of tokens; a step adds to them while it runs.

    >>> usage = Usage(1, 11, 7)
    >>> usage.add(Usage(1, 20, 3))
    >>> usage
    Usage(requests=2, input_tokens=31, output_tokens=10)
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, other: "Usage") -> None:
        """Count these as well."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.requests or self.input_tokens or self.output_tokens)
