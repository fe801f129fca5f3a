"""Documents that hypothesis makes up: any JSON, and definitions that are valid."""

from typing import Any

from hypothesis import strategies as st

#: Text as the API takes it: no half of a surrogate pair.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, 1.0])
    | text
)
#: Keys that a pointer has to escape among them, and `id`, by which entries of lists are matched.
keys = st.sampled_from(["id", "a", "b", "a/b", "~", "~1", "", "0", "-"]) | text
json = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.lists(
            st.fixed_dictionaries({"id": st.sampled_from("abcdefg")}, optional={"v": inner}),
            max_size=7,
            unique_by=lambda entry: entry["id"],
        )
    ),
    max_leaves=12,
)
#: Without what would be a template.
_quiet = st.recursive(
    scalars.filter(lambda value: "{{" not in str(value)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: "{{" not in repr(value))
_names = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=1, max_size=12)


@st.composite
def _scopes(draw: st.DrawFn, around: str = "") -> list[dict[str, Any]]:
    """Steps in any order, each depending on some of those that were drawn before it."""
    letters = draw(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=7, unique=True))
    ids = [around + letter for letter in letters]
    steps: list[dict[str, Any]] = []
    for number, step_id in enumerate(ids):
        step: dict[str, Any] = {"id": step_id}
        if not around and draw(st.integers(0, 4)) == 0:
            step |= {"type": "loop", "config": {"items": [1], "steps": draw(_scopes(step_id))}}
        else:
            step |= {"type": "transform", "config": {"output": draw(_quiet)}}
        if number and draw(st.booleans()):
            step["depends_on"] = draw(st.lists(st.sampled_from(ids[:number]), unique=True))
        if draw(st.booleans()):
            step["name"] = draw(_names)
        steps.append(step)
    return draw(st.permutations(steps))


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A valid definition; two of them share most ids of their steps."""
    made: dict[str, Any] = {"name": draw(_names), "steps": draw(_scopes())}
    if draw(st.booleans()):
        made["description"] = draw(_names)
    if draw(st.booleans()):
        made["output"] = draw(_quiet)
    return made
