"""Records on both databases: what is written with them, and who comes at the same time."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from pydantic import JsonValue
from sqlalchemy import select

from engine.errors import Conflict, Invalid, NotFound
from store import assessments, clock, entities, entity_types, organisations, published, publishing
from store.database import Database, Tx
from store.entities import EntityRow, NewEntity, Written, new_entity
from store.entity_types import NewType, TypeRow
from store.ids import new_id
from store.publishing import Verdicts
from store.record_tables import published_events
from store.tables import runs
from store.values import encode
from tests.store.test_publishing import bound
from tests.store.world import World, overlap


def thing(tx: Tx, org: str, name: str = "Thing") -> TypeRow:
    fields: list[dict[str, JsonValue]] = [{"name": "n", "slug": "n", "type": "number"}]
    return entity_types.create(
        tx, org, NewType(name, f"{name}s", f"{name}s".lower(), None, None, fields)
    )


async def created(
    database: Database, org: str, fields: dict[str, JsonValue], kind: str = "Vendor"
) -> EntityRow:
    new = new_entity(fields)
    written = await publishing.publishing(
        database, lambda tx, verdicts: entities.create(tx, org, kind, new, verdicts)
    )
    return written.row


async def changed(
    database: Database, org: str, entity_id: str, fields: dict[str, JsonValue]
) -> Written:
    event_id = new_id()
    return await publishing.publishing(
        database,
        lambda tx, verdicts: entities.change(tx, org, entity_id, fields, verdicts, event_id),
    )


async def done(
    database: Database,
    verb: Callable[[Tx, str, str, Verdicts, str], Written],
    org: str,
    entity_id: str,
) -> Written:
    event_id = new_id()
    return await publishing.publishing(
        database, lambda tx, verdicts: verb(tx, org, entity_id, verdicts, event_id)
    )


def told(tx: Tx, org: str) -> list[tuple[str, str | None]]:
    rows = tx.execute(
        select(published_events.c.name, published_events.c.entity_id)
        .where(published_events.c.org_id == org)
        .order_by(published_events.c.created_at, published_events.c.id)
    )
    return [(row.name, row.entity_id) for row in rows]


async def test_every_change_is_told_of_with_it(database: Database, world: World) -> None:
    row = await created(database, world.org, {"a": 1, "b": None})
    assert row.fields == {"a": 1}
    await changed(database, world.org, row.id, {"a": 1, "c": None})
    await changed(database, world.org, row.id, {"a": None, "c": 2})
    for verb in (entities.archive, entities.archive, entities.restore, entities.restore):
        await done(database, verb, world.org, row.id)
    assert await database.read(partial(told, org=world.org)) == [
        ("Vendor.Created", row.id),
        ("Vendor.Updated", row.id),
        ("Vendor.Deleted", row.id),
        ("Vendor.Updated", row.id),
    ]
    kept = await database.read(lambda tx: entities.get(tx, world.org, row.id))
    assert kept.fields == {"c": 2}


async def test_true_is_not_one(database: Database, world: World) -> None:
    row = await created(database, world.org, {"a": 1, "b": [0]})
    await changed(database, world.org, row.id, {"a": True, "b": [False]})
    kept = await database.read(lambda tx: entities.get(tx, world.org, row.id))
    assert encode(kept.fields) == '{"a":true,"b":[false]}'


async def test_what_is_refused_tells_of_nothing(database: Database, world: World) -> None:
    await database.write(lambda tx: thing(tx, world.org))
    row = await created(database, world.org, {"n": 1}, "Thing")
    with pytest.raises(Invalid):
        await created(database, world.org, {"n": "x"}, "Thing")
    with pytest.raises(Invalid):
        await changed(database, world.org, row.id, {"m": 1})
    with pytest.raises(NotFound):
        await created(database, world.other_org, {"n": 1}, "Thing")
    assert await database.read(partial(told, org=world.org)) == [("Thing.Created", row.id)]


async def test_a_record_that_is_there_is_not_written_again(
    database: Database, world: World
) -> None:
    await database.write(lambda tx: bound(tx, world.org, "Vendor.Created"))
    first, second = new_entity({"n": 1}), new_entity({"n": 2})

    def add(tx: Tx, verdicts: Verdicts, new: list[NewEntity]) -> int:
        kind = entity_types.hold(tx, world.org, "Vendor")
        return len(entities.add(tx, kind, new, verdicts))

    started = [
        await publishing.publishing(database, partial(add, new=new))
        for new in ([first], [first, second], [first, second])
    ]
    assert started == [1, 1, 0]
    assert len(await database.read(partial(told, org=world.org))) == 2


async def test_records_made_together_are_made_one_after_the_other(
    database: Database, world: World
) -> None:
    new = [new_entity({"n": n}) for n in range(3)]

    def add(tx: Tx, verdicts: Verdicts) -> None:
        kind = entity_types.hold(tx, world.org, "Vendor")
        entities.add(tx, kind, new, verdicts, at=1_000)

    await publishing.publishing(database, add)
    for place, one in enumerate(new):
        row = await database.read(partial(entities.get, org_id=world.org, entity_id=one.id))
        assert (row.created_at, row.updated_at) == (1_000 + place, 1_000 + place)


async def test_changes_of_one_record_come_one_after_the_other(
    database: Database, own_database: Database, world: World
) -> None:
    row = await created(database, world.org, {"n": 0})
    await asyncio.gather(
        *(
            changed(one, world.org, row.id, {f"k{n}": n})
            for n, one in enumerate([database, own_database] * 5)
        )
    )
    kept = await database.read(lambda tx: entities.get(tx, world.org, row.id))
    assert kept.fields == {"n": 0} | {f"k{n}": n for n in range(10)}
    assert len(await database.read(partial(told, org=world.org))) == 11


async def test_a_type_goes_or_gets_a_record_but_not_both(
    database: Database, own_database: Database, world: World
) -> None:
    kind = await database.write(lambda tx: thing(tx, world.org))
    new = new_entity({"n": 1})

    def create(tx: Tx) -> object:
        return entities.create(tx, world.org, kind.id, new, Verdicts())

    def delete(tx: Tx) -> object:
        return entity_types.delete(tx, world.org, kind.id)

    first = await overlap(database, create, own_database, delete)
    assert isinstance(first[1], Conflict)
    other = await database.write(lambda tx: thing(tx, world.org, "Other"))
    new = new_entity({"n": 1})
    kind = other
    second = await overlap(database, delete, own_database, create)
    assert isinstance(second[1], NotFound)


async def test_two_types_do_not_get_one_name(
    database: Database, own_database: Database, world: World
) -> None:
    answers = await overlap(
        database,
        lambda tx: thing(tx, world.org),
        own_database,
        lambda tx: thing(tx, world.org),
    )
    assert [isinstance(answer, Conflict) for answer in answers] == [False, True]
    other = await database.write(lambda tx: thing(tx, world.org, "Other"))
    with pytest.raises(Conflict):
        await database.write(
            lambda tx: entity_types.change(tx, world.org, other.id, {"name": "Thing"})
        )
    await database.write(lambda tx: thing(tx, world.other_org))


async def test_a_builtin_type_is_there_once(database: Database, world: World) -> None:
    for _ in range(2):
        assert await database.write(lambda tx: organisations.ensure(tx, "mine")) == world.org
        await database.write(lambda tx: entity_types.add_builtin(tx, world.org))
    rows, total = await database.read(
        lambda tx: entity_types.page(tx, world.org, limit=10, offset=0)
    )
    assert ([row.name for row in rows], total) == (["Service", "Vendor"], 2)


async def test_what_an_assessment_names_is_not_purged(database: Database, world: World) -> None:
    rows = [await created(database, world.org, {"n": n}) for n in range(2)]
    new = assessments.NewAssessment(new_id(), new_id(), rows[0].id)

    def assess(tx: Tx, verdicts: Verdicts) -> None:
        event = assessments.prepare(tx, world.org, new)
        assessments.create(tx, world.org, new, event, verdicts)

    await publishing.publishing(database, assess)
    for row in rows:
        await done(database, entities.archive, world.org, row.id)
    later = clock.now() + 1
    assert await database.write(lambda tx: entities.purge(tx, later, 10)) == 1
    assert await database.read(lambda tx: entities.get(tx, world.org, rows[0].id))
    with pytest.raises(NotFound):
        await database.read(lambda tx: entities.get(tx, world.org, rows[1].id))


async def test_events_are_purged_a_few_at_a_time(database: Database, world: World) -> None:
    await database.write(lambda tx: bound(tx, world.org, "Vendor.Created", "entity.fields.n == 3"))
    made = [await created(database, world.org, {"n": n}) for n in range(5)]
    later = clock.now() + 1
    counts = [await database.write(lambda tx: published.purge(tx, later, 3)) for _ in range(3)]
    assert counts == [3, 1, 0]
    assert await database.read(partial(told, org=world.org)) == [("Vendor.Created", made[3].id)]


async def test_imports_at_the_same_time_start_each_run_once(
    database: Database, own_database: Database, world: World
) -> None:
    for _ in range(3):
        await database.write(lambda tx: bound(tx, world.org, "Vendor.Created"))

    def add(tx: Tx, verdicts: Verdicts, new: list[NewEntity]) -> None:
        kind = entity_types.hold(tx, world.org, "Vendor")
        entities.add(tx, kind, new, verdicts)

    batches = [[new_entity({"n": n}) for n in range(20)] for _ in range(4)]
    # Each batch comes twice, in both processes.
    await asyncio.gather(
        *(
            publishing.publishing(one, partial(add, new=batch))
            for batch in batches
            for one in (database, own_database)
        )
    )

    def count(tx: Tx) -> tuple[int, int]:
        found = tx.execute(select(runs.c.id).where(runs.c.org_id == world.org)).all()
        return len(found), len(told(tx, world.org))

    assert await database.read(count) == (240, 80)


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_a_page_begins_behind_a_record(
    database: Database, world: World, oldest_first: bool
) -> None:
    """Also behind one of those that were made at the same time, and one that was deleted."""

    def work(tx: Tx) -> tuple[str, list[str]]:
        kind = entity_types.get(tx, world.org, "Vendor")
        new = [NewEntity({}, f"{n:032x}", new_id()) for n in (5, 3, 9, 1, 7)]
        for one in new[:3]:
            entities.add(tx, kind, [one], Verdicts(), at=10)
        entities.add(tx, kind, new[3:], Verdicts(), at=20)
        entities.archive(tx, world.org, new[0].id, Verdicts(), new_id())
        return kind.id, [new[place].id for place in (1, 0, 2, 3, 4)]

    type_id, made = await database.write(work)
    order = made if oldest_first else made[::-1]

    def page(tx: Tx, place: int, limit: int) -> tuple[list[EntityRow], bool, int]:
        behind = entities.get(tx, world.org, order[place])
        return entities.page(
            tx, world.org, type_id, oldest_first=oldest_first, behind=behind, limit=limit
        )

    for place in range(len(order)):
        follow = [one for one in order[place + 1 :] if one != made[1]]
        for limit in (2, 5):
            rows, more, total = await database.read(partial(page, place=place, limit=limit))
            assert [row.id for row in rows] == follow[:limit]
            assert (more, total) == (len(follow) > limit, 4)
