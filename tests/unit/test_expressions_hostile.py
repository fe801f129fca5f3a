"""Nobody makes an expression run code, stall or fill the memory."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from engine.expressions import ExpressionError, evaluate, expression_problems, problems, render

_LETTERS = "abcxyz"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["{{ secrets.K }}", "{{", "}}", "{{ 1 / 0 }}", "{{ '"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(_LETTERS), inner, max_size=4)
    ),
    max_leaves=12,
)
_TOKENS = """
    input item secrets.K steps . ( ) [ ] { } , : ? ! + - * / % < == && || in 'a' "b" '''c r'\\
    1 1.5 0 9223372036854775807 true null map( filter( x size( default( has( matches(
    from_json( json( join(
    split( replace( sort( range( {{ }} \ud800 é
"""
fragments = st.lists(st.sampled_from(_TOKENS.split()), max_size=25)


@given(value=json_values)
def test_a_sole_placeholder_keeps_type_and_is_rendered_once(value: JsonValue) -> None:
    scope: dict[str, JsonValue] = {"input": value, "secrets": {"K": "k"}}
    for template in ("{{ input }}", " {{ [input][0] }} "):
        rendered = render(template, scope)
        assert json.dumps(rendered) == json.dumps(value)


@given(text=st.text() | st.sampled_from(["{{ secrets.K }}", "{{ 1 }}", "{{", "' }}"]))
def test_interpolated_text_is_data(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(ExpressionError):
            render("<{{ input }}>", {"input": text})
    else:
        assert render("<{{ input }}>{{ '' }}", {"input": text}) == f"<{text}>"


@given(source=st.text() | fragments.map("".join) | fragments.map(" ".join), value=json_values)
def test_nothing_but_expression_errors(source: str, value: JsonValue) -> None:
    scope: dict[str, JsonValue] = {"input": value, "item": value, "x": 1, "secrets": {"K": "k"}}
    expression_problems(source)
    problems(source)
    for work in (evaluate, render):
        try:
            first = work(source, scope)
        except ExpressionError:
            continue
        assert json.dumps(work(source, scope)) == json.dumps(first)
        json.dumps(first, allow_nan=False)


@given(value=st.dictionaries(st.text(_LETTERS, min_size=1), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, JsonValue]) -> None:
    turned = dict(reversed(value.items()))
    for template in (
        "{{ input.map(k, k) }}",
        "{{ json(input) }}",
        "{{ values(input) }}",
        "-{{ input }}",
    ):
        assert render(template, {"input": value}) == render(template, {"input": turned})


PAYLOADS = [
    "__import__('os').system('id')",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1]",
    "input.__class__.__init__.__globals__",
    "input['__class__']",
    "steps.a.output.__dict__",
    "run.__getattribute__('x')",
    "getattr(input, '__class__')",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "open('/etc/passwd')",
    "globals()",
    "locals()",
    "vars(input)",
    "dir(input)",
    "lambda: 1",
    "(x for x in [1])",
    "[x for x in [1]]",
    "'%1000000000d' % 1",
    "'{0.__class__}'.format(input)",
    "f'{input}'",
    "'a' * 1000000000",
    "2 ** 1000000",
    "9 ** 9 ** 9",
    "7 if true else 8",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "lipsum.__globals__['os']",
    "config.items()",
    "request.application.__globals__",
    "self._TemplateReference__context",
    "namespace.__init__",
    "url_for.__globals__",
    "joiner.__init__.__globals__",
    "T(java.lang.Runtime).getRuntime().exec('id')",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{% for x in [1] %}{% endfor %}",
    "{{7*7}}{{7*7}}",
    "*{7*7}",
    "@(7*7)",
    "constructor.constructor('return process')()",
    "input.constructor",
    "this.process.mainModule.require('child_process')",
    "require('child_process')",
    "process.env",
    "new Function('return 1')()",
    "Object.keys(input)",
    "input.__proto__.x",
    "().getClass().forName('java.lang.Runtime')",
    "''.getClass()",
    "#this.getClass()",
    "@java.lang.Runtime@getRuntime()",
    "system('id')",
    "`id`",
    "$(id)",
    "import os",
    "input; drop table runs",
    "google.protobuf.Timestamp{}",
    "cel.bind(x, 1, x)",
    "now()",
    "uuid()",
    "random()",
    "env('HOME')",
    "os.environ",
    "optional.of(1)",
    "input.?x",
    "b'abc'",
    "1u",
    "duration('1h')",
    "timestamp('2026-01-01T00:00:00Z')",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_reaches_nothing(payload: str) -> None:
    scope: dict[str, JsonValue] = {
        "input": {"a": 1},
        "steps": {"a": {"output": {}}},
        "run": {},
    }
    for expression in (payload, "{{ " + payload + " }}"):
        with pytest.raises(ExpressionError):
            evaluate(expression, scope)


BOMBS = [
    "input.big.map(x, input.big)",
    "input.big.map(x, input.big.map(y, x * y))",
    "input.big.all(x, input.big.all(y, true))",
    "input.big.exists(x, x in input.turned)",
    "input.big.map(x, input.text)",
    "input.big.exists(x, input.text == input.same)",
    "input.big.all(x, input.big == input.big)",
    "input.big.map(x, json(input.big))",
    "input.big.map(x, sort(input.big))",
    "input.big.map(x, 'a'.matches('\\\\w+'))",
    "input.big.map(x, input.text.contains('yy'))",
    "input.big.map(x, input.text.replace('x', 'yy'))",
    "[input.text]" + ".map(a, a + a)" * 40,
    "[input.big]" + ".map(a, [a, a])" * 40,
    "[input.big]" + ".map(a, a + a)" * 40,
    "json([input.big]" + ".map(a, [a, a])" * 30 + ")",
    "[input.big]" + ".map(a, [a, a])" * 20 + " == [input.big]" + ".map(a, [a, a])" * 20,
    "flatten([input.big]" + ".map(a, a + a)" * 30 + ")",
    "replace(input.text, 'x', input.text)",
    "replace(input.text, '', input.text)",
    "join(input.big, input.text)",
    "input.text.split('x')",
    "range(9223372036854775807)",
    "range(-9223372036854775807, 9223372036854775807)",
    "input.digits.map(x, x * x)",
    "from_json(input.text)",
    "from_json('" + "[" * 1900 + "')",
    "'a'.matches('((\\\\w{100}){100}){100}')",
    "'a'.matches('\\\\w{5000}')",
    "'a'.matches('" + "\\\\w" * 300 + "')",
    "int(input.text)",
    "double(input.text)",
    "urlencode(input.text + input.text + input.text)",
    "(" * 600 + "1" + ")" * 600,
    "[" * 600 + "]" * 600,
    "!" * 1000 + "true",
    "-" * 1000 + "1",
    "1" + "+1" * 800,
    "input" + ".a" * 900,
    "input" + "[0]" * 600,
    "true?" * 300 + "1" + ":1" * 300,
    "default(" * 200 + "1" + ",1)" * 200,
    "[1].map(x, [1].map(y, [1].map(z, 1)))",
    "1 " * 1500,
    "'" + "a" * 3000 + "'",
]


@pytest.mark.parametrize("bomb", BOMBS, ids=range(len(BOMBS)))
def test_bomb_is_refused_within_little_memory(bomb: str) -> None:
    scope: dict[str, JsonValue] = {
        "input": {
            "big": list(range(50_000)),
            "turned": ["x"] * 50_000,
            "text": "x" * 1_000_000,
            "same": "x" * 999_999 + "y",
            "digits": [10**400],
        }
    }
    expression_problems("'a'.matches('a')")
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError):
            evaluate(bomb, scope)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


def test_the_work_of_a_template_is_bounded_as_a_whole() -> None:
    scope: dict[str, JsonValue] = {"input": {"big": list(range(20_000)), "text": "x" * 1_000_000}}
    once = "{{ input.big.map(x, x + 1).size() }}"
    assert render([once], scope) == [20_000]
    for template in ([once] * 50, ["<{{ input.text }}>"] * 10, ["{{ input.text }}"] * 10):
        with pytest.raises(ExpressionError, match=r"steps of work|over 8 MiB"):
            render(list[JsonValue](template), scope)


def test_a_data_structure_that_is_too_deep_is_an_expression_error() -> None:
    deep: JsonValue = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ExpressionError):
        evaluate("json(input)", {"input": deep})


def test_what_people_do_fits_the_budget() -> None:
    rows: list[JsonValue] = [{"id": n, "name": f"row {n}", "price": n / 2} for n in range(250)]
    many: list[JsonValue] = [{"id": n, "price": n / 2} for n in range(20_000)]
    scope: dict[str, JsonValue] = {"input": {"a": rows, "b": rows, "many": many}}
    joined = evaluate("input.a.map(x, input.b.filter(y, y.id == x.id)[0].name)", scope)
    assert isinstance(joined, list)
    assert joined[249] == "row 249"
    assert evaluate("input.many.filter(x, x.price >= 5000.0).size()", scope) == 10_000
    assert evaluate("input.a.filter(x, x.name.matches('^row \\\\d+$')).size()", scope) == 250
