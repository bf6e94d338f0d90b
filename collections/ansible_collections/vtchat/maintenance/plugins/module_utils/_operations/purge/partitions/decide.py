# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What becomes of each partition. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...._postgres.names import display, quote
from ...._result import CONTENDED, FAILED, UNCHANGED
from ...._units import rows
from ... import Action, Context, Decision, Difference, Effect, Verdict
from ..options import DROP, NEVER, REQUIRE, Options
from . import actions
from .actions import DETACH, FINALIZE, KEEP, UNMARK, Creation, Patience, Removal, Todo
from .coming import MOST_STRAY, Coming
from .facts import Facts
from .model import Script
from .table import Partition

TOLD = 5  # of a list, in the summary


def decide(facts: Facts | Verdict, options: Options, context: Context) -> list[Decision[Todo]]:
    """First what is to be created, then what goes, the oldest first; what is kept is told at the end."""
    if isinstance(facts, Verdict):
        return [facts]
    patience = Patience(actions.PATIENCE)
    scripts = zip(facts.plan.coming, facts.scripts)
    made: list[Decision[Todo]] = [_create(facts, one, script, patience) for one, script in scripts]
    creates = any(isinstance(one, Action) for one in made)
    if options.partitions:
        made += [_left(facts, one, options, patience) for one in facts.left]
        made += [_pending(facts, one, options, patience) for one in facts.parts if one.pending]
        made += [_marked(facts, one, patience) for one in facts.parts if _stays_marked(one)]
        todos = [one.payload for one in made if isinstance(one, Action)]
        gone = {todo.part.oid for todo in todos if isinstance(todo, Removal) and todo.drop}
        made += _detaches(facts, options, patience, creates, gone)
    _warn(facts, options, context)
    return [*made, _summary(facts, made)]


def _create(facts: Facts, one: Coming, script: Script, patience: Patience) -> Decision[Todo]:
    target, bounds = display(one.schema, one.name), f"FROM ('{one.lower}') TO ('{one.upper}')"
    default = facts.default
    if one.stray and default is not None:
        number = f"{rows(MOST_STRAY)} or more" if one.stray >= MOST_STRAY else rows(one.stray)
        belong = "belongs" if one.stray == 1 else "belong"
        reason = (
            f"{number} of the DEFAULT partition {default.display} {belong} into it: {_way_out(facts, one, default)}"
        )
        return Verdict(target, reason, FAILED, {"bounds": bounds, "rows_in_default": one.stray})
    known = tuple(part.oid for part in facts.parts)
    todo = Creation(facts.relation, one, script, patience, facts.wait, known, default is not None)
    step = facts.plan.step
    return Action(
        target=target,
        reason="it is a partition to come" + (f" ({step.text()})" if step else ""),
        payload=todo,
        numbers={"bounds": bounds, **({"interval": step.text()} if step else {})},
        statements=script.texts,
        difference=Difference("", f"{bounds}\n"),
        divisible=True,
    )


def _way_out(facts: Facts, one: Coming, default: Partition) -> str:
    """How rows get from DEFAULT into a new partition: without anybody seeing them twice, or not at all."""
    new, column = display(one.schema, one.name), quote(facts.key.column)
    which = f"{column} >= '{one.lower}' AND {column} < '{one.upper}'"
    parent = facts.relation.display
    create = f"CREATE TABLE {new} (LIKE {parent} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)"
    gone = f"DELETE FROM {default.display} WHERE {which} RETURNING {one.columns}"  # noqa: S608 - for people
    move = f"WITH moved AS ({gone}) INSERT INTO {new} ({one.columns}) SELECT * FROM moved"  # noqa: S608 - likewise
    attach = f"ALTER TABLE {parent} ATTACH PARTITION {new} FOR VALUES FROM ('{one.lower}') TO ('{one.upper}')"
    return f"BEGIN; {create}; {move}; {attach}; COMMIT"


def _left(facts: Facts, one: Partition, options: Options, patience: Patience) -> Decision[Todo]:
    """A table that an interrupted run has detached in order to drop it."""
    drop = options.partitions == DROP
    obstacle = facts.obstacles.get(one.oid)
    if drop and obstacle:
        reason = f"it was detached in order to be dropped, and {obstacle.reason}"
        return Verdict(one.display, reason, CONTENDED if obstacle.passing else FAILED, _numbers(facts, one))
    todo = Removal(actions.DROP if drop else KEEP, facts.relation, one, patience, facts.wait, drop=drop)
    reason = "an earlier run has detached it in order to drop it"
    return _action(facts, todo, reason if drop else f"{reason}; it is kept as a table of its own", _numbers(facts, one))


def _stays_marked(one: Partition) -> bool:
    return one.marked and one.may_alter and not one.pending and not one.expired


def _marked(facts: Facts, one: Partition, patience: Patience) -> Decision[Todo]:
    """One that an earlier run was about to detach, and that does not go: nor must it, should somebody detach it one day."""
    why = "an earlier run has marked it to be dropped, but its upper bound is after the cut-off: the mark is taken off"
    todo = Removal(UNMARK, facts.relation, one, patience, facts.wait, unmark=True)
    return _action(facts, todo, why, _numbers(facts, one))


def _pending(facts: Facts, one: Partition, options: Options, patience: Patience) -> Decision[Todo]:
    """A detach that was interrupted: it can only be finished."""
    if facts.detacher:
        return Verdict(
            one.display, f"session {facts.detacher} may be detaching it right now", CONTENDED, _numbers(facts, one)
        )
    obstacle = facts.obstacles.get(one.oid)
    if obstacle and (obstacle.passing or not one.may_alter):
        verdict = CONTENDED if obstacle.passing else FAILED
        return Verdict(one.display, f"its detach was interrupted; {obstacle.reason}", verdict, _numbers(facts, one))
    wanted = options.partitions == DROP and one.marked and one.expired
    unmark = one.marked and not wanted
    todo = Removal(FINALIZE, facts.relation, one, patience, facts.wait, drop=wanted and not obstacle, unmark=unmark)
    why = "its detach was interrupted, and is finished"
    if wanted and obstacle:
        why += f"; it cannot be dropped: {obstacle.reason}"
    elif options.partitions == DROP and not wanted:
        said = "its upper bound is after the cut-off" if one.marked else "others began it"
        why += f"; it is kept as a table of its own: {said}"
    return _action(facts, todo, why, _numbers(facts, one))


def _detaches(
    facts: Facts, options: Options, patience: Patience, creates: bool, gone: set[int]
) -> list[Decision[Todo]]:
    """What has expired, the oldest first; never the last partition that takes rows. gone: what is dropped before it."""
    going = [one for one in facts.parts if one.expired and not one.pending]
    staying = [one for one in facts.parts if not one.expired and not one.pending and not one.default]
    blocked = [one for one in going if one.oid in facts.obstacles and not _after(facts, one)]
    last = going[-1] if going and not staying and not blocked and not creates else None
    order = _order([one for one in going if one not in (*blocked, last)], facts, gone)
    told = iter(order)
    return [
        _detach(facts, next(told), options, patience) if one in order else _kept(facts, one, one is last, order)
        for one in going
    ]


def _order(going: Sequence[Partition], facts: Facts, gone: set[int]) -> list[Partition]:
    """Those that can go, each after those whose rows refer to it, else the oldest first. gone: what goes before them."""
    order: list[Partition] = []
    gone = set(gone)
    while True:
        free = next((one for one in going if one not in order and _after(facts, one) <= gone), None)
        if free is None:
            return order
        order.append(free)
        gone.add(free.oid)


def _after(facts: Facts, one: Partition) -> frozenset[int]:
    obstacle = facts.obstacles.get(one.oid)
    return obstacle.after if obstacle else frozenset()


def _kept(facts: Facts, one: Partition, last: bool, order: Sequence[Partition]) -> Verdict:
    """What stays, and why. order: what goes."""
    if last:
        reason = "it is the last partition, and stays: set premake, so that others come first"
        return Verdict(one.display, reason, UNCHANGED, _numbers(facts, one))
    obstacle = facts.obstacles[one.oid]
    reason, after = obstacle.reason, obstacle.after - {other.oid for other in order}
    if after:
        names = ", ".join(other.display for other in (*facts.left, *facts.parts) if other.oid in after)
        reason += f"; they are in {names}, which would have to go before it and stays"
    return Verdict(one.display, reason, CONTENDED if obstacle.passing else FAILED, _numbers(facts, one))


def _detach(facts: Facts, one: Partition, options: Options, patience: Patience) -> Decision[Todo]:
    default, numbers = facts.default, _numbers(facts, one)
    if facts.pooled and options.concurrently == REQUIRE:
        reason = ("DETACH CONCURRENTLY would wait for others without an end behind a transaction pooler: connect to the server "
                  "itself, or set concurrently: auto, which blocks the table for a moment")  # fmt: skip
        return Verdict(one.display, reason, FAILED, numbers)
    if default and options.concurrently == REQUIRE:
        reason = (f"the DEFAULT partition {default.display} forbids DETACH CONCURRENTLY: set concurrently: auto, which blocks "
                  f"the table for a moment, or ALTER TABLE {facts.relation.display} DETACH PARTITION {default.display} "
                  "first")  # fmt: skip
        return Verdict(one.display, reason, FAILED, numbers)
    concurrently = options.concurrently != NEVER and not default and not facts.pooled
    drop = options.partitions == DROP
    reason = "its upper bound is not after the cut-off"
    if default and options.concurrently != NEVER:
        reason += f"; not CONCURRENTLY, which the DEFAULT partition {default.display} forbids"
    elif facts.pooled and options.concurrently != NEVER:
        reason += "; not CONCURRENTLY, which would wait without an end behind a transaction pooler"
    numbers["method"] = "concurrently" if concurrently else "plain"
    todo = Removal(
        DETACH,
        facts.relation,
        one,
        patience,
        facts.wait,
        drop=drop,
        unmark=one.marked and not drop,
        concurrently=concurrently,
        after=_after(facts, one),
    )
    return _action(facts, todo, reason, numbers)


def _action(facts: Facts, todo: Removal, reason: str, numbers: dict[str, Any]) -> Action[Todo]:
    part = todo.part
    gone = {part.oid: Effect(gone=True)} if todo.drop else {}
    return Action(
        target=part.display,
        reason=reason,
        payload=todo,
        numbers=numbers,
        statements=todo.texts(),
        effects={**gone, facts.relation.oid: Effect(numbers.get("estimated_rows"))}
        if todo.kind in (DETACH, FINALIZE)
        else gone,
        difference=_difference(todo),
        size=numbers.get("bytes"),
        divisible=True,
    )


def _difference(todo: Removal) -> Difference:
    before = todo.part.bounds or "detached"
    if todo.kind == UNMARK:
        return Difference(f"{before}, to be dropped\n", f"{before}\n")
    return Difference(f"{before}\n", "" if todo.drop else "a table of its own\n")


def _numbers(facts: Facts, one: Partition) -> dict[str, Any]:
    bytes_, estimate = facts.sizes.get(one.oid, (None, None))
    return {
        "cutoff": facts.clock.cutoff_text,
        **({"bounds": one.bounds} if one.bound else {}),
        **({"bytes": bytes_} if bytes_ is not None else {}),
        **({"estimated_rows": estimate} if estimate is not None else {}),
    }


def _warn(facts: Facts, options: Options, context: Context) -> None:
    """What is worth knowing although nothing fails. A gap before the cut-off is one that retention leaves."""
    ranged = [one for one in facts.parts if one.lower is not None and one.upper is not None and not one.pending]
    name, since = facts.relation.display, facts.clock.cutoff if options.partitions else float("-inf")
    gaps = [
        f"{one.display} and {two.display}"
        for one, two in zip(ranged, ranged[1:])
        if (one.upper or 0) < (two.lower or 0) and (two.lower or 0) > since and not _filled(facts, one, two)
    ]
    if gaps:
        context.warn(f"{name}: there is a gap between the partitions {'; '.join(gaps[:TOLD])}")
    now = facts.clock.now
    here = any((one.lower or 0) <= now < (one.upper or 0) for one in ranged)
    if not here and not facts.default and not facts.plan.coming:
        hint = ": set premake" if options.premake is None else ""
        context.warn(f"{name}: no partition takes the rows of now, and there is no DEFAULT{hint}")


def _filled(facts: Facts, one: Partition, two: Partition) -> bool:
    """Whether all of the gap between these is about to be filled."""
    coming = facts.plan.coming
    begins, ends = {new.lower for new in coming}, {new.upper for new in coming}
    return one.range is not None and two.range is not None and one.range.upper in begins and two.range.lower in ends


def _summary(facts: Facts, made: Sequence[Decision[Todo]]) -> Verdict:
    """What stays, and what could not be planned."""
    going = {one.target for one in made if isinstance(one, Action) and getattr(one.payload, "kind", "") != UNMARK}
    kept = [one for one in facts.parts if not one.pending and one.display not in going]
    numbers: dict[str, Any] = {"cutoff": facts.clock.cutoff_text, "partitions": len(facts.parts), "kept": len(kept)}
    ranged = [one for one in kept if not one.default]
    if ranged:
        numbers["oldest"], numbers["newest"] = ranged[0].bounds, ranged[-1].bounds
    if facts.plan.faults:
        return Verdict(facts.relation.display, "; ".join(facts.plan.faults), FAILED, numbers)
    told = "1 partition stays" if len(kept) == 1 else f"{len(kept)} partitions stay"
    return Verdict(facts.relation.display, told, UNCHANGED, numbers)
