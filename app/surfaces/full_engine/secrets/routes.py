"""/api/secrets: values for steps, written and never read back."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.envelope import Editor, Json, envelope, services
from app.services.secrets import NAME
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.secrets.schemas import (
    RemovedOut,
    SecretIn,
    SecretOut,
    SecretsOut,
)
from app.surfaces.full_engine.wire import Limit, Offset, iso
from store.secrets import SecretRow

router = APIRouter(prefix="/api/secrets", tags=["secrets"], route_class=envelope(render))

Name = Annotated[
    str,
    Path(pattern=NAME, description="As in `secrets.NAME`: letters, digits, underscores; up to 64."),
]


@router.get("", response_model=SecretsOut, responses=errors())
async def list_secrets(
    request: Request, caller: Editor, limit: Limit = 50, offset: Offset = 0
) -> Json:
    """List the names of secrets; values are never answered."""
    rows, total = await services(request).secrets.page(caller, limit, offset)
    return Json(SecretsOut(secrets=[_out(row) for row in rows], total=total))


@router.put(
    "/{name}",
    response_model=SecretOut,
    responses={201: {"model": SecretOut}, **errors(*BODY)},
)
async def put_secret(request: Request, caller: Editor, name: Name, body: SecretIn) -> Json:
    """Keep a value under a name: 201 when the name is new, 200 when it replaced a value."""
    kept = await services(request).secrets.put(caller, name, body.value.get_secret_value())
    return Json(_out(kept.row), 201 if kept.new else 200)


@router.delete("/{name}", response_model=RemovedOut, responses=errors(404))
async def delete_secret(request: Request, caller: Editor, name: Name) -> Json:
    """Forget a secret; steps that need it fail from then on."""
    await services(request).secrets.remove(caller, name)
    return Json(RemovedOut(success=True))


def _out(row: SecretRow) -> SecretOut:
    return SecretOut(name=row.name, created_at=iso(row.created_at), updated_at=iso(row.updated_at))
