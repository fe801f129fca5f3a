"""Validation: links between steps, cycles, and what expressions look at."""

from typing import Any

import pytest

from engine.validation import check
from tests.unit.language import CATALOG, condition, http, loop, messages, wait


def test_a_missing_dependency_in_the_words_of_the_seed() -> None:
    (problem,) = check({"name": "w", "steps": [http("notify", "fetch")]}, CATALOG).problems
    assert problem.message == "Step 'notify' depends on 'fetch' which doesn't exist"
    assert (problem.step, problem.path) == ("notify", "steps.0.depends_on")


def test_links_do_not_cross_the_border_of_a_loop() -> None:
    found = messages(
        http("a"),
        loop("l", http("b", "a"), http("c", catch_step="a")),
        http("d", "b"),
        condition("e", ["c"]),
    )
    suffix = "doesn't exist in the same list of steps"
    assert found == [
        f"Step 'b' depends on 'a' which {suffix}",
        f"Step 'c': catch_step 'a' {suffix}",
        f"Step 'd' depends on 'b' which {suffix}",
        f"Step 'e': 'then' names 'c' which {suffix}",
    ]


def test_catch_and_fallback_have_to_lead_to_another_step() -> None:
    assert messages(
        http("a", on_error="fallback"),
        http("b", on_error="fallback", fallback_step="b"),
        http("c", catch_step="c"),
        http("d", on_error="fallback", fallback_step="x", catch_step="y"),
    ) == [
        "Step 'a': on_error is 'fallback' without a fallback_step",
        "Step 'b': fallback_step is the step itself",
        "Step 'c': catch_step is the step itself",
        "Step 'd': fallback_step 'x' doesn't exist",
        "Step 'd': catch_step 'y' doesn't exist",
    ]


def test_branch_targets_exist_and_are_on_one_side() -> None:
    assert messages(condition("c", ["a", "x", "c"], ["a"]), http("a")) == [
        "Step 'c': 'then' names 'x' which doesn't exist",
        "Step 'c': 'then' names the step itself",
        "Step 'c': 'a' is in both 'then' and 'else'",
    ]


@pytest.mark.parametrize(
    ("steps", "cycles"),
    [
        ([http("a", "a")], ["a → a"]),
        ([http("step_a", "step_b"), http("step_b", "step_a")], ["step_a → step_b → step_a"]),
        ([http("c", "b"), http("b", "a"), http("a", "c")], ["c → a → b → c"]),
        (
            [http("a", "b"), http("b", "a"), http("c", "d"), http("d", "c")],
            ["a → b → a", "c → d → c"],
        ),
        ([http("a", "b", "c"), http("b", "a"), http("c", "a")], ["a → b → a", "a → c → a"]),
        ([condition("c", ["a"], depends_on=["a"]), http("a")], ["c → a → c"]),
        ([http("a", "b", catch_step="b"), http("b")], ["a → b → a"]),
        ([http("a", "b", on_error="fallback", fallback_step="b"), http("b")], ["a → b → a"]),
        ([http("a", catch_step="b"), http("b", catch_step="a")], ["a → b → a"]),
        ([loop("l", http("a", "b"), http("b", "a"))], ["a → b → a"]),
        (
            # x waits for a, thus for its catch step, which waits for x.
            [http("a", on_error="continue", catch_step="c"), http("x", "a"), http("c", "x")],
            ["x → c → x"],
        ),
        (
            # The catch step comes first, so it cannot wait for the fallback step.
            [
                http("a", on_error="fallback", fallback_step="f", catch_step="c"),
                http("c", "f"),
                http("f"),
            ],
            ["c → f → c"],
        ),
        (
            # The fallback step is a condition that the catch step, which comes first, waits for.
            [
                http("a", on_error="fallback", fallback_step="f", catch_step="c"),
                condition("f", ["c"]),
                http("c"),
            ],
            ["f → c → f"],
        ),
    ],
)
def test_cycles(steps: list[Any], cycles: list[str]) -> None:
    assert messages(*steps) == [f"Cycle detected: {cycle}" for cycle in cycles]


def test_a_catch_step_that_waits_for_the_fallback_of_what_waits_for_it() -> None:
    assert messages(
        http("a", catch_step="k", on_error="fallback", fallback_step="f"),
        http("f", on_error="fallback", fallback_step="g"),
        http("g"),
        http("k", "g"),
    ) == ["Cycle detected: f → g → k → f"]


def test_a_catch_step_that_a_chain_shares_is_no_cycle() -> None:
    assert (
        messages(
            http("a", catch_step="tell"),
            http("b", "a", catch_step="tell", on_error="continue"),
            http("c", "b", catch_step="tell"),
            http("tell"),
        )
        == []
    )


# --- expressions --------------------------------------------------------------------------------


def test_templates_and_expressions_are_parsed() -> None:
    found = check(
        {
            "name": "w",
            "steps": [
                http("a", config={"headers": {"x": "{{ 1 + }}"}}, when="input."),
                wait("b", "nonsense(1)"),
            ],
            "output": ["{{ input"],
        },
        CATALOG,
    ).problems
    assert [(problem.step, problem.path) for problem in found] == [
        ("a", "steps.0.config.headers.x"),
        ("a", "steps.0.when"),
        ("b", "steps.1.config.condition"),
        (None, "output.0"),
    ]


def body(text: str) -> dict[str, Any]:
    return {"config": {"body": text}}


def test_an_output_is_used_only_by_what_waits_for_it() -> None:
    unordered = "Step 'b' uses the output of 'a' without waiting for it; add 'a' to its depends_on"
    use = "{{ steps.a.output.x }}"
    assert messages(http("a"), http("b", **body(use))) == [unordered]
    assert messages(http("a"), http("b", when="steps.a.output.x > 1")) == [unordered]
    assert messages(http("a"), http("b", **body("{{ steps.a.status }}"))) == []
    assert messages(http("a"), http("m", "a"), http("b", "m", **body(use))) == []
    assert messages(http("a", catch_step="b"), http("b", **body(use))) == []
    assert messages(http("a"), wait("b", "steps.a.output.x == 1")) == []
    gate = condition("a", ["b"])
    assert messages(gate, http("b", **body("{{ steps.a.output.result }}"))) == []
    assert messages(http("b", **body("{{ steps.b.output }}"))) == [
        "Step 'b' uses its own output, which is not there yet"
    ]


def test_a_body_sees_itself_and_what_is_upstream_of_its_loop() -> None:
    inner = http("b", **body("{{ steps.a.output }} {{ item.id }} {{ index }}"))
    assert messages(http("a"), loop("l", inner, depends_on=["a"])) == []
    assert messages(http("a"), loop("l", inner)) == [
        "Step 'b' uses the output of 'a' without waiting for it; add 'a' to depends_on of 'l'"
    ]
    assert messages(loop("l", http("b", **body("{{ steps.l.output }}")))) == [
        "Step 'b' uses the output of 'l' around it, which is not there yet"
    ]


def test_a_body_is_hidden_from_outside() -> None:
    hidden = "refers to 'steps.b' which is hidden inside the loop 'l'; use steps.l.output"
    outside = http("c", "l", **body("{{ steps.b.output }}"))
    assert messages(loop("l", http("b")), outside) == [f"Step 'c' {hidden}"]
    assert messages(loop("l", http("b")), output="{{ steps.b.status }}") == [
        f"The workflow's output {hidden}"
    ]


def test_item_and_index_exist_only_inside_a_loop() -> None:
    suffix = "which exists only inside a loop"
    assert messages(http("a", **body("{{ item }}"))) == [f"Step 'a' uses 'item', {suffix}"]
    assert messages(http("a"), output="{{ index }}") == [
        f"The workflow's output uses 'index', {suffix}"
    ]
    assert messages(loop("l", http("a"), when="index > 1")) == [f"Step 'l' uses 'index', {suffix}"]


def test_the_output_may_look_at_every_step_and_at_no_other() -> None:
    assert messages(http("a"), http("b"), output="{{ steps.a.output }}{{ steps.b.output }}") == []
    assert messages(http("a"), output="{{ steps.x.output }}") == [
        "The workflow's output refers to 'steps.x' which doesn't exist"
    ]


def test_a_fallback_step_needs_its_policy() -> None:
    """Otherwise it would run like any other step, whether or not the first one failed."""
    steps = [http("a", fallback_step="b"), http("b")]
    assert messages(*steps) == ["Step 'a': fallback_step needs on_error 'fallback'"]
