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

Equal fingerprints prove something only where nothing in the definition is an obstacle (_covered.py), now and when the
fingerprint was stored, and when every other session has reported (_sessions.py). docs/decisions/0001 has the reasons.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import _catalog, _covered, _fingerprint_sql
from ._session import Session
from ._sessions import Look
from ._sql import display, parse_name, quote
from ._units import count, rows


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
    relation: _catalog.Relation | None
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
    row = session.row(_fingerprint_sql.statement(session.server, names))
    facts = _Facts(row, _obstacle_of_server(session, row))
    views = [_view(session, facts, name, target) for name, target in zip(names, row["targets"])]
    return views, Look(row["sessions"], row["now"])


def _obstacle_of_server(session: Session, row: Mapping[str, Any]) -> str:
    """Why no view of this database can be proved unchanged."""
    server = session.server
    unknown = _covered.version_obstacle(server.version_num)
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


def _view(session: Session, facts: _Facts, name: str, row: dict[str, Any]) -> View:
    if row["oid"] is None:
        return View(str(parse_name(name)), None, str(_catalog.not_found(session, name, "m")))
    relation = _catalog.relation(row)
    if relation.kind != "m":
        return View(relation.display, relation, str(_catalog.wrong_kind(relation, "materialized view")))
    if not row["may_use_schema"]:
        return View(relation.display, relation, _catalog.schema_fault(session.server, relation))
    if not relation.may_maintain:
        grant = _catalog.maintain_grant(session.server, relation)
        return View(relation.display, relation, f"role {quote(session.server.user)} may not refresh it: {grant}")
    below = _Below(facts, relation.oid)
    counters = facts.relations[relation.oid]["counters"]
    return View(
        target=relation.display,
        relation=relation,
        populated=row["populated"],
        unique_index=row["unique_index"],
        names={table["oid"]: _name(table) for table in below.tables},
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


def _name(relation: Mapping[str, Any]) -> str:
    return display(relation["schema"], relation["name"])


class _Facts:
    """The row of the statement, by object."""

    def __init__(self, row: Mapping[str, Any], obstacle: str) -> None:
        self.obstacle, self.now = obstacle, row["now"]
        self.since, self.locale = row["since"], row["locale"]
        self.relations: dict[int, dict[str, Any]] = {entry["oid"]: entry for entry in row["relations"] or []}
        self.functions: dict[int, dict[str, Any]] = {entry["oid"]: entry for entry in row["functions"] or []}
        self.types: dict[int, dict[str, Any]] = {entry["oid"]: entry for entry in row["types"] or []}
        self.operators: dict[int, int] = dict(row["operators"] or [])
        self.collations: dict[int, str] = dict(row["collations"] or [])
        self.catalogs = {oid: display(schema, name) for oid, schema, name in row["catalogs"] or []}
        self.trees = {relid: _Tree(relid, hash_) for relid, hash_ in row["trees"] or []}
        for label, name, value, trees in row["pieces"] or []:
            for relid, times in trees:
                self.trees[relid].add(label, name, value, times)
        for relid, *conversion in row["conversions"] or []:
            self.trees[relid].conversions.append(conversion)
        self.edges: dict[int, list[tuple[int, str, bool]]] = {}
        for parent, child, how, readable in row["edges"] or []:
            self.edges.setdefault(parent, []).append((child, how, readable))


class _Tree:
    """What is in the stored query of a view, or in the expressions of a table's virtual columns."""

    def __init__(self, relid: int, hash_: str) -> None:
        self.relid, self.hash = relid, hash_
        self.labels: dict[str, int] = {}
        self.fields: dict[str, dict[str, int]] = {}
        self.conversions: list[list[Any]] = []

    def add(self, label: str | None, name: str | None, value: str, times: int) -> None:
        """A piece of it, which may be two things, and how often it occurs."""
        if label:
            self.labels[label] = self.labels.get(label, 0) + times
        if name:
            values = self.fields.setdefault(name, {})
            values[value] = values.get(value, 0) + times

    def _numbers(self, *names: str) -> set[int]:
        """All numbers in fields of these names but 0, which means nothing."""
        texts = [text for name in names for text in self.fields.get(name, {})]
        return {int(word) for text in texts for word in text.strip("(o )").split()} - {0}

    @cached_property
    def reads(self) -> set[int]:
        return self._numbers("relid")

    @cached_property
    def types(self) -> set[int]:
        found = self._numbers(*(name for name in self.fields if "type" in name.lower()))
        return {oid for oid in found if oid >= _covered.FIRST_USER_OID}

    @cached_property
    def collations(self) -> set[int]:
        return self._numbers(*(name for name in self.fields if "coll" in name.lower()))

    def functions(self, operators: Mapping[int, int]) -> set[int]:
        """All that it calls; 0 for an operator that does not exist."""
        used = self._numbers(*_covered.OPERATOR_FIELDS)
        return self._numbers(*_covered.FUNCTION_FIELDS) | {operators.get(oid, 0) for oid in used}

    def steady_conversions(self, types: Mapping[int, Mapping[str, Any]]) -> bool:
        """Whether no setting changes what its conversions through text give."""
        total = self.labels.get("COERCEVIAIO", 0)
        for place in (0, 1):
            known = [entry for entry in self.conversions if entry[place] is not None]
            steady = all(
                entry[place] in _covered.STEADY_TYPES or types.get(entry[place], {}).get("enum", False)
                for entry in known
            )
            if not steady or sum(entry[2] for entry in known) != total:
                return False
        return True

    def obstacle(self, facts: _Facts) -> str:
        """What in it may change by itself, as the end of a sentence; "" if nothing may."""
        for function in sorted(self.functions(facts.operators)):
            known = facts.functions.get(function)
            if not _covered.covered(function, known):
                name = f"{quote(known['name'])}()" if known else f"function {function}"
                return f"calls {name}, whose result can change by itself{_why(function)}"
        for node in sorted(self.labels.keys() - _covered.NODES):
            return _covered.NODE_REASONS.get(node, f"has an expression of kind {node}, which may change by itself")
        unknown = _covered.unknown_form(self.labels, {name: sum(v.values()) for name, v in self.fields.items()})
        if unknown:
            return f"has an expression of kind {unknown} in a form that is not known"
        if not self.steady_conversions(facts.types):
            return "converts to or from text in a way that settings can change: use to_char() of a timestamp, or a cast"
        if any(number < 0 and number != _covered.TABLEOID for number in self._numbers("varattno")):
            return "reads a system column, which changes without being counted"
        return ""


def _why(function: int) -> str:
    return " (it was made by a user)" if function >= _covered.FIRST_USER_OID else ""


class _Below:
    """All that one materialized view reads."""

    def __init__(self, facts: _Facts, root: int) -> None:
        self.facts, self.root = facts, root
        self.edges: list[tuple[int, int, str, bool]] = []
        self.members: set[int] = set()
        pending = [root]
        while pending:
            parent = pending.pop()
            for child, how, readable in facts.edges.get(parent, []) if self._unfolds(parent) else []:
                self.edges.append((parent, child, how, readable))
                if child not in self.members and child != root:
                    self.members.add(child)
                    pending.append(child)
        self.edges.sort()

    def _unfolds(self, oid: int) -> bool:
        """A materialized view below counts as a table, though it may be asked for itself."""
        return oid == self.root or self.facts.relations[oid]["kind"] != "m"

    @cached_property
    def trees(self) -> list[_Tree]:
        """Stored queries and virtual columns that make up the definition."""
        oids = [oid for oid in sorted(self.members | {self.root}) if self._unfolds(oid)]
        return [self.facts.trees[oid] for oid in oids if oid in self.facts.trees]

    @cached_property
    def tables(self) -> list[dict[str, Any]]:
        """Everything below that is stored: neither views nor composite types, whose form is among the types."""
        found = [self.facts.relations[oid] for oid in sorted(self.members)]
        return [entry for entry in found if entry["kind"] not in "vc" or entry["oid"] < _covered.FIRST_USER_OID]

    @cached_property
    def types(self) -> list[dict[str, Any]]:
        """Types of users in the definition, and what these are made of."""
        found: set[int] = set()
        pending = {oid for tree in self.trees for oid in tree.types}
        while pending:
            found |= pending
            pending = {part for oid in pending for part in self.facts.types[oid]["parts"] or []} - found
        return [self.facts.types[oid] for oid in sorted(found)]

    @cached_property
    def functions(self) -> list[dict[str, Any]]:
        oids = sorted({oid for tree in self.trees for oid in tree.functions(self.facts.operators)})
        return [self.facts.functions[oid] for oid in oids if oid in self.facts.functions]

    def fingerprint(self) -> dict[str, Any]:
        definition = [
            [[tree.relid, tree.hash] for tree in self.trees],
            [edge[:3] for edge in self.edges],
            [[function["oid"], function["version"]] for function in self.functions],
            [[type_["oid"], type_["form"]] for type_ in self.types],
            [[oid, self.facts.collations.get(oid)] for oid in sorted({c for t in self.trees for c in t.collations})],
            self.facts.locale,
        ]
        return {
            "definition": _digest(definition),
            "since": self.facts.since,
            "relations": [[table["oid"], table["form"], *table["counters"]] for table in self.tables],
        }

    def versions(self) -> str:
        """Without the view itself: a refresh writes its row."""
        versions = [self.facts.relations[oid]["version"] for oid in sorted(self.members)]
        return _digest([self.fingerprint()["definition"], versions])

    def obstacle(self) -> str:
        """Why no fingerprint can tell that the view is unchanged; "" if one can."""
        found = self._catalog_obstacle() or next(filter(None, map(self._relation_obstacle, self.tables)), "")
        found = found or next((reason for tree in self.trees if (reason := tree.obstacle(self.facts))), "")
        found = found or self._type_obstacle()
        return f"its definition {found}" if found else ""

    def _catalog_obstacle(self) -> str:
        unknown = sorted({oid for tree in self.trees for oid in tree.reads} - self.members - {self.root})
        if not unknown:
            return ""
        return (
            f"reads the system catalog {self.facts.catalogs.get(unknown[0], unknown[0])}, whose changes are not tracked"
        )

    def _relation_obstacle(self, table: Mapping[str, Any]) -> str:
        name, kind = _name(table), table["kind"]
        if table["oid"] < _covered.FIRST_USER_OID:
            return f"reads the system catalog {name}, whose changes are not tracked"
        if kind in _covered.RELATION_KINDS:
            return _covered.RELATION_KINDS[kind].format(name)
        if table["row_security"]:
            return f"reads {name}, which has row-level security: what its policies let through is not tracked"
        if kind not in "rpm" or (kind != "p" and not table["heap"]):
            return f"reads {name}, which is stored in another way than PostgreSQL's own: its changes may not be counted"
        return ""

    def _type_obstacle(self) -> str:
        own = [entry["name"] for entry in self.types if entry["own"]]
        labels = {label for tree in self.trees for label in tree.labels}
        functions = {oid for tree in self.trees for oid in tree.functions(self.facts.operators)}
        if own and (labels & _covered.BY_TYPE_NODES or functions & _covered.BY_TYPE):
            return f"compares values of the type {own[0]}, which a user made, by functions of that type"
        return ""

    def missing(self, view: _catalog.Relation) -> Iterable[str]:
        """A query runs with the rights of the owner of the view in which a table is named, functions with our view's."""
        for parent, child, _how, readable in self.edges:
            if not readable:
                owner = quote(self.facts.relations[parent]["owner"])
                yield f"GRANT SELECT ON TABLE {_name(self.facts.relations[child])} TO {owner}"
        for function in self.functions:
            if view.owner in (function["barred"] or []):
                yield f"GRANT EXECUTE ON FUNCTION {function['call']} TO {quote(view.owner)}"

    def paths(self) -> Iterable[str]:
        """Which functions might rely on the search_path: written by users, and without one of their own."""
        for function in self.functions:
            if function["oid"] >= _covered.FIRST_USER_OID and not function["keeps_path"]:
                yield function["call"]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


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
