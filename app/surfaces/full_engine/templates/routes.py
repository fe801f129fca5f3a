"""/api/workflows/templates."""

from fastapi import APIRouter, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.services.templates import Content, NewTemplate, Template
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.templates.schemas import (
    InstalledOut,
    InstallIn,
    OneTemplateOut,
    TemplateCreatedOut,
    TemplateFullOut,
    TemplateIn,
    TemplateOut,
    TemplatesOut,
)
from app.surfaces.full_engine.wire import (
    DoneOut,
    Limit,
    Offset,
    TemplateId,
    Words,
    bare,
    maybe_iso,
    spelled,
)

router = APIRouter(
    prefix="/api/workflows/templates", tags=["templates"], route_class=envelope(render)
)


@router.get("", response_model=TemplatesOut, responses=errors())
async def list_templates(
    request: Request,
    caller: Viewer,
    category: Words | None = None,
    is_builtin: bool | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List templates: the builtin ones by name, then the organisation's own, newest first."""
    found, total = await services(request).templates.page(
        caller, category, is_builtin, limit, offset
    )
    return Json(TemplatesOut(templates=[_out(template) for template in found], total=total))


@router.post("", status_code=201, response_model=TemplateCreatedOut, responses=errors(404, *BODY))
async def create_template(request: Request, caller: Editor, body: TemplateIn) -> Json:
    """Make a template of a workflow."""
    new = NewTemplate(
        bare("wf_", body.workflow_id), body.version, body.name, body.description, body.category
    )
    template = _full_out(*await services(request).templates.create(caller, new))
    return Json(
        TemplateCreatedOut(template_id=template["id"], template=template),
        201,
        {"Location": f"/api/workflows/templates/{template['id']}"},
    )


@router.get("/{template_id}", response_model=OneTemplateOut, responses=errors(404))
async def get_template(request: Request, caller: Viewer, template_id: TemplateId) -> Json:
    """A template with its definition."""
    found = await services(request).templates.get(caller, bare("tpl_", template_id))
    return Json(OneTemplateOut(template=_full_out(*found)))


@router.post(
    "/{template_id}/install",
    status_code=201,
    response_model=InstalledOut,
    responses=errors(404, *BODY),
)
async def install_template(
    request: Request, caller: Editor, template_id: TemplateId, body: InstallIn | None = None
) -> Json:
    """Make a workflow of a template; it is a draft until its author says otherwise."""
    row = await services(request).templates.install(
        caller, bare("tpl_", template_id), body.name if body else None
    )
    workflow_id = spelled("wf_", row.id)
    return Json(
        InstalledOut(workflow_id=workflow_id),
        201,
        {"Location": f"/api/workflows/{workflow_id}"},
    )


@router.delete("/{template_id}", response_model=DoneOut, responses=errors(404, 409))
async def delete_template(request: Request, caller: Editor, template_id: TemplateId) -> Json:
    """Delete one of the organisation's own templates; workflows that were made of it stay."""
    await services(request).templates.delete(caller, bare("tpl_", template_id))
    return Json(DoneOut(success=True))


def _out(template: Template) -> TemplateOut:
    return TemplateOut(
        id=spelled("tpl_", template.id),
        name=template.name,
        description=template.description,
        category=template.category,
        is_builtin=template.builtin,
        created_at=maybe_iso(template.created_at),
    )


def _full_out(template: Template, content: Content) -> TemplateFullOut:
    return TemplateFullOut(
        **_out(template), definition=content.definition, sample_input=content.sample_input
    )
