# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""Whether a materialized view can have other rows than at its last refresh, told from the catalog and from counters.

The fingerprint of a view is everything its rows are computed from: the definitions of the views it unfolds to, the
functions, types and collations in them, and for every stored relation underneath its form, its storage (TRUNCATE and
rewrites give a new one) and PostgreSQL's counters of rows inserted, updated and deleted. COPY counts as insert, a
rolled-back change counts too. After a restart, a crash or a reset of the statistics the counters mean nothing, so these
moments are part of the fingerprint, and so is what may have stopped the counting.

Equal fingerprints prove something only where nothing in the definition is an obstacle (covered.py), now and when the
fingerprint was stored, and when every other session has reported (_sessions.py). docs/decisions/0001 has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._postgres import catalog
from ..._postgres.names import parse_name, quote
from ..._postgres.session import Session
from ..._units import count, rows
from . import covered, fingerprint_sql
from .definition import Below, Facts, name_of
from .sessions import Look


@dataclass(frozen=True)
class View:
    """One name that a refresh was asked for, and what the catalog says about it.

    target        the name for people, and in the history
    fault         why nothing can be refreshed under this name; the rest means nothing then
    unique_index  whether REFRESH ... CONCURRENTLY could use one
    names         oid of every stored relation underneath -> its name for people
    fingerprint   JSON-ready, to be compared with ``difference``
    versions      changes whenever a catalog row behind the fingerprint is written, were it to the same value
    obstacle      why a fingerprint says nothing about this view, with a way out, "" if it does
    contents      storage and counters of the view itself: they tell whether somebody else has refreshed it
    missing       rights that its owner lacks, as GRANTs; missing_concurrently: only for a concurrent refresh
    paths         functions of users in it that may rely on the search_path: they have none of their own
    now           the server's clock when this was read, seconds since the epoch
    """

    target: str
    relation: catalog.Relation | None
    fault: str = ""
    populated: bool = False
    unique_index: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    versions: str = ""
    obstacle: str = ""
    contents: list[int] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    missing_concurrently: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    now: float = 0.0


def read(session: Session, names: Sequence[str]) -> tuple[list[View], Look]:
    """Everything about these views, and who else is here, in one turn. Locks nothing of the user's."""
    row = session.row(fingerprint_sql.statement(session.server, names))
    facts = Facts(row, _obstacle_of_server(session, row))
    views = [_view(session, facts, name, target) for name, target in zip(names, row["targets"])]
    return views, Look(row["sessions"], row["now"])


def _obstacle_of_server(session: Session, row: Mapping[str, Any]) -> str:
    """Why no view of this database can be proved unchanged."""
    server = session.server
    unknown = covered.version_obstacle(server.version_num)
    if unknown:
        return unknown
    if not server.track_counts or row["uncounted"]:
        return (
            "track_counts is off, here or in the settings of a role, a database or a function, so changes go uncounted: "
            "RESET track_counts there"
        )
    if session.shared:
        return "behind a transaction pooler it cannot be told who has changed something: connect to the server itself"
    if row["foreign_classes"]:
        return (
            "an operator class that a user made has operators or types of PostgreSQL in it, whose meaning it can change"
        )
    if row["fuzzy"]:
        return "gin_fuzzy_search_limit is set, which leaves out rows at random: RESET gin_fuzzy_search_limit"
    return ""


def _view(session: Session, facts: Facts, name: str, row: dict[str, Any]) -> View:
    if row["oid"] is None:
        return View(str(parse_name(name)), None, str(catalog.not_found(session, name, "m")))
    relation = catalog.relation(row)
    if relation.kind != "m":
        return View(relation.display, relation, str(catalog.wrong_kind(relation, "materialized view")))
    if not row["may_use_schema"]:
        return View(relation.display, relation, catalog.schema_fault(session.server, relation))
    if not relation.may_maintain:
        grant = catalog.maintain_grant(session.server, relation)
        return View(relation.display, relation, f"role {quote(session.server.user)} may not refresh it: {grant}")
    below = Below(facts, relation.oid)
    counters = facts.relations[relation.oid]["counters"]
    return View(
        target=relation.display,
        relation=relation,
        populated=row["populated"],
        unique_index=row["unique_index"],
        names={table["oid"]: name_of(table) for table in below.tables},
        fingerprint={"view": relation.oid, "database": session.server.database_oid, **below.fingerprint()},
        versions=below.versions(),
        obstacle=facts.obstacle or below.obstacle(),
        contents=[counters[0], counters[1], counters[3]],
        missing=tuple(below.missing(relation)),
        missing_concurrently=tuple(_missing_concurrently(session, row)),
        paths=tuple(below.paths()),
        now=facts.now,
    )


def _missing_concurrently(session: Session, row: Mapping[str, Any]) -> Iterable[str]:
    """REFRESH ... CONCURRENTLY names the view in a statement of the owner's and makes a temporary table as the owner."""
    owner = quote(row["owner"])
    if not row["owner_uses_schema"]:
        yield f"GRANT USAGE ON SCHEMA {quote(row['schema_name'])} TO {owner}"
    if not row["owner_makes_temporary"]:
        yield f"GRANT TEMPORARY ON DATABASE {quote(session.server.database)} TO {owner}"


def difference(stored: Mapping[str, Any], present: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """What has changed between two fingerprints of a view, the most telling thing only; "" if nothing has."""
    if any(stored.get(key) != present[key] for key in ("view", "database")):
        return "it has been created anew since the last refresh"
    reason = _why_not_counted(stored.get("since") or {}, present["since"])
    if reason:
        return reason
    before = {entry[0]: entry[1:] for entry in stored.get("relations", [])}
    after = {entry[0]: entry[1:] for entry in present["relations"]}
    if before.keys() != after.keys():
        new = sorted(names[oid] for oid in after.keys() - before.keys())
        gone = len(before.keys() - after.keys())
        return (
            f"it reads {', '.join(new)} since the last refresh"
            if new
            else f"it no longer reads {gone} of the tables it read"
        )
    if stored.get("definition") != present["definition"]:
        return "its definition has changed since the last refresh, or that of something it uses"
    changed = [oid for oid in after if before[oid] != after[oid]]
    if not changed:
        return ""
    more = f", and so have {len(changed) - 1} more" if len(changed) > 1 else ""
    oid = changed[0]
    return f"{names[oid]} has {_change(before[oid], after[oid])} since the last refresh{more}"


def _why_not_counted(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Why the counters of then and now cannot be compared, "" if they can."""
    if before.get("began") != after["began"]:
        return "the server's statistics began anew after the last refresh (restart, crash or reset)"
    if before.get("loaded") != after["loaded"]:
        return "the server's configuration was loaded anew after the last refresh, and track_counts may have been off"
    ours_before, total_before, inserted_before, deleted_before = before.get("settings") or ("", 0, 0, 0)
    ours, total, inserted, deleted = after["settings"]
    # A setting that came and went leaves a row inserted and a row deleted, or one of the two where the other was not counted
    # because of it. Settings of other databases come and go too, seldom both at once.
    came, went = inserted - inserted_before, deleted - deleted_before
    if ours_before != ours or (came and went) or total - total_before != came - went:
        return "settings of a role or database have changed since the last refresh, and track_counts may have been off"
    return ""


def _change(before: list[Any], after: list[Any]) -> str:
    """Both are form, storage, rows inserted, updated, deleted."""
    if before[1] != after[1]:
        return "been truncated or rewritten"
    numbers = zip(before[2:], after[2:], ("inserted", "updated", "deleted"))
    changes = [(new - old, word) for old, new, word in numbers if new != old]
    if not changes:
        return "got other columns or properties"
    (first, word), *others = changes
    more = "".join(f", {count(number)} {word}" for number, word in others)
    return f"changed ({rows(first)} {word}{more})"
