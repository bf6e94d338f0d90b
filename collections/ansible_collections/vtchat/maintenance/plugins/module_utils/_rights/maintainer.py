# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""A login role with exactly the rights that the steps of its plans need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from .._engine.history_tables import VERSION, tables
from .._engine.plan import Step
from .._errors import MaintenanceError, OptionError, SqlError
from .._operations import Need
from .._postgres.connect import ConnectionOptions, open_session
from .._postgres.driver import sql
from .._postgres.names import MAX_NAME_BYTES, quote
from .._postgres.policy import with_lock_retries
from .._postgres.session import Session
from .._result import DONE, FAILED, PLANNED, SKIPPED, UNCHANGED
from .._spec import Spec
from . import facts as _rights_facts
from . import scram
from .facts import EXISTS, HISTORY, ITERATIONS, STARS, VERIFIER, Extra, Facts, Right

SPEC = Spec({
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
    "steps": {"type": "list", "elements": "dict", "required": True},
    "history": {"type": "bool", "default": True},
    "read_all_stats": {"type": "bool", "default": True},
    "connection_limit": {"type": "int"},
    "exclusive": {"type": "bool", "default": False},
})  # fmt: skip

# One at a time in a database; others that change the same rows of the catalog make the server refuse one of both.
BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('vtchat.maintenance.maintainer', 0));
"""
COLLISIONS = ("XX000", "23505", "42710")  # tuple concurrently updated; the role has just been created
TRIES = 3


@dataclass(frozen=True)
class Action:
    """What is to be done about one object, or has been."""

    operation: str
    target: str
    reason: str
    verdict: str | None = None
    statements: tuple[str, ...] = ()


@dataclass
class Provided:
    """What became of it. before, after: the rights as statements, for --diff; excess: rights beyond the needs."""

    actions: list[Action]
    before: list[str]
    after: list[str]
    excess: list[Extra] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    basis: str = _rights_facts.NONE

    @property
    def failed(self) -> bool:
        return any(action.verdict == FAILED for action in self.actions)

    @property
    def changed(self) -> bool:
        return any(action.verdict in (DONE, PLANNED) for action in self.actions)

    def as_dict(self, role: str) -> dict[str, Any]:
        """For the result of the module. Never has a password or a verifier in it."""
        outcomes = [str(action.verdict) for action in self.actions]
        failures = [f"{action.target}: {action.reason}" for action in self.actions if action.verdict == FAILED]
        result: dict[str, Any] = {
            "changed": self.changed,
            "status": "failed" if failures else "ok",
            "plan": "maintainer",
            "actions": [_printed(action) for action in self.actions],
            "totals": {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
            "password": self.basis,
            "excess": [
                {"target": one.target, "grant": one.grant, "revoke": one.revoke, "grantor": one.grantor}
                for one in self.excess
            ],
            "other": self.other,
            "diff": [],
            "warnings": self._warnings(role),
        }
        if self.before != self.after:
            header = f"rights of {quote(role)}"
            texts = {"before": _lines(self.before), "after": _lines(self.after)}
            result["diff"] = [{"before_header": header, "after_header": header, **texts}]
        if failures:
            result.update(failed=True, msg="nothing was changed; " + "; ".join(failures))
        return result

    def _warnings(self, role: str) -> list[str]:
        warnings = []
        if self.owners:
            owners = ", ".join(map(quote, self.owners))
            warnings.append(f"as a member of {owners}, {quote(role)} has all rights of {owners}; maintenance alone can be "
                            "given from PostgreSQL 17 on, except for building indexes")  # fmt: skip
        if self.excess:
            warnings.append(f"{quote(role)} has rights that its plans do not need, which exclusive: true would take away: "
                            + "; ".join(one.grant for one in self.excess))  # fmt: skip
        if self.other:
            warnings.append(f"{quote(role)} has what its plans do not need and what is not taken away here: it "
                            + ", ".join(self.other))  # fmt: skip
        return warnings


def _printed(action: Action) -> dict[str, Any]:
    return {
        "step": 1,
        "operation": action.operation,
        "target": action.target,
        "outcome": action.verdict,
        "reason": action.reason,
        "changed": action.verdict in (DONE, PLANNED),
        "rows": None,
        "seconds": 0.0,
        "numbers": {},
        "statements": list(action.statements),
    }


def _lines(statements: list[str]) -> str:
    return "".join(f"{text}\n" for text in statements)


def check(options: dict[str, Any]) -> list[str]:
    """Faults of the options that need no database to be seen."""
    name, faults = options["name"], []
    if not name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        faults.append(f"name: must have 1 to {MAX_NAME_BYTES} bytes")
    if name.startswith("pg_") or name in ("public", "none"):
        faults.append(f"name: {name} is reserved by PostgreSQL")
    if options["password"] is not None and (not options["password"] or "\0" in options["password"]):
        faults.append("password: is empty or has a zero byte in it; leave it out to leave the password alone")
    if options["connection_limit"] is not None and options["connection_limit"] < -1:
        faults.append("connection_limit: must be -1 (no limit) or more")
    return faults


def wants(steps: Sequence[Step], history: bool) -> tuple[list[Need], list[str]]:
    """What steps need, and of which steps that cannot be said beforehand."""
    found: list[Need] = []
    faults = []
    for number, step in enumerate(steps, 1):
        if not step.names and not step.does.READ_ONLY:
            faults.append(f"steps[{number}].{step.operation}: name its objects; rights on all that there will ever be cannot "
                          "be given one by one: from PostgreSQL 17 on GRANT pg_maintain does it")  # fmt: skip
        found += step.needs
    if history:
        found += [Need(f"{HISTORY}.{table}", "history", "r") for table in tables(VERSION)]
    return found, faults


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


@dataclass(frozen=True)
class Wanted:
    """The options, and what the steps need."""

    options: dict[str, Any]
    needs: list[Need]


def read(parameters: Mapping[str, Any]) -> Wanted:
    """The options. Raises OptionError."""
    needs, faults = wants(parameters["steps"], parameters["history"])
    faults = check(dict(parameters)) + faults
    if faults:
        raise OptionError(faults)
    return Wanted({option: parameters[option] for option in SPEC.options}, needs)


def perform(
    connection: ConnectionOptions, wanted: Wanted, check: bool, progress: Callable[[str, int, float], None]
) -> dict[str, Any]:
    """Give the rights. Raises MaintenanceError."""
    with closing(open_session(connection, "vtchat.maintenance maintainer", read_only=check)) as session:
        result = provide(session, wanted.options, wanted.needs, check).as_dict(wanted.options["name"])
        return {**result, "check_mode": check, "server": session.server.summary(), "turns": session.round_trips}


def decide(facts: Facts, options: dict[str, Any]) -> list[Action]:
    """One action per object. As long as one right cannot be given, none is."""
    actions = [Action("maintainer", target, fault, FAILED) for target, fault in facts.faults]
    extras = facts.extras if options["exclusive"] else []
    targets = dict.fromkeys([right.target for right in facts.rights] + [extra.target for extra in extras])
    for target in targets:
        rights = [right for right in facts.rights if right.target == target]
        actions.append(
            _decide(facts.admin, target, rights, [extra for extra in extras if extra.target == target], options)
        )
    if not any(action.verdict == FAILED for action in actions):
        return actions
    return [_held_back(action) if action.verdict is None else action for action in actions]


def _decide(admin: str, target: str, rights: list[Right], extras: list[Extra], options: dict[str, Any]) -> Action:
    missing = [right for right in rights if not (right.direct if options["exclusive"] else right.had)]
    # What is taken away comes first: it can take what is given with it, as a REVOKE on a table does for its columns.
    statements = tuple([extra.revoke for extra in extras] + [right.statement for right in missing])
    faults = [_why_not(admin, right) for right in missing if right.fault or not right.may]
    faults += [
        f"{quote(admin)} may not do this: {extra.revoke}"
        + (f"; {quote(extra.grantor)} gave it" if extra.grantor else "")
        for extra in extras
        if not extra.may
    ]
    if faults:
        return Action("maintainer", target, "; ".join(faults), FAILED, statements=statements)
    if not statements:
        names = ", ".join(right.name for right in rights if right.name != EXISTS)
        return Action("maintainer", target, f"has {names}" if names else "exists", UNCHANGED)
    return Action("maintainer", target, "; ".join(_reasons(missing, extras)), None, statements=statements)


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
    return f"{quote(admin)} may not do this: {right.statement}; {right.giver} may"


def _held_back(action: Action) -> Action:
    return Action(action.operation, action.target, f"{action.reason}; not done, because of the failures", SKIPPED,
                  statements=action.statements)  # fmt: skip


def provide(session: Session, options: dict[str, Any], needed: Sequence[Need], check: bool) -> Provided:
    """Give the role its rights, all or none; with ``check``, say what would be done. Raises MaintenanceError."""
    if check:
        facts = _rights_facts.read(session, options, needed)
        return _provided(facts, options, PLANNED)
    for tries in range(1, TRIES + 1):
        try:
            return with_lock_retries(session, lambda: _transaction(session, options, needed), lambda: float("inf"))
        except SqlError as error:
            if error.sqlstate not in COLLISIONS or tries == TRIES:
                raise
    raise AssertionError("the last try returns or raises")


def _transaction(session: Session, options: dict[str, Any], needed: Sequence[Need]) -> Provided:
    try:
        session.execute(BEGIN, alone=True)
        facts = _rights_facts.read(session, options, needed)
        result = _provided(facts, options, DONE)
        if result.changed:
            execute(session, result.actions, options)
            # What cannot be read back cannot be verified either.
            readable = {**options, "password": options["password"] if facts.basis == VERIFIER else None}
            _verify(session, readable, needed)
        session.execute("COMMIT" if result.changed else "ROLLBACK", alone=True)
    except BaseException:
        if session.alive:
            session.execute("ROLLBACK", alone=True)
        raise
    return result


def execute(session: Session, actions: Sequence[Action], options: dict[str, Any]) -> None:
    """Run the statements, a verifier in the place of the stars."""
    statements = [text for action in actions if action.verdict == DONE for text in action.statements]
    alter = sql.SQL("ALTER ROLE {} PASSWORD {}")
    role = sql.Identifier(options["name"])
    hidden = session.text(alter.format(role, sql.SQL(STARS)))
    for text in statements:
        if text == hidden:
            iterations = session.row(ITERATIONS)["iterations"]
            session.execute(alter.format(role, sql.Literal(scram.verifier(options["password"], iterations))))
        else:
            session.execute(text)


def _verify(session: Session, options: dict[str, Any], needed: Sequence[Need]) -> None:
    """A GRANT by somebody who may not is only a warning: read again what is there now."""
    after = _rights_facts.read(session, options, needed)
    left = [action for action in decide(after, options) if action.verdict != UNCHANGED]
    if left:
        raise MaintenanceError("nothing was changed, because the server did not do all of it: "
                               + "; ".join(f"{action.target}: {action.reason}" for action in left))  # fmt: skip


def _provided(facts: Facts, options: dict[str, Any], status: str) -> Provided:
    """The outcome, on the assumption that what was decided is done."""
    actions = [
        Action(a.operation, a.target, a.reason, status if a.verdict is None else a.verdict, statements=a.statements)
        for a in decide(facts, options)
    ]
    strict = options["exclusive"]
    had = [right.statement for right in facts.rights if (right.direct if strict else right.had)]
    extra = [one.grant for one in facts.extras]
    before = sorted(had + extra)
    failed = any(action.verdict == FAILED for action in actions)
    after = before if failed else sorted([right.statement for right in facts.rights] + ([] if strict else extra))
    excess = [] if strict and not failed else facts.extras
    return Provided(actions, before, after, excess, facts.other, facts.owners, facts.basis)
