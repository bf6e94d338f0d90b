# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Indexes without a server: statements read and refused, what is decided, whom a build waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import Contended, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context, Decision
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import index as operation
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.index.facts import (
    Facts,
    Index,
    Table,
    Wanted,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.index.statements import Statement
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.index_definition import (
    Shape,
    read,
    shape,
    working_name,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.names import Name
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.waits import WRITERS, Wait

NEW = working_name("i")
TABLE = Table(1, "public", "t", "r")
PRINTED = "CREATE INDEX i ON public.t USING btree (a)"
OTHER = "CREATE INDEX i ON public.t USING btree (b)"
WANTED = Wanted(TABLE, shape(PRINTED))


@pytest.mark.parametrize(
    ("text", "name", "table", "tail"),
    [
        ("CREATE INDEX i ON t (a)", "i", Name(None, "t"), "(a)"),
        ("create unique index Idx on S.T using Hash (a);;", "idx", Name("s", "t"), "using Hash (a)"),
        ('CREATE INDEX "A ""b;" ON "S.x"."T" (a) -- end;', 'A "b;', Name("S.x", "T"), "(a)"),
        ("/* ; /* ' */ */ CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t(a)", "i", Name(None, "t"), "(a)"),
        ("CREATE INDEX i ON t (a) WHERE b = $x$;$$;$x$", "i", Name(None, "t"), "(a) WHERE b = $x$;$$;$x$"),
        (r"CREATE INDEX i ON t (a) WHERE b = E'\';' OR b = ''';'", "i", Name(None, "t"), r"(a) WHERE b = E'\';' OR b = ''';'"),
        ("CREATE INDEX ÄB$1 ON t (a)", "Äb$1", Name(None, "t"), "(a)"),
        ("CREATE INDEX 😀 ON 😀 (a)", "😀", Name(None, "😀"), "(a)"),
    ],
)  # fmt: skip
def test_a_definition_is_read(text: str, name: str, table: Name, tail: str) -> None:
    definition = read(text)
    assert (definition.name, definition.table, definition.tail) == (name, table, tail)
    assert definition.unique == ("unique" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "CREATE [UNIQUE] INDEX"),
        ("DROP INDEX i", "CREATE [UNIQUE] INDEX"),
        ("CREATE TABLE i ON t (a)", "CREATE [UNIQUE] INDEX"),
        ("CREATE INDEX ON t (a)", "needs a name"),
        ("CREATE INDEX s.i ON t (a)", "leave out the schema"),
        ("CREATE INDEX i ON ONLY t (a)", "leave out ONLY"),
        ("CREATE INDEX i ON a.b.c (a)", "CREATE [UNIQUE] INDEX"),
        ("CREATE INDEX i ON t", "CREATE [UNIQUE] INDEX"),
        ("CREATE INDEX i ON t USING", "CREATE [UNIQUE] INDEX"),
        ("CREATE INDEX i ON t * (a)", "CREATE [UNIQUE] INDEX"),
        ("CREATE INDEX i ON t (a); DROP TABLE t", "more than one statement"),
        ("CREATE INDEX i ON t (a) /* /* */ ; */ ; DROP TABLE t", "more than one statement"),
        ("CREATE INDEX i ON t (a) WHERE b = $a$ $a$; DROP TABLE t --$a$", "more than one statement"),
        ("CREATE INDEX i ON t (a) /* /* */", "comment is opened"),
        ("CREATE INDEX i ON t (a) WHERE b = 'x", "a quotation mark is opened"),
        ('CREATE INDEX "i ON t (a)', "a quotation mark is opened"),
        (f"CREATE INDEX {'x' * 64} ON t (a)", "longer than 63 bytes"),
        (f"CREATE INDEX i ON {'ä' * 32} (a)", "longer than 63 bytes"),
    ],
)
def test_what_is_no_single_definition_is_refused(text: str, message: str) -> None:
    with pytest.raises(OptionError, match="definition: ") as caught:
        read(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        ("(a) TABLESPACE x", True),
        ("(a) WITH (fillfactor=9) tablespace x WHERE b", True),
        ("(tablespace) WHERE tablespace > 1", False),
        ("(a) WHERE b = 'TABLESPACE'", False),
    ],
)
def test_whether_a_definition_says_where_to_store_it(tail: str, says: bool) -> None:
    assert read(f"CREATE INDEX i ON t {tail}").says_tablespace is says


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (PRINTED, Shape(False, "USING btree (a)")),
        ("CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a) INCLUDE (b) NULLS NOT DISTINCT",
         Shape(True, "USING btree (a) INCLUDE (b) NULLS NOT DISTINCT")),
        ("""CREATE INDEX "WITH (x)" ON s."WHERE" USING btree (a) WITH (fillfactor='70', deduplicate_items=off) WHERE (b > 1)""",
         Shape(False, "USING btree (a)", ("deduplicate_items=off", "fillfactor='70'"), "WHERE (b > 1)")),
        ("CREATE INDEX i ON s.t USING x (a) WITH (a='1,2)', b='(')", Shape(False, "USING x (a)", ("a='1,2)'", "b='('"))),
        ("CREATE INDEX i ON s.t USING gist (a ops (siglen='32')) WHERE (b = 'WITH (x)'::text)",
         Shape(False, "USING gist (a ops (siglen='32'))", (), "WHERE (b = 'WITH (x)'::text)")),
    ],
)  # fmt: skip
def test_the_shape_of_what_the_server_prints(printed: str, expected: Shape) -> None:
    assert shape(printed) == expected
    assert shape(expected.text("s", "n", "t")) == expected


def test_working_names_are_short_stable_and_different() -> None:
    assert working_name("idx_sessions_token_hash") == working_name("idx_sessions_token_hash")
    assert working_name("idx").startswith("idx_new_")
    assert working_name("idx", "part").startswith("idx_part_")
    names = {
        working_name(name, part, turn)
        for name in ("a", "ü" * 31, "ü" * 30 + "x")
        for part in ("", "p")
        for turn in (0, 1)
    }
    assert len(names) == 12
    assert all(len(name.encode()) <= 63 for name in names)


def index(printed: str, name: str = "i", **more: Any) -> Index:
    known: dict[str, Any] = {
        "schema": "public",
        "kind": "i",
        "table_schema": "public",
        "table": "t",
        "table_oid": 1,
        "valid": True,
    }
    return Index(oid=hash(name), name=name, printed=printed, **{**known, **more})


def decided(
    found: Index | None, *others: Index, wanted: Wanted | None = WANTED, **more: Any
) -> Decision[tuple[Statement, ...]]:
    facts = Facts("public.i", "public", "i", found=found, others=list(others), wanted=wanted, parts=[TABLE], **more)
    [action] = operation.decide(facts, operation.Options("i", True, None), Context(check=False))
    return action


DROP_OLD, DROP_NEW = "DROP INDEX CONCURRENTLY public.i", f"DROP INDEX CONCURRENTLY public.{NEW}"
CREATE = f"CREATE INDEX CONCURRENTLY {NEW} ON public.t USING btree (a)"
RENAME = f"ALTER INDEX public.{NEW} RENAME TO i"


@pytest.mark.parametrize(
    ("found", "others", "statements"),
    [
        (None, [], [CREATE, RENAME]),
        (index(OTHER), [], [CREATE, DROP_OLD, RENAME]),
        (index(PRINTED, valid=False), [], [CREATE, DROP_OLD, RENAME]),
        (None, [index(PRINTED, NEW)], [RENAME]),
        (None, [index(PRINTED, NEW, valid=False)], [DROP_NEW, CREATE, RENAME]),
        (None, [index(OTHER, NEW)], [DROP_NEW, CREATE, RENAME]),
        (index(OTHER), [index(PRINTED, NEW)], [DROP_OLD, RENAME]),
        (index(PRINTED), [index(PRINTED, NEW)], [DROP_NEW]),
        (index(PRINTED), [index(PRINTED, "another"), index(PRINTED, "i_new_00000000", valid=False)], []),
        (index(PRINTED, needed_by=[{"name": "k", "type": "p", "table": "t"}]), [], []),
        (index(PRINTED, tablespace="fast"), [], []),
        (index(OTHER, tablespace="fast"), [], [CREATE + " TABLESPACE fast", DROP_OLD, RENAME]),
    ],
)  # fmt: skip
def test_what_is_decided(found: Index | None, others: list[Index], statements: list[str]) -> None:
    action = decided(found, *others)
    assert list(action.statements) == statements
    assert action.verdict == (None if statements else "unchanged")


@pytest.mark.parametrize(
    ("found", "others", "statements"),
    [
        (index(OTHER), [], [DROP_OLD]),
        (None, [index(OTHER, NEW, valid=False)], [DROP_NEW]),
        (index(OTHER), [index(OTHER, NEW)], [DROP_OLD, DROP_NEW]),
        (None, [], []),
    ],
)
def test_what_is_decided_when_none_is_wanted(found: Index | None, others: list[Index], statements: list[str]) -> None:
    action = decided(found, *others, wanted=None)
    assert list(action.statements) == statements
    assert action.verdict == (None if statements else "unchanged")


def test_a_tablespace_that_is_asked_for_counts() -> None:
    assert decided(index(PRINTED), wanted=replace(WANTED, tablespace="")).verdict == "unchanged"
    assert decided(index(PRINTED), wanted=replace(WANTED, tablespace="a b")).statements[0].endswith('TABLESPACE "a b"')


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (index(OTHER, needed_by=[{"name": "k", "type": "p", "table": "t"}]), "failed"),
        (index(OTHER, needed_by=[{"name": "k", "type": "f", "table": "c"}]), "failed"),
        (index(OTHER, replica_identity=True), "failed"),
        (index(OTHER, inherited=7, inherited_from="public.p"), "failed"),
        (index(OTHER, may_drop=False, owner="somebody"), "failed"),
        (index(PRINTED, table_oid=2, table="t2"), "failed"),
        (index("", kind="r", table=None, table_oid=None), "failed"),
        (index(PRINTED, valid=False, builder=4711), "contended"),
        (index(OTHER, valid=True, builder=4711), None),
    ],
)
@pytest.mark.parametrize("wanted", [WANTED, None])
def test_what_is_left_alone(found: Index, verdict: str | None, wanted: Wanted | None) -> None:
    expected = None if found.table_oid == 2 and wanted is None else verdict
    assert decided(found, wanted=wanted).verdict == expected


def test_a_server_that_builds_corrupt_indexes_builds_none() -> None:
    assert decided(None, hazard="update").verdict == "failed"
    assert decided(index(PRINTED), hazard="update").verdict == "unchanged"
    assert decided(None, index(PRINTED, NEW), hazard="update").verdict is None


class Blocked:
    """A session in which the same statement finds other transactions each time."""

    def __init__(self, *looks: str) -> None:
        self.looks = list(looks)

    def rows(self, query: Any) -> list[dict[str, Any]]:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [{"id": one, "pid": ord(one), "user": "app", "state": "active"} for one in found]


def waited(session: Blocked, seconds: float) -> list[float]:
    """The pauses of a wait that may take that many seconds."""
    pauses: list[float] = []
    Wait(1, WRITERS, snapshots=True).over(session, lambda: seconds - sum(pauses), pauses.append)  # type: ignore[arg-type]
    return pauses


def test_only_those_who_were_there_first_are_waited_for() -> None:
    assert waited(Blocked(""), 10) == []
    assert len(waited(Blocked("ab", "abc", "acd", "cde"), 10)) == 3


def test_waiting_ends_before_the_budget() -> None:
    session = Blocked("ab", "bc")
    with pytest.raises(Contended, match=r"session 98 \(app, active\)"):
        waited(session, 10)
