"""What every surface has in common on its way in and out: the caller, strict JSON, one error body.

A surface's routes are made by `envelope(render)`. Such a route authenticates before it reads
anything, refuses to exist without a role, and turns every error, expected or not, into the body
that its surface publishes. What no route answers (unknown paths, other methods, a refusal at the
door) takes the envelope of the longest prefix that fits.
"""

import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message as MediaType
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes

import pydantic_core
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope

from app.services import correlation
from app.services.auth import Caller
from app.services.door import MOST_NODES, Refused, parse
from app.services.head import head_only
from app.services.state import State
from engine.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    SignalboxError,
    Stale,
    StepError,
    Unauthorized,
    Unavailable,
)
from engine.roles import Role
from engine.wording import said

log = logging.getLogger("signalbox.api")

_COMPONENTS = "#/components/schemas/"

#: Which HTTP status a kind of error has. `Refused` brings its own.
STATUS: Mapping[type[SignalboxError], int] = {
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    Invalid: 422,
    Forbidden: 403,
    Unauthorized: 401,
    Unavailable: 503,
    StepError: 500,
}


@dataclass(frozen=True)
class Fault:
    """What a request has got instead of what it asked for.

    Attributes:
        status: that of the error's kind; a surface may publish another.
        code: stable and lower_snake.
        problems: what is wrong where, if the request is not valid.
        error: what was raised, for a surface that publishes more than this (a
            `RequestValidationError` has the findings of pydantic) or less.
    """

    status: int
    code: str
    message: str
    problems: Sequence[Problem]
    error: Exception


#: Stands for a slash inside of a segment while a path is matched; no decoded path holds it.
_SLASH = "\udc2f"

#: The status and the body that a surface publishes.
Render = Callable[[Fault], tuple[int, Mapping[str, Any]]]
_Matched = tuple[Match, Scope]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Surface:
    """One published API.

    Attributes:
        prefix: what the paths begin with whose errors it answers, without a slash at the end.
        routers: in the order in which their routes are tried.
        errors: the shapes of its error bodies, for the OpenAPI document.
        head: `HEAD` is answered like `GET`; one that has published otherwise answers 405.
    """

    prefix: str
    routers: Sequence[APIRouter]
    render: Render
    errors: Sequence[type]
    head: bool = True


def declared(bodies: Mapping[int, type]) -> dict[int | str, dict[str, Any]]:
    """What a route declares of its error answers: references to the `errors` of its surface.

    With `model` instead, FastAPI makes a validator for each of them, some 700 in all, and uses
    none: a quarter of what it takes to start the API.
    """
    return {
        status: {
            "content": {"application/json": {"schema": {"$ref": f"{_COMPONENTS}{body.__name__}"}}}
        }
        for status, body in bodies.items()
    }


def error_schemas(surfaces: Sequence[Surface]) -> dict[str, Any]:
    """The schemas that `declared` refers to, by name."""
    shapes = [shape for surface in surfaces for shape in surface.errors]
    serialized: Literal["serialization"] = "serialization"
    _, schema = TypeAdapter.json_schemas(
        [(shape, serialized, TypeAdapter[Any](shape)) for shape in shapes],
        ref_template=f"{_COMPONENTS}{{model}}",
    )
    found: dict[str, Any] = schema["$defs"]
    return found


class Json(Response):
    """A body that is already made of plain values; nothing is validated again on the way out."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode it, unless it is encoded."""
        return content if isinstance(content, bytes) else to_json(content)


def to_json(content: Any) -> bytes:
    """Plain values as JSON; half a surrogate pair, which UTF-8 cannot hold, as an escape."""
    try:
        return pydantic_core.to_json(content)
    except pydantic_core.PydanticSerializationError:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Needs:
    """Dependency: the caller of the request, whose key has at least this role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Caller:
        """The caller that the route has found."""
        caller: Caller = request.state.caller
        return caller


Viewer = Annotated[Caller, Depends(Needs(Role.VIEWER))]
Runner = Annotated[Caller, Depends(Needs(Role.RUNNER))]
Operator = Annotated[Caller, Depends(Needs(Role.OPERATOR))]
Editor = Annotated[Caller, Depends(Needs(Role.EDITOR))]
Admin = Annotated[Caller, Depends(Needs(Role.ADMIN))]


def services(request: Request) -> State:
    """What the lifespan has set up."""
    state: State = request.app.state.services
    return state


class _ReadRequest(Request):
    """A request whose body has been read and parsed."""

    document: Any = None

    async def json(self) -> Any:
        """The document that `parse` made."""
        return self.document


def envelope(render: Render, nodes: int = MOST_NODES) -> type[APIRoute]:
    """The class of the routes of a surface, whose bodies have at most so many values."""

    class EnvelopeRoute(APIRoute):
        def matches(self, scope: Scope) -> _Matched:
            return _by_segments(super().matches, scope)

        def get_route_handler(self) -> Handler:
            role = _role_of(self)
            answer = super().get_route_handler()
            takes_body = self.body_field is not None

            async def handle(request: Request) -> Response:
                try:
                    auth = services(request).auth
                    caller = await auth.caller(request.headers.getlist("authorization"))
                    # Before its role is judged: the audit log has refusals too.
                    request.state.caller, request.state.route = caller, self.path
                    caller.needs(role)
                    if takes_body:
                        request = await _read(request, nodes)
                    response = await answer(request)
                except Exception as error:
                    return respond(render, error)
                return _head_of(response) if head_only(request) else response

            return handle

    return EnvelopeRoute


def _head_of(response: Response) -> Response:
    """Status and headers of an answer: what is written while it is read is not even begun."""
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head


def _by_segments(matches: Callable[[Scope], _Matched], scope: Scope) -> _Matched:
    """Match the path with what is a slash only after percent-decoding inside of its segment."""
    sent = scope.get("raw_path") or b""
    if b"%2f" not in sent.lower():
        return matches(scope)
    segments = (unquote_to_bytes(part).decode(errors="replace") for part in sent.split(b"/"))
    path = "/".join(part.replace("/", _SLASH) for part in segments)
    match, found = matches({**scope, "path": path})
    taken = found.get("path_params", {})
    found_params = {name: value.replace(_SLASH, "/") for name, value in taken.items()}
    return match, {**found, "path_params": found_params} if taken else found


def _role_of(route: APIRoute) -> Role:
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Needs):
            return dependency.call.role
    raise TypeError(f"{route.path} does not say which role it needs")


async def _read(request: Request, nodes: int) -> Request:
    """The request with its body parsed."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise Refused(
            415,
            "unsupported_media_type",
            "The body must be sent as Content-Type: application/json.",
        )
    if body and not in_utf8(request):
        raise Refused(415, "unsupported_media_type", "The body must be sent in UTF-8.")
    read = _ReadRequest(request.scope, _replay(body, request.receive))
    read.document = parse(body, nodes) if body else None
    return read


def in_utf8(request: Request) -> bool:
    """Whether the body is text in UTF-8, as far as its type says; JSON that says nothing is."""
    sent = MediaType()
    sent["content-type"] = request.headers.get("content-type", "")
    return sent.get_content_charset("utf-8") in ("utf-8", "utf8", "us-ascii")


def _replay(body: bytes, then: Receive) -> Receive:
    """The body once, and then what comes after it: that the client has gone."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await then()

    return receive


def respond(render: Render, error: Exception) -> Response:
    """The answer to an error, in the words of a surface."""
    headers: dict[str, str] = {}
    problems: Sequence[Problem] = ()
    match error:
        case Refused():
            status, code, message = error.status, error.stable_code, error.message
            if status in (408, 413):
                # What is left of the body will not be read.
                headers["Connection"] = "close"
        case SignalboxError():
            status, code, message = STATUS[_kind(error)], error.stable_code, error.message
            problems = error.problems if isinstance(error, Invalid) else ()
        case RequestValidationError():
            status, code = 422, Invalid.code
            problems = [_problem(found) for found in error.errors()]
            message = problems[0].message if problems else "The request is not valid."
        case HTTPException():
            status, message = error.status_code, str(error.detail)
            code = HTTPStatus(status).name.lower()
            headers.update(error.headers or {})
        case ClientDisconnect():
            # Nobody reads it.
            status, code, message = 400, "bad_request", "The client has gone."
        case _:
            status, code, message = 500, "internal_error", _logged(error)
    published, body = render(Fault(status, code, message, problems, error))
    if published == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if published == 503:
        headers["Retry-After"] = "1"
    return Json(body, published, headers)


def _kind(error: SignalboxError) -> type[SignalboxError]:
    return next(kind for kind in type(error).__mro__ if kind in STATUS)


def _problem(found: Mapping[str, Any]) -> Problem:
    """One finding of pydantic, without the value that it found."""
    where = ".".join(map(str, found["loc"]))
    return Problem(f"{where}: {said(found)}", path=where)


def _logged(error: Exception) -> str:
    number = correlation.current()
    log.error("unexpected error %s", number, exc_info=error)
    return f"Something went wrong here. The log says more under {number}."


def install(app: FastAPI, surfaces: Sequence[Surface]) -> None:
    """Give the app the routes of the surfaces, and their envelope to what no route answers."""
    for surface in surfaces:
        # The routes themselves and not `include_router`, so that the app has one flat list of them.
        for router in surface.routers:
            app.router.routes.extend(router.routes)

    async def unanswered(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 404:
            error = HTTPException(404, "There is nothing at this path.")
        if isinstance(error, HTTPException) and error.status_code == 405:
            methods = _methods(app, request)
            if "GET" in methods and surface_of(surfaces, request.url.path).head:
                methods.add("HEAD")
            allowed = {"Allow": ", ".join(sorted(methods))}
            error = HTTPException(405, "The path does not take this method.", allowed)
        return respond(surface_of(surfaces, request.url.path).render, error)

    app.add_exception_handler(HTTPException, unanswered)
    app.add_exception_handler(SignalboxError, unanswered)
    app.add_exception_handler(Exception, unanswered)


def surface_of(surfaces: Sequence[Surface], path: str) -> Surface:
    """Whose path it is: that of the longest prefix that fits, else that of the last surface."""
    fitting = [
        surface
        for surface in surfaces
        if path == surface.prefix or path.startswith(f"{surface.prefix}/")
    ]
    return max(fitting or surfaces[-1:], key=lambda surface: len(surface.prefix))


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Every method that some route has at this path; what takes any word there has no say in it."""
    matching = [
        route
        for route in app.router.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    literal = [route for route in matching if "{" not in route.path]
    return {method for route in literal or matching for method in route.methods or ()}
