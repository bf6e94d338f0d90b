# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Giving a role its rights, all or none: what is decided, done and verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .._errors import MaintenanceError, SqlError
from .._operations import Need
from .._postgres import policy
from .._postgres.names import quote
from .._postgres.session import Session
from .._postgres.sqlstates import DUPLICATE_OBJECT, INTERNAL_ERROR, UNIQUE_VIOLATION
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED
from .facts import read
from .model import EXISTS, NONE, VERIFIER, Extra, Facts, Options, Right, Statement

# One at a time in a database; others that change the same rows of the catalog make the server refuse one of both.
BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vtchat.maintenance.maintainer', 0));
"""
# A row of the catalog was changed by somebody else just now, or the role has just been created.
COLLISIONS = (INTERNAL_ERROR, UNIQUE_VIOLATION, DUPLICATE_OBJECT)


@dataclass(frozen=True)
class Action:
    """What is to be done about one object, or has been. verdict: an outcome, None where it is still to be done."""

    kind: str
    target: str
    reason: str
    verdict: str | None = None
    statements: tuple[Statement, ...] = ()


@dataclass
class Provided:
    """What became of it. before, after: the rights as statements, for --diff; excess: rights beyond the needs."""

    actions: list[Action]
    before: list[str]
    after: list[str]
    excess: list[Extra] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    basis: str = NONE

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return any(action.verdict in (DONE, PLANNED) for action in self.actions)


def decide(facts: Facts, exclusive: bool) -> list[Action]:
    """One action per object. As long as one right cannot be given, none is."""
    actions = [Action("", target, fault, FAILED) for target, fault in facts.faults]
    extras = facts.extras if exclusive else []
    kinds: dict[str, str] = {}
    for key in [right.key for right in facts.rights] + [extra.key for extra in extras]:
        kinds.setdefault(key.target, "table" if key.kind == "COLUMN" else key.kind.lower())
    for target, kind in kinds.items():
        rights = [right for right in facts.rights if right.key.target == target]
        more = [extra for extra in extras if extra.key.target == target]
        missing = [right for right in rights if not (right.direct if exclusive else right.held)]
        actions.append(_decide(Action(kind, target, ""), facts.admin, rights, missing, more))
    if not any(action.verdict == FAILED for action in actions):
        return actions
    return [_held_back(action) if action.verdict is None else action for action in actions]


def _decide(about: Action, admin: str, rights: list[Right], missing: list[Right], extras: list[Extra]) -> Action:
    # What is taken away comes first: it can take what is given with it, as a REVOKE on a table does for its columns.
    statements = tuple([extra.revoke for extra in extras] + [right.statement for right in missing])
    faults = [_why_not(admin, right) for right in missing if right.fault or not right.may]
    faults += [
        f"{quote(admin)} may not do this: {extra.revoke.text()}"
        + (f"; {quote(extra.grantor)} gave it" if extra.grantor else "")
        for extra in extras
        if not extra.may
    ]
    if faults:
        return replace(about, reason="; ".join(faults), verdict=FAILED, statements=statements)
    if not statements:
        names = ", ".join(right.name for right in rights if right.name != EXISTS)
        return replace(about, reason=f"has {names}" if names else "exists", verdict=UNCHANGED)
    return replace(about, reason="; ".join(_reasons(missing, extras)), statements=statements)


def _reasons(missing: list[Right], extras: list[Extra]) -> list[str]:
    names = [right.name for right in missing]
    reasons = ["does not exist"] if EXISTS in names else []
    if names and EXISTS not in names:
        reasons.append(f"has no {', '.join(names)}")
    if extras:
        reasons.append("1 right beyond the needs" if len(extras) == 1 else f"{len(extras)} rights beyond the needs")
    return reasons


def _why_not(admin: str, right: Right) -> str:
    if right.fault:
        return right.fault
    return f"{quote(admin)} may not do this: {right.statement.text()}; {right.giver} may"


def _held_back(action: Action) -> Action:
    return replace(action, reason=f"{action.reason}; not done, because of the failures", verdict=SKIPPED)


def provide(session: Session, options: Options, needs: Sequence[Need], check: bool) -> Provided:
    """Give the role its rights, all or none; with ``check``, say what would be done. Raises MaintenanceError, Contended."""
    if check:
        return _provided(read(session, options, needs), options.exclusive, PLANNED)
    for left in reversed(range(policy.COLLISION_TRIES)):
        try:
            return policy.with_lock_retries(
                session, lambda: _transaction(session, options, needs), lambda: float("inf")
            )
        except SqlError as error:
            if error.sqlstate not in COLLISIONS or not left:
                raise
    raise AssertionError("the last try returns or raises")


def _transaction(session: Session, options: Options, needs: Sequence[Need]) -> Provided:
    try:
        session.execute(BEGIN, alone=True)
        facts = read(session, options, needs)
        result = _provided(facts, options.exclusive, DONE)
        if result.changed:
            _execute(session, result.actions)
            # What cannot be read back cannot be verified either.
            readable = options if facts.basis == VERIFIER else replace(options, password=None)
            _verify(session, readable, needs)
        session.execute("COMMIT" if result.changed else "ROLLBACK", alone=True)
    except BaseException:
        if session.alive:
            session.execute("ROLLBACK", alone=True)
        raise
    return result


def _execute(session: Session, actions: Sequence[Action]) -> None:
    for action in actions:
        for statement in action.statements if action.verdict == DONE else ():
            session.execute(statement.query(session))


def _verify(session: Session, options: Options, needs: Sequence[Need]) -> None:
    """A GRANT by somebody who may not is only a warning: read again what is there now."""
    left = [
        action for action in decide(read(session, options, needs), options.exclusive) if action.verdict != UNCHANGED
    ]
    if left:
        raise MaintenanceError("nothing was changed, because the server did not do all of it: "
                               + "; ".join(f"{action.target}: {action.reason}" for action in left))  # fmt: skip


def _provided(facts: Facts, strict: bool, status: str) -> Provided:
    """The outcome, on the assumption that what was decided is done."""
    actions = [
        replace(action, verdict=status) if action.verdict is None else action for action in decide(facts, strict)
    ]
    failed = any(action.verdict == FAILED for action in actions)
    held = [right.statement.text() for right in facts.rights if (right.direct if strict else right.held)]
    extra = [one.grant.text() for one in facts.extras]
    before = sorted(held + extra)
    wanted = [right.statement.text() for right in facts.rights]
    return Provided(
        actions=actions,
        before=before,
        after=before if failed else sorted(wanted + ([] if strict else extra)),
        excess=[] if strict and not failed else list(facts.extras),
        other=list(facts.other),
        owners=list(facts.owners),
        basis=facts.basis,
    )
