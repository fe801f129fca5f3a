"""What is answered about calls."""

from typing_extensions import TypedDict


class CallOut(TypedDict):
    """A call whose key was known."""

    id: str
    at: str
    key_id: str
    key_name: str
    method: str
    route: str
    path: str
    query_parameters: list[str]
    status: int | None
    duration_ms: int
    client_ip: str | None
    correlation_id: str


class CallsOut(TypedDict):
    """Some calls, and whether there are older ones."""

    calls: list[CallOut]
    has_more: bool
