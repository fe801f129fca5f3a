"""How ids are written: each surface puts a prefix of its own before the same 32 hex digits."""

_DIGITS = frozenset("0123456789abcdef")


def spelled(prefix: str, hexadecimal: str) -> str:
    """An id as it is written on a surface."""
    return f"{prefix}{hexadecimal}"


def bare(prefix: str, written: str) -> str:
    """The hex digits of an id; what is no id becomes one that nothing has.

    So the store answers all that is unknown, foreign or misspelt in the same words.
    """
    digits = written.removeprefix(prefix)
    fits = (not prefix or digits != written) and len(digits) == 32 and _DIGITS.issuperset(digits)
    return digits if fits else "-"
