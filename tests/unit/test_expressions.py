"""The expression language: types, references, problems, messages."""

import json
from typing import Any

import cel.cel
import pytest
from pydantic import JsonValue

from engine.expressions import (
    ExpressionError,
    References,
    evaluate,
    expression_problems,
    expression_references,
    problems,
    references,
    render,
)

SCOPE: dict[str, JsonValue] = {
    "input": {
        "n": 3,
        "f": 1.5,
        "s": "é",
        "list": [3, 1, 2],
        "null": None,
        "nested": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}],
    },
    "steps": {"a": {"output": {"body": {"x": 1}}, "status": "completed"}},
    "item": "outer",
    "secrets": {"K": "s3cr3t-value"},
}


def failure(expression: str, scope: dict[str, JsonValue] | None = None) -> str:
    with pytest.raises(ExpressionError) as caught:
        evaluate(expression, SCOPE if scope is None else scope)
    return str(caught.value)


# Where the language is CEL, the CEL library must say the same.
@pytest.mark.parametrize(
    "expression",
    [
        "1 + 2 * 3 - 4 / 2 % 3",
        "-7 / 2",
        "-7 % 3",
        "7 % -3",
        "-(-3)",
        "1 == 1.0",
        "1 == true",
        "[1, 'a'] == [1.0, 'a']",
        "{'a': 1} == {'a': 1.0}",
        "'a' < 'b' && 1 < 1.5 && 2.5 >= 2",
        "1 in [2, 1.0]",
        "true in [1]",
        "'n' in input",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "1 / 0 == 1 && false",
        "false ? 1 : true ? 2 : 3",
        "!true || !!true",
        "input.list.map(x, x * 2)",
        "input.list.map(x, x > 1, x * 2)",
        "input.list.filter(x, x != 1)",
        "input.list.exists(x, x == 2) && !input.list.all(x, x == 2)",
        "input.list.exists_one(x, x == 2)",
        "input.nested.map(x, x.tags.map(t, t + string(x.id)))",
        "[1].exists(x, x.a == 1) || true",
        "[1].map(item, item)",
        "'a\\u00e9\\x41\\101\\n' + r'\\n' + \"it's\" + '''a\"b'''",
        "[0x1F, 1e2, -0x10, .5]",
        "[1, 2,]",
        "{'a': {'b': [1]}}.a.b[0]",
        "has(input.n) && !has(input.zzz)",
        "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
        "'hello'.matches('^h.*o$')",
        "size('abc') + size([1]) + size({'a': 1})",
        "int('12') + int(1.9) + int(-1.9)",
        "double('1.5') + double(2)",
    ],
)
def test_agrees_with_the_cel_library(expression: str) -> None:
    theirs = cel.cel.compile(expression).execute(dict(SCOPE))
    ours = evaluate(expression, SCOPE)
    assert ours == theirs
    assert type(ours) is type(theirs)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("input.n + input.f", 4.5),
        ("input.n * 2.0", 6.0),
        ("7.5 % 2", 1.5),
        ("size(input.s)", 1),
        ("[1, 2].exists(x, 1 / (x - 1) == 1)", True),
        ("-9223372036854775808", -(2**63)),
        ("input.list[1.0]", 1),
        ("steps['a'].output['body'].x", 1),
        ("{{ steps.a.status }}", "completed"),
        ("  {{ {'a': '}}'} }} ", {"a": "}}"}),
        ("default(input.null, 1 / 1)", 1),
        ("default(input.n, 1 / 0)", 3),
        ("default(steps.zz.output.a, default(input.zz, 'x'))", "x"),
        ("default(from_json('{}').a, 2)", 2),
        ("has(steps.zz.output.a)", False),
        ("[1].map(item, item + 1) + [item]", [2, "outer"]),
        ("keys({'b': 1, 'a': 2})", ["a", "b"]),
        ("{'b': 1, 'a': 2}.map(k, k)", ["a", "b"]),
        ("'ß'.upper()", "SS"),
        ("unique([true, 1, 1.0, [1], [1]])", [True, 1, [1]]),
        ("sort(['b', 'B', 'a'])", ["B", "a", "b"]),
        ("round(-2.5)", -3),
        ("range(2, 4)", [2, 3]),
        ("bool('FALSE')", False),
    ],
)
def test_value(expression: str, value: JsonValue) -> None:
    assert evaluate(expression, SCOPE) == value
    assert json.dumps(evaluate(expression, SCOPE)) == json.dumps(value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "it ends too early"),
        ("input.", "it ends too early; expected a name"),
        ("1 2", "unexpected `2` at character 3"),
        ("(1", "it ends too early; expected `)`"),
        ("'a", "the text that begins at character 1 is not closed"),
        ("'a\nb'", "runs over a line"),
        (r"'\q'", "unknown escape"),
        (r"'\ud800'", "an escape that is not a character"),
        ("b'a'", "bytes at character 1 are not supported"),
        ("1u", "`1u` is not a number"),
        ("1 // x", "a comment at character 3 is not supported"),
        ("1e999", "is too large"),
        ("9223372036854775808", "exceeds 64 bits"),
        ("9" * 2000, "exceeds 64 bits"),
        ("for", "`for` is a reserved word"),
        ("input.?x", "unexpected `?` at character 7"),
        ("has(1)", "`has` takes one path"),
        ("default(1)", "`default` takes a value and a fallback"),
        ("lower()", "`lower` takes 1 values, not 0"),
        ("input.map(1, 2)", "the first part of `map` must be a plain name"),
        ("input.map(x)", "`map` is written `.map(x, …)`"),
        ("nope(1)", "there is no function `nope`"),
        ("nope", "there is no variable `nope` here"),
        ("input.nope", "there is no key `nope`"),
        ("input['nope']", "there is no key `nope`"),
        ("input[item]", "there is no such key"),
        ("input.null.x", "there is no key `x` in null"),
        ("input.s.x", "there are no keys in a value of type string"),
        ("input.s[0]", "a value of type string has no elements; use substring"),
        ("input.list['a']", "there are no keys in a value of type list"),
        ("input.list[true]", "a list is indexed by a whole number, not by bool"),
        ("input.list[-1]", "the index is outside of the list, which has 3 elements"),
        ("1 / 0", "division by zero"),
        ("1.0 / 0.0", "division by zero"),
        ("5 % 0", "division by zero"),
        ("9223372036854775807 * 2", "overflow"),
        ("-(-9223372036854775807 - 1)", "overflow"),
        ("1e308 * 10.0", "overflow"),
        ("int(1e30)", "overflow"),
        ("true + 1", "`+` does not take bool and int"),
        ("null < 1", "`<` does not compare null with int"),
        ("'a' in input.s", "`in` takes a list or a map, not string; use text.contains"),
        ("1 && true", "each side of `&&` must be true or false, not int"),
        ("!1", "the operand of `!` must be true or false, not int"),
        ("-'a'", "`-` does not take string"),
        ("{1: 2}", "the key of a map must be a string, not int"),
        ("input.s.map(x, x)", "`map` goes through a list or a map, not string"),
        ("[1].filter(x, x)", "the condition of `filter` must be true or false, not int"),
        ("[1].exists(x, x.a) || x == 1", "there are no keys in a value of type int"),
        ("int('1_0')", "`int` cannot read the string as a whole number"),
        ("double('nan')", "`double` cannot read the string as a number"),
        ("from_json('{')", "`from_json` cannot read the string as JSON"),
        ("from_json('NaN')", "`from_json` does not take NaN"),
        ("from_json('1e999')", "overflow"),
        ("'a'.split('')", "`split` needs a separator"),
        ("'a'.substring(2, 1)", "`substring` needs 0 <= from <= to"),
        ("sort([1, 'a'])", "`sort` takes a list of numbers or a list of strings"),
        ("min([])", "`min` needs at least one value"),
        ("sum(['a'])", "`sum` takes a number, not string"),
        ("'a'.matches('(')", "`matches` cannot read the pattern"),
        ("a {{ input.n }}", "unexpected `{` at character 3"),
        ("{{ input.n }} {{ input.n }}", "this must be one expression"),
        ("secrets", "a secret must be named"),
        ("secrets[item]", "a secret must be named"),
    ],
)
def test_error(expression: str, message: str) -> None:
    assert message in failure(expression)


def test_an_error_quotes_the_expression_within_200_characters_and_shows_no_data() -> None:
    long = "input.nope + " + " + ".join(["'abc'"] * 40)
    assert f"in `{long[:199]}…`" in failure(long)
    for expression in (
        "secrets.K + 1",
        "int(secrets.K)",
        "input[secrets.K]",
        "from_json(secrets.K)",
        "'a'.matches('(' + secrets.K)",
        "secrets.K.x",
        "secrets.K ? 1 : 2",
    ):
        assert "s3cr3t" not in failure(expression)
        assert expression in failure(expression)


def test_a_failed_loop_does_not_leave_its_variable_behind() -> None:
    assert "no variable `x`" in failure("[x].map(y, [1].map(x, x))")
    assert evaluate("[1].exists(item, item.a) || item == 'outer'", SCOPE) is True


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("input.a", References(roots=frozenset({"input"}))),
        (
            "steps.a.output.b",
            References(frozenset({"steps"}), frozenset({"a"}), frozenset({"a"})),
        ),
        ("steps['a-b'].status", References(frozenset({"steps"}), frozenset({"a-b"}))),
        ("has(steps.a.output)", References(frozenset({"steps"}), frozenset("a"), frozenset("a"))),
        ("steps.a", References(frozenset({"steps"}), frozenset("a"), frozenset("a"))),
        (
            "steps.a[input.x]",
            References(frozenset({"steps", "input"}), frozenset("a"), frozenset("a")),
        ),
        ("steps[input.x].output", References(frozenset({"steps", "input"}), dynamic_steps=True)),
        ("size(steps)", References(frozenset({"steps"}), dynamic_steps=True)),
        ("secrets.A + secrets['B']", References(frozenset({"secrets"}), secrets=frozenset("AB"))),
        ("[1].map(steps, steps.a)", References()),
        ("steps.map(s, s)", References(frozenset({"steps"}), dynamic_steps=True)),
        ("[run].map(x, true, default(index, x))", References(frozenset({"run", "index"}))),
    ],
)
def test_references(expression: str, expected: References) -> None:
    assert expression_references(expression) == expected
    assert references({"k": [f"text {{{{ {expression} }}}}"]}) == expected


def test_references_of_a_template_are_those_of_all_placeholders() -> None:
    found = references({"a": "{{ steps.a.status }} {{ steps.b.output }}", "b": ["{{ secrets.S }}"]})
    assert found.steps == {"a", "b"}
    assert found.outputs == {"b"}
    assert found.secrets == {"S"}
    assert references({"a": 1, "b": "no { braces }}"}) == References()


def test_problems_are_all_found_with_their_paths() -> None:
    template: Any = {
        "url": "x {{ foo.a }} {{ 1 + }}",
        "list": [1, "{{ bar(1) }}", "{{ input.x }}"],
        "open": "{{ 'a' ",
        "empty": "{{ }}",
    }
    found = problems(template, "config")
    assert [path for path, _ in found] == [
        "config.url",
        "config.url",
        "config.list.1",
        "config.open",
        "config.empty",
    ]
    messages = [message for _, message in found]
    assert "there is no variable `foo`" in messages[0]
    assert "it ends too early" in messages[1]
    assert "there is no function `bar`" in messages[2]
    assert "a placeholder is not closed" in messages[3]
    assert "is empty" in messages[4]
    assert problems("{{ foo }}")[0][0] == ""
    assert problems("{{ row.id }}", extra={"row"}) == []


def test_expression_problems_answer_every_unknown_variable() -> None:
    assert expression_problems("input.a > 1") == []
    assert len(expression_problems("foo + bar + input.a")) == 2
    assert expression_problems("{{ pct > 0.05 }}", extra=["pct"]) == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ input.list }}", [3, 1, 2]),
        (" \n{{ input.n }}\t", 3),
        ("{{ input.n }}.", "3."),
        ("{{ input.null }}|{{ input.f }}|{{ true }}|{{ [1, 'é'] }}", '|1.5|true|[1,"é"]'),
        ("{{ {'b': 1, 'a': 2} }}!", '{"a":2,"b":1}!'),
        ("{{ '}}' }}{{ r'\\' }}{{ \"{{\" }}", "}}\\{{"),
        ("{{ '{{' }}", "{{"),
        ("{{{'a': 1}}}", {"a": 1}),
        ("}} { {", "}} { {"),
        ({"{{ input.n }}": ["{{ input.n }}", None, 1.5]}, {"{{ input.n }}": [3, None, 1.5]}),
    ],
)
def test_render(template: JsonValue, value: JsonValue) -> None:
    assert render(template, SCOPE) == value
