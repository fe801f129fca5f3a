"""The footprint: what a definition will use, without running it."""

from engine.footprint import footprint
from engine.validation import check
from tests.unit.language import CATALOG, condition, http, loop, wait


def test_it_tells_types_hosts_and_secrets_of_bodies_as_well() -> None:
    raw = {
        "name": "w",
        "steps": [
            http("a", config={"url": "https://API.example.com:8443/{{ input.path }}"}),
            http("b", when="input.gate == 'open'", config={"url": "{{ input.url }}"}),
            http("c", config={"url": "https://{{ input.region }}.example.com/x"}),
            http("d", config={"body": {"callback_url": "http://hooks.test", "text": "http://no"}}),
            loop("l", http("e", config={"headers": {"k": "Bearer {{ secrets.TOKEN }}"}})),
            http("g", config={"body": {"seal": "{{ secrets.SEAL }}"}}),
            condition("f", ["a"]),
        ],
    }
    definition = check(raw, CATALOG).definition
    assert definition is not None
    found = footprint(definition, CATALOG)
    assert found.step_types == {"http_request", "loop", "condition"}
    assert found.hosts == {"api.example.com", "hooks.test", "example.com"}
    assert found.open_steps == {"b", "c"}
    assert found.secrets == {"TOKEN", "SEAL"}


def test_a_host_that_a_placeholder_may_extend_is_open() -> None:
    for url in (
        "https://example.com{{ input.x }}",
        "https://example.com:{{ input.port }}/",
        "https://user:{{ secrets.P }}@example.com/",
        "https://[broken/",
    ):
        raw = {"name": "w", "steps": [http("a", config={"url": url}), wait("b", "input.ok")]}
        definition = check(raw, CATALOG).definition
        assert definition is not None
        found = footprint(definition, CATALOG)
        assert (found.hosts, found.open_steps) == (frozenset(), {"a"}), url
