"""Verbs, ends and beginnings that meet: each happens wholly, and the row says what the log says."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest

from activities.registry import catalog
from engine.book import PlaceCall
from engine.call import StepCall
from engine.errors import Conflict, SignalboxError
from engine.lifecycle import RunStatus
from engine.outcomes import Done
from store import executions, journal, organisations, parking, runs
from store.database import Database, Tx
from store.runs import RunRow, Wanted
from tests.store.world import World, begin, log, new_workflow, overlap, seen

Act = Callable[[Tx, RunRow], object]


def closing(status: RunStatus) -> Act:
    return lambda tx, run: executions.close_execution(tx, run.id, 1, status, 1)


def placing(act: Callable[[Tx, PlaceCall, int], object], limit: int = 1) -> Act:
    """Give the place back or ask for one, as the run's execution does."""
    return lambda tx, run: act(
        tx, PlaceCall(run=run.id, n=run.n, parkings=seen(tx, run.id).parkings), limit
    )


def free(tx: Tx, run: RunRow) -> None:
    """End every other run of the organisation that holds a place."""
    for other in runs.page(tx, run.org_id, Wanted(), limit=200, offset=0)[0]:
        if other.id != run.id and other.admitted:
            executions.close_execution(tx, other.id, other.n, RunStatus.COMPLETED, 1)


ACTS: dict[str, Act] = {
    "open": lambda tx, run: begin(tx, run.id, 1, 1),
    "hand_on": lambda tx, run: executions.hand_on(tx, run.org_id, 1),
    "park": placing(parking.give_back),
    "ask": placing(parking.ask),
    "free": free,
    "complete": closing(RunStatus.COMPLETED),
    "fail": closing(RunStatus.FAILED),
    "stop": closing(RunStatus.PAUSED),
    "lose": lambda tx, run: executions.lost(tx, run.id, 1, "Gone.", 1),
    "cancel": lambda tx, run: executions.cancel(tx, run.org_id, run.id),
    "pause": lambda tx, run: executions.pause(tx, run.org_id, run.id),
    "resume": lambda tx, run: executions.resume(tx, run.org_id, run.id, None, catalog()),
}
ENDS = {"complete", "fail", "stop", "lose"}
#: What may be under way in each state, and what then ends it.
STATES: dict[str, list[str]] = {
    "queued": ["open", "hand_on", "fail", "lose", "cancel", "pause"],
    "admitted": ["open", "hand_on", "fail", "lose", "cancel", "pause"],
    "running": ["open", "park", "complete", "stop", "lose", "cancel", "pause"],
    "parked": ["ask", "hand_on", "free", "complete", "stop", "lose", "cancel", "pause"],
    "wanting": ["ask", "hand_on", "free", "complete", "stop", "lose", "cancel", "pause"],
    "given": ["ask", "hand_on", "complete", "stop", "lose", "cancel", "pause"],
    "paused": ["cancel", "resume", "stop", "open"],
    "failed": ["resume", "cancel", "fail"],
}
#: How a run's log moves it; `None` is where it has to stand for that.
MOVES = {
    "run_started": ({"queued"}, "running"),
    "run_paused": ({"queued", "running"}, "paused"),
    "run_resumed": ({"paused", "failed", "cancelled"}, "queued"),
}
BEGINNINGS: dict[str, list[str]] = {
    "queued": [],
    "admitted": ["hand_on"],
    "running": ["open"],
    "parked": ["open", "park"],
    "wanting": ["open", "park", "ask"],
    "given": ["open", "park", "ask", "free"],
    "paused": ["open", "stop"],
    "failed": ["open", "fail"],
}


def told(tx: Tx, run_id: str) -> tuple[str, bool]:
    """Where the log says that the run stands, and whether it holds a place.

    It has moved only as runs may.
    """
    state, held = "new", False
    for event in log(tx, run_id):
        if event.type in MOVES:
            allowed, to = MOVES[event.type]
            assert state in allowed, (state, event.type)
            state = to
        match str(event.type):
            case "run_queued":
                assert (state, held) in {("new", False), ("running", False)}, state
                state = "queued" if state == "new" else state
            case "run_admitted":
                assert (state, held) in {("queued", False), ("running", False)}, state
            case "run_parked":
                assert (state, held) == ("running", True)
            case "run_completed":
                assert state in {"queued", "running", "paused"}, (state, event.data)
                state = str(event.data["status"])
        held |= event.type in ("run_started", "run_admitted")
        held &= event.type not in ("run_parked", "run_paused", "run_completed")
    return state, held


async def meet(one: Database, other: Database, state: str, first: str, second: str) -> str:
    """Let two acts meet in an organisation of their own; what is wrong afterwards, if anything."""

    def make(tx: Tx) -> tuple[RunRow, RunRow]:
        org = organisations.ensure(tx, f"{state} {first} {second}")
        workflow = new_workflow(tx, org)
        world = World(org, workflow, org, workflow)
        run, waiting = world.run(tx), world.run(tx)
        for act in BEGINNINGS[state]:
            ACTS[act](tx, run)
        return run, waiting

    run, waiting = await one.write(make)
    attempts: Counter[str] = Counter()

    def counted(name: str, tx: Tx) -> object:
        attempts[name] += 1
        return ACTS[name.split()[1]](tx, run)

    answers = await overlap(
        one, partial(counted, f"1 {first}"), other, partial(counted, f"2 {second}")
    )
    after, next_one, (state_told, held_told) = await one.read(
        lambda tx: (seen(tx, run.id), seen(tx, waiting.id), told(tx, run.id))
    )
    live = after.status in (RunStatus.QUEUED, RunStatus.RUNNING)
    asked = {name: answer for name, answer in zip((first, second), answers, strict=True)}
    wrong = {
        "tells something else": after.status != state_told,
        "was a victim of a deadlock": set(attempts.values()) != {1},
        "holds a place without need": after.admitted and not live,
        "has another place than it tells": after.admitted != held_told,
        "runs without a place": after.status is RunStatus.RUNNING
        and not after.admitted
        and not after.parkings,
        "shares a place": after.admitted and next_one.admitted,
        "wastes a place": state in ("admitted", "running", "given")
        and not (live and after.admitted)
        and next_one.status is RunStatus.QUEUED
        and not next_one.admitted,
        "was not ended": live and after.n == 1 and not ENDS.isdisjoint(asked),
        "was not cancelled": isinstance(asked.get("cancel"), RunRow)
        and first != "resume"
        and second != "resume"
        and not (
            after.status in ("cancelled", "completed", "failed")
            or (after.status is RunStatus.RUNNING and after.intent == "cancel")
        ),
        "was not paused": isinstance(asked.get("pause"), RunRow)
        and after.status is RunStatus.RUNNING
        and after.intent is None,
        "was resumed twice": (first, second) == ("resume", "resume")
        and sum(isinstance(answer, Conflict) for answer in answers) != 1,
        "has lost an execution": after.n != (2 if "resume" in asked and _won(asked) else 1),
    }
    return ", ".join(what for what, so in wrong.items() if so)


def _won(asked: dict[str, object | SignalboxError]) -> bool:
    return isinstance(asked["resume"], RunRow) or list(asked) == ["resume"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_whatever_meets_leaves_a_whole(database: Database, url: str) -> None:
    """Every pair of acts in every state; the second comes before the first has committed.

    On PostgreSQL: SQLite has one writer at a time.
    """
    second = Database(url)
    gate = asyncio.Semaphore(7)

    async def one(state: str, acts: tuple[str, str]) -> str:
        async with gate:
            return await meet(database, second, state, *acts)

    cases = [(state, pair) for state, acts in STATES.items() for pair in product(acts, repeat=2)]
    found = await asyncio.gather(*(one(*case) for case in cases))
    await second.close()
    assert {case: wrong for case, wrong in zip(cases, found, strict=True) if wrong} == {}


LIMIT = 3


def mixed(dice: random.Random) -> Act:
    """An act of a run as it stands by then, of a kind that the dice choose."""
    step = f"s{dice.randrange(5)}"
    how = dice.choice([RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.PAUSED])
    done = Done(output="x" * 70_000)
    acts: list[Act] = [
        lambda tx, run: journal.finish(tx, StepCall(run=run.id, n=run.n, step=step), done),
        lambda tx, run: executions.close_execution(tx, run.id, run.n, how, LIMIT),
        lambda tx, run: begin(tx, run.id, run.n, LIMIT),
        *(ACTS[name] for name in ("cancel", "pause", "resume")),
        placing(parking.give_back, LIMIT),
        placing(parking.ask, LIMIT),
    ]
    return dice.choices(acts, [8, 4, 6, 1, 1, 3, 4, 6])[0]


async def attempts_at(database: Database, act: Act, run_id: str) -> int:
    attempts = 0

    def work(tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        act(tx, seen(tx, run_id))

    with contextlib.suppress(Conflict):
        await database.write(work)
    return attempts


async def test_steps_verbs_and_ends_in_any_order(database: Database, url: str) -> None:
    """Many of each at once, in an organisation with few places; nobody is a deadlock's victim."""
    dice, second = random.Random(7), Database(url)

    def make(tx: Tx) -> list[str]:
        org = organisations.ensure(tx, "busy")
        workflow = new_workflow(tx, org)
        world = World(org, workflow, org, workflow)
        return [world.run(tx).id for _ in range(12)]

    made = await database.write(make)
    most: list[int] = []

    async def one(act: Act, run_id: str, through: Database) -> int:
        attempts = await attempts_at(through, act, run_id)
        most.append(await through.read(lambda tx: sum(run.admitted for run in rows(tx))))
        return attempts

    def rows(tx: Tx) -> list[RunRow]:
        return [seen(tx, run_id) for run_id in made]

    async with asyncio.timeout(90):
        attempts = await asyncio.gather(
            *(
                one(mixed(dice), dice.choice(made), (database, second)[index % 2])
                for index in range(200)
            )
        )
    await second.close()
    assert set(attempts) == {1}
    assert 0 < max(most) <= LIMIT

    def check(tx: Tx) -> None:
        for run in rows(tx):
            assert (run.status, run.admitted) == told(tx, run.id)
            assert run.admitted <= (run.status in ("queued", "running"))
            assert run.parked <= (run.status == "running")
            assert run.admitted >= (run.status == "running" and not run.parkings)

    await database.read(check)
