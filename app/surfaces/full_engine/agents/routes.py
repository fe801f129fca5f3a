"""/api/agents: who steps of the type `agent_task` can be given to."""

from fastapi import APIRouter, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.surfaces.full_engine.agents.schemas import (
    AgentId,
    AgentIn,
    AgentOut,
    AgentsOut,
    CreatedAgentOut,
    DeletedOut,
    OneAgentOut,
)
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.wire import Limit, Offset, bare, iso, spelled
from store.agents import AgentRow

router = APIRouter(prefix="/api/agents", tags=["agents"], route_class=envelope(render))


@router.get("", response_model=AgentsOut, responses=errors())
async def list_agents(
    request: Request, caller: Viewer, limit: Limit = 50, offset: Offset = 0
) -> Json:
    """List agents, newest first."""
    page = await services(request).agents.page(caller, limit, offset)
    return Json(AgentsOut(agents=[_agent(row) for row in page.rows], total=page.total))


@router.post("", status_code=201, response_model=CreatedAgentOut, responses=errors(409, *BODY))
async def create_agent(request: Request, caller: Editor, body: AgentIn) -> Json:
    """Create an agent; its name is its own in the organisation."""
    agent = _agent(await services(request).agents.create(caller, body.name, body.spec()))
    return Json(
        CreatedAgentOut(id=agent["id"], agent=agent),
        201,
        {"Location": f"/api/agents/{agent['id']}"},
    )


@router.get("/{agent_id}", response_model=OneAgentOut, responses=errors(404))
async def get_agent(request: Request, caller: Viewer, agent_id: AgentId) -> Json:
    """An agent."""
    row = await services(request).agents.get(caller, bare("agent_", agent_id))
    return Json(OneAgentOut(agent=_agent(row)))


@router.put("/{agent_id}", response_model=OneAgentOut, responses=errors(404, 409, *BODY))
async def replace_agent(request: Request, caller: Editor, agent_id: AgentId, body: AgentIn) -> Json:
    """Replace an agent; what is not given has its default again."""
    row = await services(request).agents.replace(
        caller, bare("agent_", agent_id), body.name, body.spec()
    )
    return Json(OneAgentOut(agent=_agent(row)))


@router.delete("/{agent_id}", response_model=DeletedOut, responses=errors(404))
async def delete_agent(request: Request, caller: Editor, agent_id: AgentId) -> Json:
    """Delete an agent, also one that workflows name; their steps fail then."""
    await services(request).agents.remove(caller, bare("agent_", agent_id))
    return Json(DeletedOut(deleted=True))


def _agent(row: AgentRow) -> AgentOut:
    spec = row.spec.model_dump()
    return AgentOut(
        id=spelled("agent_", row.id),
        name=row.name,
        model=spec["model"],
        instructions=spec["instructions"],
        tools=spec["tools"],
        hosts=spec["hosts"],
        secret=spec["secret"],
        settings=spec["settings"],
        budget=spec["budget"],
        output_schema=spec["output_schema"],
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
    )
