# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of purge: which rows have expired, how fast they go, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._errors import OptionError
from ..._postgres.lexer import tokens
from ..._postgres.names import MAX_NAME_BYTES, display, name_faults, parse_name
from ..._spec import Spec
from ..._units import read_age

AUTO, FULL = "auto", "full"
INDEX, HEAP = "index", "heap"
NEVER, ALWAYS, REQUIRE = "never", "always", "require"
DETACH, DROP = "detach", "drop"
MOST_PARTITIONS = 1000  # to be made in advance

# What says when a row has expired. Those of the module itself, and those of each of its conditions.
CONDITION: dict[str, dict[str, Any]] = {
    "column": {"type": "str"},
    "older_than": {"type": "str", "default": "0"},
    "where": {"type": "str"},
    "timezone": {"type": "str"},
    "epoch": {"type": "str", "choices": ["s", "ms", "us"]},
    "format": {"type": "str", "choices": ["uuidv7", "ulid", "iso"]},
    "ttl_column": {"type": "str"},
    "ttl_unit": {"type": "str", "choices": ["ms", "s", "m", "h", "d"], "default": "s"},
    "null_means": {"type": "str", "choices": [NEVER, ALWAYS], "default": NEVER},
}
SPEC = Spec(
    {
        "table": {"type": "str", "required": True},
        **CONDITION,
        "conditions": {
            "type": "list",
            "elements": "dict",
            "options": {**CONDITION, "column": {"type": "str", "required": True}},
        },
        "max_rows": {"type": "int"},
        "batch_ms": {"type": "int", "default": 250},
        "pace": {"type": "str", "default": AUTO},
        "order": {"type": "str", "choices": [AUTO, INDEX, HEAP], "default": AUTO},
        "require_index": {"type": "bool", "default": True},
        "cascade": {"type": "bool", "default": False},
        "keep_referenced": {"type": "bool", "default": False},
        "with": {"type": "list", "elements": "str", "default": []},
        "archive": {
            "type": "dict",
            "options": {"table": {"type": "str"}, "schema": {"type": "str"}, "directory": {"type": "path"}},
        },
        "partitions": {"type": "str", "choices": [DETACH, DROP]},
        "premake": {"type": "int"},
        "interval": {"type": "str"},
        "concurrently": {"type": "str", "choices": [AUTO, REQUIRE, NEVER], "default": AUTO},
    },
    mutually_exclusive=[["column", "conditions"]],
    required_one_of=[["column", "conditions"]],
)

# UTC+7 is a POSIX zone for PostgreSQL, seven hours WEST of Greenwich. Nobody means that.
_POSIX_ZONE = re.compile(r"^[^/]*\d")
# Names of the time zone database that look like one (its files backward, northamerica and etcetera).
_NAMED_ZONES = ("EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT0", "GMT+0", "GMT-0")
# Abbreviations of summer times, which PostgreSQL takes for the same distance from UTC in winter, when clocks are behind it: rows
# would go an hour early. IST is Israel's, which is ahead of Ireland's.
_SUMMER = frozenset(
    "ACDT ACSST ADT AEDT AESST AKDT ALMST AWSST AZOST BDST BRST BST CADT CDT CEST CETDST CHADT CLST EDT EEST EETDST EGST FJST "
    "FNST IDT IST KDT KGST MDT MEST MESZ METDST MSD MUST NDT NZDT PDT PKST PMDT PYST SADT ULAST UYST UZST WADT WDT WETDST WGST "
    "YEKST".split()
)
_SHARE = re.compile(r"^(?:(\d{1,3})\s*%|(0?\.\d+|1(?:\.0+)?))$")


@dataclass(frozen=True)
class Condition:
    """When a row has expired. older_than: seconds; the others as the module documents them."""

    column: str
    older_than: int = 0
    where: str | None = None
    timezone: str | None = None
    epoch: str | None = None
    format: str | None = None
    ttl_column: str | None = None
    ttl_unit: str = "s"
    null_means: str = NEVER

    @property
    def columns(self) -> list[str]:
        """The columns that it reads, besides those of its ``where``."""
        return [self.column, *([self.ttl_column] if self.ttl_column else [])]


@dataclass(frozen=True)
class Archive:
    """Where rows go before they are gone: one of these. schema: of the tables that have the names of those that lose rows."""

    table: str | None = None
    directory: str | None = None
    schema: str | None = None

    def target(self, table: str) -> str | None:
        """The table to which the rows of another one go, None where they go to files. Both as texts of SQL."""
        return self.table if self.schema is None else display(self.schema, parse_name(table).name)


@dataclass(frozen=True)
class Options:
    """The options of purge.

    conditions     a row has expired when any of them holds
    where          and this holds as well
    batch_seconds  how long one batch should take
    pace           share of the time in which rows are deleted, 1 for all of it; None: by what others do
    children       the option ``with``
    """

    table: str
    conditions: tuple[Condition, ...]
    where: str | None = None
    max_rows: int | None = None
    batch_seconds: float = 0.25
    pace: float | None = None
    order: str = AUTO
    require_index: bool = True
    cascade: bool = False
    keep_referenced: bool = False
    children: tuple[str, ...] = ()
    archive: Archive | None = None
    partitions: str | None = None
    premake: int | None = None
    interval: str | None = None
    concurrently: str = AUTO

    @property
    def of_partitions(self) -> bool:
        """Whether they are about partitions, and not about rows."""
        return bool(self.partitions) or self.premake is not None

    @property
    def columns(self) -> list[str]:
        """The columns that say when a row has expired, each once."""
        return list(dict.fromkeys(name for condition in self.conditions for name in condition.columns))


def read(given: Mapping[str, Any]) -> Options:
    """The options. Raises OptionError with all faults."""
    faults = name_faults("table", [given["table"]])
    faults += [fault for child in given["with"] or () for fault in name_faults("with", [child])]
    options = Options(
        table=given["table"],
        conditions=_conditions(given, faults),
        where=given["where"] if given["conditions"] else None,
        max_rows=given["max_rows"],
        batch_seconds=given["batch_ms"] / 1000,
        pace=_pace(given["pace"], faults),
        order=given["order"],
        require_index=given["require_index"],
        cascade=given["cascade"],
        keep_referenced=given["keep_referenced"],
        children=tuple(given["with"] or ()),
        archive=_archive(given["archive"], faults),
        partitions=given["partitions"],
        premake=given["premake"],
        interval=given["interval"],
        concurrently=given["concurrently"],
    )
    faults += _limits(given) + _of_partitions(options) + _together(options)
    if faults:
        raise OptionError(faults)
    return options


def _conditions(given: Mapping[str, Any], faults: list[str]) -> tuple[Condition, ...]:
    if not given["conditions"]:
        if given["conditions"] is not None:
            faults.append("conditions: is empty; name at least one, or set column")
        return (_condition(given, "", faults),)
    faults += _where_faults("where", given["where"])
    beside = [
        name for name, how in CONDITION.items() if name != "where" and given[name] not in (None, how.get("default"))
    ]
    faults += [f"{name}: stands in each of the conditions, and not beside them" for name in beside]
    return tuple(
        _condition(condition, f"conditions[{number}].", faults)
        for number, condition in enumerate(given["conditions"], 1)
    )


def _condition(given: Mapping[str, Any], place: str, faults: list[str]) -> Condition:
    """One condition. What is wrong with it is added to ``faults``."""
    zone = given["timezone"] or ""
    if _POSIX_ZONE.match(zone) and zone.upper() not in _NAMED_ZONES:
        faults.append(
            f"{place}timezone: PostgreSQL reads {zone!r} with its sign reversed: write a name such as Asia/Ho_Chi_Minh"
        )
    if zone.upper() in _SUMMER:
        faults.append(
            f"{place}timezone: {zone!r} is an abbreviation, which means the same in summer and in winter: write the name of a "
            "place such as Europe/London"
        )
    for name in ("column", "ttl_column"):
        if len((given[name] or "").encode()) > MAX_NAME_BYTES:
            faults.append(f"{place}{name}: {given[name]!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
        if given[name] == "":
            faults.append(f"{place}{name}: is empty")
    if given["epoch"] and given["format"]:
        faults.append(f"{place}epoch: is for numbers and {place}format for text and uuid: take one of them out")
    if given["ttl_column"] and given["ttl_column"] == given["column"]:
        faults.append(f"{place}ttl_column: must be another column than {place}column")
    faults += _where_faults(f"{place}where", given["where"])
    seconds = read_age(f"{place}older_than", given["older_than"], faults)
    kept = ("where", "timezone", "epoch", "format", "ttl_column", "ttl_unit", "null_means")
    return Condition(given["column"] or "", seconds, **{name: given[name] for name in kept})


def _archive(given: Mapping[str, Any] | None, faults: list[str]) -> Archive | None:
    if given is None:
        return None
    archive = Archive(given.get("table"), given.get("directory"), given.get("schema"))
    if sum(map(bool, (archive.table, archive.schema, archive.directory))) != 1:
        faults.append("archive: name a table, a schema or a directory, one of them")
    if archive.table:
        faults += name_faults("archive.table", [archive.table])
    if archive.schema and len(archive.schema.encode()) > MAX_NAME_BYTES:
        faults.append(f"archive.schema: {archive.schema!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    if archive.directory and not archive.directory.startswith("/"):
        faults.append(f"archive.directory: {archive.directory!r} must be an absolute path")
    return archive


def _pace(text: str, faults: list[str]) -> float | None:
    """The share of time that ``pace`` asks for, None for auto. What is wrong with it is added to ``faults``."""
    word = text.strip().lower()
    if word in (AUTO, FULL):
        return None if word == AUTO else 1.0
    share = _SHARE.match(word)
    value = float(share[1]) / 100 if share and share[1] else float(share[2]) if share else 0.0
    if not 0.01 <= value <= 1:
        faults.append(f"pace: {text!r} is no pace: write auto, full, or the share of the time to work in, such as 25%")
    return value


def _limits(given: Mapping[str, Any]) -> list[str]:
    faults = []
    if given["max_rows"] is not None and given["max_rows"] < 1:
        faults.append("max_rows: must be at least 1; leave it out for no limit")
    if not 10 <= given["batch_ms"] <= 60_000:
        faults.append("batch_ms: must be from 10 to 60000 milliseconds")
    if given["premake"] is not None and not 1 <= given["premake"] <= MOST_PARTITIONS:
        faults.append(f"premake: must be from 1 to {MOST_PARTITIONS}; leave it out to make none")
    return faults


def _interval(text: str) -> bool:
    """Whether it is one."""
    from .partitions.calendar import read_interval  # which is loaded where it is needed

    return read_interval(text) is not None


def _of_partitions(options: Options) -> list[str]:
    """What cannot be asked for where partitions go, or come, as a whole."""
    if not options.of_partitions:
        return ["interval: is for premake, which is not set"] if options.interval else []
    if options.interval and options.premake is None:
        return ["interval: is for premake, which is not set"]
    if options.interval and not _interval(options.interval):
        return [f"interval: {options.interval!r} is no interval: write a number of hours, days, weeks, months, quarters or "
                "years, such as 1 month"]  # fmt: skip
    if len(options.conditions) > 1:
        return ["conditions: partitions go by one column, that of their key: name it as column"]
    (condition,) = options.conditions
    unfit = {
        "where": condition.where or options.where,
        "ttl_column": condition.ttl_column,
        "null_means": condition.null_means == ALWAYS,
        "with": options.children,
        "archive": options.archive,
        "max_rows": options.max_rows is not None,
        "keep_referenced": options.keep_referenced,
    }
    way = "a partition goes as a whole: take it out, or leave partitions out to delete row by row"
    if unfit["archive"]:
        way += "; partitions: detach keeps the rows in a table of their own"
    return [
        f"{name}: cannot be set together with partitions or premake: {way}" for name, given in unfit.items() if given
    ]


def _together(options: Options) -> list[str]:
    """Options that contradict each other."""
    if options.archive and options.archive.table and options.children:
        return [
            "archive: a table takes rows of one table: beside with name a schema, with a table of the same name for each, or a "
            "directory"
        ]
    if options.order == HEAP and options.max_rows is not None:
        return ["order: with max_rows the oldest rows go first, which is the order of an index: take one of them out"]
    return []


def _where_faults(option: str, text: str | None) -> list[str]:
    """What would make a predicate end earlier or later than its text, so that rows could go that have not expired."""
    return [] if text is None else [f"{option}: {fault}" for fault in _predicate_faults(text)]


def _predicate_faults(text: str) -> Sequence[str]:
    if not text.strip():
        return ["is empty; leave it out to delete every row that has expired"]
    open_brackets = 0
    try:
        for token in tokens(text):
            open_brackets += token.says("(") - token.says(")")
            if open_brackets < 0:
                return ["a bracket is closed that was not opened"]
            if token.says(";"):
                return ["is a condition and not a statement: take the semicolon out"]
    except OptionError as error:
        return error.errors
    return ["a bracket is opened and not closed"] if open_brackets else []
