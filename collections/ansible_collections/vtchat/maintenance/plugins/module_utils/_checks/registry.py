# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""All checks, and how they are asked: in one statement, which reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .._errors import Contended, SqlError
from .._postgres.driver import sql
from .._postgres.session import Session
from .._result import Finding
from . import Asked, Check, indexes, maintenance, replication, server, sessions, storage, tables, vacuum, wraparound
from .judge import Judge

CHECKS: tuple[Check, ...] = (
    *wraparound.CHECKS,
    *server.CHECKS,
    *sessions.CHECKS,
    *replication.CHECKS,
    *vacuum.CHECKS,
    *tables.CHECKS,
    *indexes.CHECKS,
    *storage.CHECKS,
    *maintenance.CHECKS,
)
BY_ID = {check.id: check for check in CHECKS}

# Seconds for all queries together, and for each by itself where that fails.
TOGETHER = 20.0
ALONE = 5.0

WAITS = "SELECT {target}::text AS target, {waiting}::bigint AS waiting, {hidden}::text AS hidden"


@dataclass
class Answers:
    """What the server has said. rows: by check. failed: why there are none. now: its clock."""

    rows: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def ask(
    session: Session,
    checks: Sequence[Check],
    asked: Asked,
    reading: Sequence[str],
    seconds_left: Callable[[], float],
) -> Answers:
    """The rows of all checks: in one round trip, or in one for each of them where that fails. reading: operations that only read.

    Raises SqlError when the connection is lost.
    """
    reachable = [
        check for check in checks if not _out_of_reach(check, asked) and asked.server.version_num >= check.since
    ]
    wanted = dict.fromkeys(check.of or check.id for check in reachable)
    queries = {name: _query(BY_ID[name], asked) for name in wanted}
    answers = Answers()
    try:
        _read(session, queries, reading, answers)
    except (SqlError, Contended):
        for name, query in queries.items():
            _read_alone(session, {name: query}, reading, answers, seconds_left())
        for name in [name for name in answers.failed if BY_ID[name].query is maintenance.left_query and asked.waiting]:
            del answers.failed[name]
            each = replace(asked, waiting=_each(session, asked, seconds_left))
            _read_alone(session, {name: _query(BY_ID[name], each)}, reading, answers, seconds_left())
    return answers


def _each(session: Session, asked: Asked, seconds_left: Callable[[], float]) -> tuple[tuple[str, str], ...]:
    """What waits in each table, asked by itself: one that cannot be counted hides no other.

    Raises SqlError when the connection is lost.
    """
    told = []
    for table, select in asked.waiting:
        found: Mapping[str, Any] = {}
        try:
            session.set(statement_timeout=max(0.001, min(ALONE, seconds_left())))
            found = session.row(select)
        except (SqlError, Contended) as error:
            if not session.alive:
                raise
            found = {"waiting": None, "hidden": f"they cannot be counted: {error}"}
        values = {name: sql.Literal(found[name]) for name in ("waiting", "hidden")}
        told.append((table, session.text(sql.SQL(WAITS).format(target=sql.Literal(table), **values))))
    return tuple(told)


def judged(checks: Sequence[Check], asked: Asked, answers: Answers, judge: Judge) -> list[Finding]:
    """What the checks make of the answers."""
    told: list[Finding] = []
    for check in checks:
        if asked.server.version_num < check.since:
            told += judge.absent(check)
            continue
        why = _out_of_reach(check, asked) or answers.failed.get(check.of or check.id, "")
        if why:
            told += judge.unknown(check, why)
            continue
        try:
            told += judge.findings(check, check.samples(answers.rows[check.of or check.id], asked))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Numbers and moments that no calendar knows, written by whoever may: the other checks are told all the same.
            told += judge.unknown(check, f"what was found cannot be reckoned with ({type(error).__name__}: {error})")
    return told


def _out_of_reach(check: Check, asked: Asked) -> str:
    return asked.history if check.history and not (check.query is maintenance.left_query and asked.waiting) else ""


def _query(check: Check, asked: Asked) -> str:
    return check.query if isinstance(check.query, str) else check.query(asked)


def _read(session: Session, queries: Mapping[str, str], reading: Sequence[str], answers: Answers) -> None:
    """Raises SqlError, Contended."""
    one = "(SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM ({}) AS x) AS \"{}\""
    columns = ", ".join(["clock_timestamp() AS now", *(one.format(query, name) for name, query in queries.items())])
    row = session.row(f"SELECT {columns}", {"reading": list(reading)})
    answers.now = row.pop("now")
    answers.rows.update(row)


def _read_alone(
    session: Session, query: Mapping[str, str], reading: Sequence[str], answers: Answers, seconds_left: float
) -> None:
    """One query. Raises SqlError when the connection is lost."""
    try:
        session.set(statement_timeout=max(0.001, min(ALONE, seconds_left)))
        _read(session, query, reading, answers)
    except (SqlError, Contended) as error:
        if not session.alive:
            raise
        answers.failed.update(dict.fromkeys(query, str(error)))
