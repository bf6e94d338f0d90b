# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""What the definition of a materialized view is made of, and whether all of it is covered (covered.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from ..._postgres import catalog
from ..._postgres.names import display, quote
from . import covered


def name_of(relation: Mapping[str, Any]) -> str:
    return display(relation["schema"], relation["name"])


class Facts:
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
        self.trees = {relid: Tree(relid, hash_) for relid, hash_ in row["trees"] or []}
        for label, name, value, trees in row["pieces"] or []:
            for relid, times in trees:
                self.trees[relid].add(label, name, value, times)
        for relid, *conversion in row["conversions"] or []:
            self.trees[relid].conversions.append(conversion)
        self.edges: dict[int, list[tuple[int, str, bool]]] = {}
        for parent, child, how, readable in row["edges"] or []:
            self.edges.setdefault(parent, []).append((child, how, readable))


class Tree:
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
        return {oid for oid in found if oid >= covered.FIRST_USER_OID}

    @cached_property
    def collations(self) -> set[int]:
        return self._numbers(*(name for name in self.fields if "coll" in name.lower()))

    def functions(self, operators: Mapping[int, int]) -> set[int]:
        """All that it calls; 0 for an operator that does not exist."""
        used = self._numbers(*covered.OPERATOR_FIELDS)
        return self._numbers(*covered.FUNCTION_FIELDS) | {operators.get(oid, 0) for oid in used}

    def steady_conversions(self, types: Mapping[int, Mapping[str, Any]]) -> bool:
        """Whether no setting changes what its conversions through text give."""
        total = self.labels.get("COERCEVIAIO", 0)
        for place in (0, 1):
            known = [entry for entry in self.conversions if entry[place] is not None]
            steady = all(
                entry[place] in covered.STEADY_TYPES or types.get(entry[place], {}).get("enum", False)
                for entry in known
            )
            if not steady or sum(entry[2] for entry in known) != total:
                return False
        return True

    def obstacle(self, facts: Facts) -> str:
        """What in it may change by itself, as the end of a sentence; "" if nothing may."""
        for function in sorted(self.functions(facts.operators)):
            known = facts.functions.get(function)
            if not covered.covered(function, known):
                name = f"{quote(known['name'])}()" if known else f"function {function}"
                return f"calls {name}, whose result can change by itself{_why(function)}"
        for node in sorted(self.labels.keys() - covered.NODES):
            return covered.NODE_REASONS.get(node, f"has an expression of kind {node}, which may change by itself")
        unknown = covered.unknown_form(self.labels, {name: sum(v.values()) for name, v in self.fields.items()})
        if unknown:
            return f"has an expression of kind {unknown} in a form that is not known"
        if not self.steady_conversions(facts.types):
            return "converts to or from text in a way that settings can change"
        if any(number < 0 and number != covered.TABLEOID for number in self._numbers("varattno")):
            return "reads a system column, which changes without being counted"
        return ""


def _why(function: int) -> str:
    return " (it was made by a user)" if function >= covered.FIRST_USER_OID else ""


class Below:
    """All that one materialized view reads."""

    def __init__(self, facts: Facts, root: int) -> None:
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
    def trees(self) -> list[Tree]:
        """Stored queries and virtual columns that make up the definition."""
        oids = [oid for oid in sorted(self.members | {self.root}) if self._unfolds(oid)]
        return [self.facts.trees[oid] for oid in oids if oid in self.facts.trees]

    @cached_property
    def tables(self) -> list[dict[str, Any]]:
        """Everything below that is stored: neither views nor composite types, whose form is among the types."""
        found = [self.facts.relations[oid] for oid in sorted(self.members)]
        return [entry for entry in found if entry["kind"] not in "vc" or entry["oid"] < covered.FIRST_USER_OID]

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
        if found:
            return f"its definition {found}: {covered.COPY}"
        found = (
            next((reason for tree in self.trees if (reason := tree.obstacle(self.facts))), "") or self._type_obstacle()
        )
        return f"its definition {found}: {covered.LATER}" if found else ""

    def _catalog_obstacle(self) -> str:
        unknown = sorted({oid for tree in self.trees for oid in tree.reads} - self.members - {self.root})
        if not unknown:
            return ""
        return (
            f"reads the system catalog {self.facts.catalogs.get(unknown[0], unknown[0])}, whose changes are not tracked"
        )

    def _relation_obstacle(self, table: Mapping[str, Any]) -> str:
        name, kind = name_of(table), table["kind"]
        if table["oid"] < covered.FIRST_USER_OID:
            return f"reads the system catalog {name}, whose changes are not tracked"
        if kind in covered.RELATION_KINDS:
            return covered.RELATION_KINDS[kind].format(name)
        if table["row_security"]:
            return f"reads {name}, which has row-level security, and what its policies let through is not tracked"
        if kind not in "rpm" or (kind != "p" and not table["heap"]):
            return f"reads {name}, which is stored in another way than PostgreSQL's own, and its changes may not be counted"
        return ""

    def _type_obstacle(self) -> str:
        own = [entry["name"] for entry in self.types if entry["own"]]
        labels = {label for tree in self.trees for label in tree.labels}
        functions = {oid for tree in self.trees for oid in tree.functions(self.facts.operators)}
        if own and (labels & covered.BY_TYPE_NODES or functions & covered.BY_TYPE):
            return f"compares values of the type {own[0]}, which a user made, by functions of that type"
        return ""

    def missing(self, view: catalog.Relation) -> Iterable[str]:
        """A query runs with the rights of the owner of the view in which a table is named, functions with our view's."""
        for parent, child, _how, readable in self.edges:
            if not readable and self.facts.relations[child]["kind"] != "c":
                owner = quote(self.facts.relations[parent]["owner"])
                yield f"GRANT SELECT ON TABLE {name_of(self.facts.relations[child])} TO {owner}"
        for function in self.functions:
            if view.owner in (function["barred"] or []):
                yield f"GRANT EXECUTE ON FUNCTION {function['call']} TO {quote(view.owner)}"

    def paths(self) -> Iterable[str]:
        """Which functions might rely on the search_path: written by users, and without one of their own."""
        for function in self.functions:
            if function["oid"] >= covered.FIRST_USER_OID and not function["keeps_path"]:
                yield function["call"]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
