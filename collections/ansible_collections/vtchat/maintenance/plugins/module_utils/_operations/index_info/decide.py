# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is found: one finding for each index, of the first class that it is of; and the scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

from ..._checks.review.foreign import Missing
from ..._checks.review.model import BTREE, Index
from ..._checks.review.unused import HIGH, LOW, has_other_uses
from ..._postgres.bloat import Bloat
from ..._postgres.capabilities import SKIP_SCAN
from ..._postgres.index_definition import is_working_name
from ..._postgres.names import quote
from ..._result import INFO, UNCHANGED, UNKNOWN, WARNING, Finding
from ..._units import count, duration, size
from .. import Context, Decision, Verdict
from ..reindex.measure import told
from .facts import Facts
from .options import Options
from .scripts import analyzed, drop, script, undo

INVALID, DUPLICATE, REDUNDANT, UNUSED = "invalid-index", "duplicate-index", "redundant-index", "unused-index"
MISSING, BLOATED, NULLS, SKIP = "foreign-key-without-index", "bloated-index", "mostly-null-index", "skip-scan-index"


@dataclass(frozen=True)
class Class:
    """What a class is called, how its members are counted, and why it matters."""

    title: str
    counted: str
    meaning: str


CLASSES = {
    INVALID: Class("Indexes that are not valid", "not valid", "Each write pays for it, and no query can use it."),
    DUPLICATE: Class("Indexes that are there twice", "duplicate", "Each write pays twice for what is used once."),
    REDUNDANT: Class(
        "Indexes that another one includes", "redundant", "Each write pays for what the longer one does as well."
    ),
    UNUSED: Class("Indexes that nobody uses", "unused", "Each write, each VACUUM and each backup pays for it."),
    MISSING: Class(
        "Foreign keys without an index", "missing", "Whoever deletes a row reads the whole table that may refer to it."
    ),
    BLOATED: Class("Bloated indexes", "bloated", "It takes more memory and more reading than it needs."),
    NULLS: Class(
        "Indexes that are mostly NULL",
        "mostly NULL",
        "An index of the values alone is smaller, and most writes need not touch it.",
    ),
    SKIP: Class("Indexes that a skip scan may replace", "for a skip scan", "Each write pays for it."),
}
GROUP = "indexes"
MEDIUM = "medium"

# Below that it is told and no warning: what nobody would notice.
LOUD = 1 << 20
# Of the table of a foreign key: pgx_scripts asks for 9 MB, and so many would be read for each row that is deleted.
LARGE_TABLE = 10 << 20
# The share of NULL from which on ruby-pg-extras speaks of an index.
MOSTLY = 0.5
# A skip scan looks once for each value of the first column.
FEW_VALUES = 100.0
MOST_FINDINGS = 100  # of one class, the largest first


def decide(facts: Facts, options: Options, context: Context) -> list[Decision[None] | Finding]:
    """What is worth knowing, and what it comes to."""
    return _Review(facts, options).decide(context)


@dataclass
class _Found:
    """A finding of an index. bytes: by which it is sorted; drops: the statements of the script, if it is dropped there."""

    finding: Finding
    bytes: int
    oid: int = 0
    drops: Sequence[str] = ()


class _Review:
    def __init__(self, facts: Facts, options: Options) -> None:
        self.facts, self.options = facts, options
        self.told: set[int] = set()
        self.found: dict[str, list[_Found]] = {name: [] for name in CLASSES}
        self.blind: list[Finding] = []

    def decide(self, context: Context) -> list[Decision[None] | Finding]:
        for look in (
            self._invalid,
            self._superfluous,
            self._constraints,
            self._unused,
            self._bloated,
            self._nulls,
            self._skip,
        ):
            look()
        self._missing()
        if self.options.drop:
            self._write(context)
        return [*self._findings(), self._verdict()]

    def _findings(self) -> Iterator[Finding]:
        for name, kind in CLASSES.items():
            found = sorted(self.found[name], key=lambda one: (-one.bytes, one.finding.subject))
            yield from (replace(one.finding, group=GROUP, meaning=kind.meaning) for one in found[:MOST_FINDINGS])
            if len(found) > MOST_FINDINGS:
                worst = WARNING if any(one.finding.level == WARNING for one in found[MOST_FINDINGS:]) else INFO
                yield Finding(name, f"{count(len(found) - MOST_FINDINGS)} more", worst, "likewise", group=GROUP)
            blind = [one for one in self.blind if one.check == name]
            yield from blind
            if not found and not blind:
                yield Finding(name, self.facts.database, INFO, f"{kind.title}: none", group=GROUP, keep=False)

    def _verdict(self) -> Verdict:
        """What it comes to, in one line."""
        chosen = [index for index in self.facts.indexes if index.table in self.facts.asked and not index.partitioned]
        counted = [f"{count(len(found))} {CLASSES[name].counted}" for name, found in self.found.items() if found]
        saved = sum(one.bytes for one in self._dropped())
        reason = ", ".join(counted) or "all is well"
        reason += f"; {size(saved)} in what can be dropped" if saved else ""
        quiet = any(one.finding.level == INFO for found in self.found.values() for one in found)
        reason += " (-v tells of what is small as well)" if quiet else ""
        numbers = {"bytes_to_drop": saved, **{name: len(found) for name, found in self.found.items()}}
        return Verdict(f"{count(len(chosen))} indexes", reason, UNCHANGED, numbers)

    # --- classes

    def _invalid(self) -> None:
        for index in self._chosen():
            if index.usable or index.table in self.facts.working:
                continue
            left = self.facts.leftover_of(index)
            if left is not None:
                said = f"an interrupted rebuild of {left.target} has left it: it costs writes and serves nobody"
                self._tell(INVALID, index, said, f"{index.drop}, or the step reindex", drops=True)
            elif is_working_name(index.name, index.table_name):
                said = "an interrupted step index has left it, and goes on with it next time"
                self._tell(INVALID, index, said, f"the step index, or {index.drop}")
            elif index.partitioned:
                said = "it is not valid: some partitions have no part of it"
                self._tell(INVALID, index, said, f"the step index builds what is missing; or {index.drop}")
            else:
                said = "it is not valid: it costs writes and serves nobody" + (
                    ", and enforces nothing" if index.unique else ""
                )
                self._tell(INVALID, index, said, f"REINDEX INDEX CONCURRENTLY {index.target}, or {index.drop}")

    def _superfluous(self) -> None:
        for one in self.facts.superfluous:
            if not self._meant(one.index):
                continue
            name = DUPLICATE if one.duplicate else REDUNDANT
            what = "has the same columns" if one.duplicate else "begins with its columns"
            said = f"{one.by.target} {what} and does all that it does"
            sure = HIGH if one.duplicate else MEDIUM
            self._tell(name, one.index, said, one.index.drop, drops=True,
                       more={"confidence": sure, "covered_by": one.by.target})  # fmt: skip

    def _constraints(self) -> None:
        for one in self.facts.constraints:
            if self._meant(one.index):
                said = f"the constraint {quote(one.index.constraint)} forbids what {quote(one.by.constraint)} forbids as well"
                advice = f"ALTER TABLE {one.index.table_target} DROP CONSTRAINT {quote(one.index.constraint)}"
                self._tell(DUPLICATE, one.index, said, advice, more={"confidence": HIGH, "covered_by": one.by.target})

    def _unused(self) -> None:
        facts, after = self.facts, self.options.unused_after
        if facts.blind:
            self._blind(UNKNOWN, facts.blind, "give all standbys, and only those, in replicas")
            return
        if after > 0 and (facts.began is None or facts.now - facts.began < after):
            age = "of unknown age" if facts.began is None else f"{duration(facts.now - facts.began)} old"
            # Nobody can do anything about that but wait.
            self._blind(INFO, f"the counters are {age}, and an index is called unused after {duration(after)}", "")
        for index in facts.unused(after):
            if not self._meant(index):
                continue
            last, sure = facts.last(index), facts.is_old(index)
            said = f"last used {_day(last)}" if last is not None else f"never used since {_day(facts.began)}"
            if not sure:
                said += "; but nobody knows whether it is that old (there is no run in the history that is)"
            self._tell(UNUSED, index, said, index.drop, drops=sure, quiet=not sure,
                       more={"confidence": HIGH if sure else LOW})  # fmt: skip

    def _bloated(self) -> None:
        known = {index.oid: index for index in self.facts.indexes}
        for one in self.facts.bloated:
            index = known.get(one.index.oid)
            if index is not None and self._meant(index) and one.bloat is not None:
                said = f"{told(one.bloat)}: {size(one.bloat.gain)} more than it needs"
                advice = f"REINDEX INDEX CONCURRENTLY {index.target}, or the step reindex"
                self._tell(BLOATED, index, said, advice, saves=one.bloat.gain, more=_bloat(one.bloat))

    def _nulls(self) -> None:
        for index in self._plain():
            nulls, _distinct = self.facts.leading.get((index.table, index.columns[0].what), (0.0, 0.0))
            if len(index.columns) == 1 and not index.predicate and nulls >= MOSTLY:
                name = quote(index.columns[0].name)
                said = f"{nulls * 100:.0f} % of {name} are NULL, which few look for: a partial index would do"
                advice = f"CREATE INDEX CONCURRENTLY … WHERE {name} IS NOT NULL, then {index.drop}"
                saves = round((index.bytes or 0) * nulls)
                more = {"confidence": MEDIUM, "null_share": round(nulls, 3)}
                self._tell(NULLS, index, said, advice, saves=saves, quiet=saves < LARGE_TABLE, more=more)

    def _skip(self) -> None:
        """A hint: whether the server would do it depends on the queries."""
        if self.facts.version_num < SKIP_SCAN.since:
            return
        second = {}
        for index in self.facts.indexes:
            if index.method == BTREE and index.usable and len(index.columns) > 1 and self._few(index):
                second[index.table, index.columns[1].what, index.predicate] = index
        for index in list(self._plain()):
            by = second.get((index.table, index.columns[0].what, index.predicate)) if len(index.columns) == 1 else None
            if by is not None and by.columns[1].serves(index.columns[0]) and not index.included:
                said = f"{by.target} has it as its second column, after one of few values: a skip scan may do (PostgreSQL 18)"
                advice = "compare the plans of its queries without it, in a copy of the database"
                self._tell(SKIP, index, said, advice, quiet=True, more={"confidence": LOW, "covered_by": by.target})

    def _few(self, index: Index) -> bool:
        """Whether its first column has few values, by the statistics. A share of the rows, which is negative, is not few."""
        return 0 < self.facts.leading.get((index.table, index.columns[0].what), (0.0, 0.0))[1] <= FEW_VALUES

    def _missing(self) -> None:
        for one in self.facts.missing:
            level = WARNING if one.bytes >= LARGE_TABLE and one.partly is None else INFO
            advice = f"{one.create}, or the step index"
            finding = Finding(
                MISSING, one.key.target, level, _lacks(one), one.bytes, LARGE_TABLE, _evidence(one), advice
            )
            self.found[MISSING].append(_Found(finding, one.bytes))

    # --- how they are told

    def _chosen(self) -> Iterator[Index]:
        yield from (index for index in self.facts.indexes if self._meant(index))

    def _plain(self) -> Iterator[Index]:
        """B-trees that only find rows, for hints."""
        for index in self._chosen():
            if index.method == BTREE and not (index.kept or has_other_uses(index) or index.partitioned):
                yield index

    def _meant(self, index: Index) -> bool:
        """Whether patterns and size choose it, and nothing has been said of it yet."""
        name, least = f"{index.schema}.{index.name}", self.options.selection.min_size or 0
        chosen = index.table in self.facts.asked and index.oid not in self.told and (index.bytes or 0) >= least
        return chosen and not any(fnmatchcase(name, pattern) for pattern in self.options.selection.exclude)

    def _tell(
        self,
        name: str,
        index: Index,
        said: str,
        advice: str,
        *,
        drops: bool = False,
        quiet: bool = False,
        saves: int | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """drops: whether the script does what the advice says; quiet: no warning, whatever its size; saves: bytes, if not all."""
        self.told.add(index.oid)
        # What is gone since it was looked at cannot be made again, and need not be dropped.
        drops = drops and (name == INVALID or index.oid in self.facts.undo)
        numbers = self.facts.numbers[index.oid]
        occupied = index.bytes or 0
        value = occupied if saves is None else saves
        undone = undo(self.facts.undo[index.oid]) if drops and index.oid in self.facts.undo else []
        evidence: dict[str, Any] = {
            "table": index.table_target,
            "confidence": HIGH,
            "bytes": occupied,
            "scans": sum(one.scans for one in self.facts.everywhere(index)),
            "writes": numbers.writes,
            "counted_since": _moment(self.facts.began),
            **(more or {}),
            **({"drop": index.drop, "undo": undone} if drops else {}),
        }
        scans = evidence["scans"]
        evidence["writes_per_scan"] = round(numbers.writes / scans, 1) if scans else None
        level = INFO if quiet or value < LOUD else WARNING
        finding = Finding(name, index.target, level, said, value, LOUD, {"unit": "bytes", **evidence}, advice)
        self.found[name].append(_Found(finding, value, index.oid, drop(index) if drops else ()))

    def _blind(self, level: str, why: str, advice: str) -> None:
        self.blind.append(
            Finding(UNUSED, self.facts.database, level, why, advice=advice, group=GROUP, keep=level != INFO)
        )

    # --- scripts

    def _dropped(self) -> list[_Found]:
        return [one for found in self.found.values() for one in found if one.drops]

    def _write(self, context: Context) -> None:
        """Both scripts. What was not valid served nobody, and is not made again."""
        dropped = sorted(self._dropped(), key=lambda one: one.finding.subject)
        drops, undoes = [], []
        for one in dropped:
            about = f"{one.finding.check}: {one.finding.subject}"
            about += f" ({one.finding.evidence['covered_by']} stays)" if "covered_by" in one.finding.evidence else ""
            drops.append((about, one.drops))
            rows = self.facts.undo.get(one.oid, ())
            undoes.append((one.finding.subject, [*undo(rows), *analyzed(rows)]) if rows else
                          (f"{one.finding.subject} was not valid: there is nothing to undo", []))  # fmt: skip
        database = self.facts.database
        context.write(self.options.drop, script("Drops what can be done without", database, drops))
        # Without it, what has no tablespace of its own would be made in the one of whoever runs it.
        before = ["SET default_tablespace = ''"]
        context.write(self.options.undo, script(f"Undoes {self.options.drop}", database, undoes, before))


def _bloat(found: Bloat) -> dict[str, Any]:
    return {
        "confidence": found.confidence,
        "bloat": round(found.share, 3),
        "fresh_bytes": found.fresh,
        "method": found.method,
    }


def _lacks(one: Missing) -> str:
    """What a foreign key without an index costs."""
    said = f"no index begins with {', '.join(map(quote, one.key.names))}"
    said += f" in {count(one.tables)} partitions" if one.tables > 1 else ""
    said += f": whoever deletes from {one.key.references} reads {size(one.bytes)} for each row"
    return said + (f"; {one.partly.target} has a part of it" if one.partly else "")


def _evidence(one: Missing) -> dict[str, Any]:
    return {"unit": "bytes", "columns": list(one.key.names), "references": one.key.references, "deleted": one.key.deleted,
            "confidence": HIGH if one.partly is None else MEDIUM}  # fmt: skip


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _day(seconds: float | None) -> str:
    return "its creation" if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d}"
