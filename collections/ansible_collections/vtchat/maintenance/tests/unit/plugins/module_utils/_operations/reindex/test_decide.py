# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When an index is rebuilt, dropped or flushed, when it is not, in which order, and what is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import (
    Action,
    Context,
    Decision,
    Effect,
    Verdict,
    reindex,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.decide import Facts
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.facts import Index
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.leftovers import leftovers
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.measure import Assessed
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.memory import Memory
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.bloat import Bloat
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.concurrently import HAZARD
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.index_definition import working_name
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.server import Server

MIB = 1 << 20
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=timezone.utc)
HALF = Bloat(40 * MIB, 20 * MIB, "exact", "high")
TENTH = Bloat(40 * MIB, 36 * MIB, "exact", "high")
BLOATED = "50 % bloat (exact, high confidence), 20.0 MiB to be won"
UPSERTS = ("while a unique index is rebuilt concurrently, INSERT ... ON CONFLICT fails now and then with a duplicate key before "
           "PostgreSQL 19: set unique: true where nothing does that, or give a quiet window")  # fmt: skip
NOT_YET = "it is not valid; but session 7 is building an index of its table right now"
INVALID = "it is not valid: it is kept up, and no query uses it"
FAILING = Memory(100, failures=3, failed="no", skip=4)
INDEX = Index(
    1,
    "public",
    "i",
    heap=10,
    main=10,
    table_schema="public",
    table="t",
    names=("public.t", "public.i"),
    name_bytes=1,
    file=100,
    rows=1e6,
    table_rows=1e6,
    bytes=40 * MIB,
    definition="d",
    owner="owner",
    now=NOW,
)


def server(version_num: int = 180006) -> Server:
    return Server(
        "", version_num, "", "db", 1, "me", True, False, 1, NOW, "", [], False, "origin", True, {}, "postgresql"
    )


def options(**given: Any) -> reindex.Options:
    defaults = {"bloat": 0.4, "min_gain": MIB, "min_size": 10 * MIB, "tables": ["t"]}
    return reindex.read({**defaults, **given})


def assessed(bloat: Bloat | None = None, known: Memory | None = None, why: str = "", **index: Any) -> Assessed:
    memory = known or Memory(100)
    return Assessed(replace(INDEX, **index), options().limits, bloat, why, memory=memory, known=memory)


def decide(*some: Assessed, version: int = 180006, context: Context | None = None, **given: Any) -> list[Decision[Any]]:
    chosen = options(**given)
    some = tuple(replace(one, limits=chosen.of(one.index.names)) for one in some)
    left = leftovers([one.index for one in some])
    return reindex.decide(Facts(server(version), (), some, left), chosen, context or Context(check=False))


@pytest.mark.parametrize(
    ("one", "given", "verdict", "reason"),
    [
        (assessed(HALF), {}, None, BLOATED),
        (assessed(HALF), {"bloat": 0.51}, "unchanged", "50 % bloat (exact, high confidence), below 51 %"),
        (assessed(HALF), {"min_gain": 21 * MIB}, "unchanged",
         "50 % bloat (exact, high confidence), less than min_gain to be won"),
        (assessed(TENTH), {}, "unchanged", "10 % bloat (exact, high confidence), below 40 %"),
        (assessed(TENTH), {"bloat": 0.1}, None, "10 % bloat (exact, high confidence), 4.0 MiB to be won"),
        (assessed(HALF), {"overrides": [{"match": "public.t", "bloat": 0.9}]}, "unchanged",
         "50 % bloat (exact, high confidence), below 90 %"),
        (assessed(HALF), {"overrides": [{"match": "*", "bloat": 0.9}, {"match": "public.i", "bloat": 0.3}]}, None, BLOATED),
        (assessed(why="so it is"), {}, "unchanged", "no number: so it is"),
        (assessed(), {}, "unchanged", "no number: nothing is known about its size when it was new"),
        (assessed(), {"method": "exact"}, "unchanged",
         "no number: it cannot be measured: CREATE EXTENSION pgstattuple, and GRANT pg_stat_scan_tables TO the role"),
        (assessed(may_exact=True), {"method": "exact", "exact_limit": MIB}, "unchanged",
         "no number: its 40.0 MiB are more than exact_limit, 1.0 MiB"),
        (assessed(method="gin"), {"method": "exact"}, "unchanged",
         "no number: only B-trees can be measured, and it is of type gin"),
        (assessed(method="brin"), {}, "unchanged", "BRIN indexes do not bloat"),
        (assessed(bytes=MIB, named=True), {}, "unchanged", "its 1.0 MiB are less than min_size, 10.0 MiB"),
        (assessed(bytes=None, busy=7), {}, "contended", "somebody has locked it as a whole: session 7 is at work on its table"),
        # Reasons of their own
        (assessed(valid=False), {}, None, INVALID),
        (assessed(valid=False, bytes=8192), {}, None, INVALID),
        (assessed(valid=False, builder=7, busy=7), {}, "contended", NOT_YET),
        (assessed(valid=False, live=False), {}, "skipped",
         f"{INVALID}; DROP INDEX CONCURRENTLY was interrupted: "
         "DROP INDEX CONCURRENTLY public.i once more"),
        (assessed(valid=False, name="gone_ccnew"), {}, "skipped",
         f"{INVALID}; an interrupted rebuild seems to have left it, but of no index that there is: "
         "DROP INDEX CONCURRENTLY public.gone_ccnew"),
        (assessed(collations=(("public.de", "1", "2"),)), {}, None,
         "the collation public.de has version 2, and had 1: rows may be in the wrong order"),
        (assessed(TENTH, collations=(("", "1", "2"),)), {}, None,
         "the database's collation has version 2, and had 1: rows may be in the wrong order"),
        (assessed(TENTH, Memory(100, collations={"": "2"}), collations=(("", "1", "2"),)), {}, "unchanged",
         "10 % bloat (exact, high confidence), below 40 %"),
        (assessed(TENTH, Memory(100, collations={"": "2"}), collations=(("", "1", "3"),)), {}, None,
         "the database's collation has version 3, and had 1: rows may be in the wrong order"),
        # What keeps it from being done
        (assessed(HALF), {"max_size": 20 * MIB}, "skipped", f"{BLOATED}; its 40.0 MiB are more than max_size, 20.0 MiB"),
        (assessed(HALF, exclusion=True), {}, "skipped",
         f"{BLOATED}; it enforces an exclusion constraint, and such an index cannot be rebuilt concurrently"),
        (assessed(HALF, busy=7), {}, "contended", f"{BLOATED}; but session 7 is at work on its table"),
        (assessed(HALF, busy=7, autovacuum=True), {}, "contended",
         f"{BLOATED}; but autovacuum, process 7, is at work on its table"),
        (assessed(HALF, may_maintain=False), {}, "failed",
         "role me may not rebuild it: GRANT MAINTAIN ON TABLE public.t TO me"),
        (assessed(HALF, may_use_schema=False), {}, "failed",
         "role me may not use schema public: GRANT USAGE ON SCHEMA public TO me"),
        (assessed(HALF, FAILING), {}, "skipped",
         f"{BLOATED}; 3 rebuilds in a row have failed (no): it is left out of 4 more runs, unless it is named in indexes"),
        (assessed(HALF, FAILING, asked=True), {"tables": None, "indexes": ["i"]}, None, BLOATED),
        # Unique indexes
        (assessed(HALF, unique=True), {}, "skipped", f"{BLOATED}; {UPSERTS}"),
        (assessed(valid=False, unique=True), {}, "skipped", f"{INVALID}; {UPSERTS}"),
        (assessed(HALF, unique=True, primary=True), {}, "skipped",
         f"{BLOATED}; {UPSERTS.replace('a unique index', 'the primary key')}"),
        (assessed(HALF, unique=True), {"unique": True}, None, BLOATED),
        (assessed(HALF, unique=True), {"overrides": [{"match": "public.i", "unique": True}]}, None, BLOATED),
        (assessed(HALF, unique=True), {"quiet": {"not_before": "02:00", "not_after": "05:00"}}, None, BLOATED),
        (assessed(HALF, unique=True), {"quiet": {"not_before": "04:00", "not_after": "05:00"}}, "skipped",
         f"{BLOATED}; {UPSERTS.replace('or give a quiet window', 'or wait for the window from 04:00 to 05:00 UTC')}"),
        (assessed(HALF, unique=True, table_kind="m"), {}, None, BLOATED),
        (assessed(HALF, unique=True, heap=11), {}, None, BLOATED),  # of a TOAST table
        # Pending lists
        (assessed(TENTH, method="gin"), {}, "unchanged", "10 % bloat (exact, high confidence), below 40 %"),
        (replace(assessed(TENTH, method="gin"), pending=2 * MIB), {}, None,
         "its pending list has 2.0 MiB, of 4.0 MiB that it may have"),
        (replace(assessed(TENTH, method="gin"), pending=2 * MIB - 1), {}, "unchanged",
         "10 % bloat (exact, high confidence), below 40 %"),
        (replace(assessed(TENTH, method="gin", may_drop=False), pending=4 * MIB), {}, "skipped",
         "its pending list has 4.0 MiB, of 4.0 MiB that it may have; only its owner may flush it: GRANT owner TO me"),
    ],
)  # fmt: skip
def test_one_index(one: Assessed, given: dict[str, Any], verdict: str | None, reason: str) -> None:
    (decision,) = decide(one, **given)
    assert (decision.verdict, decision.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("version", "index", "what"),
    [
        (140003, {}, HAZARD),
        (140004, {}, ""),
        (
            150018,
            {"unique": True, "deferrable": True},
            "PostgreSQL before 15.19 checks a DEFERRABLE constraint too early",
        ),
        (150019, {"unique": True, "deferrable": True}, ""),
        (140023, {"unique": True, "deferrable": True}, "PostgreSQL before 14.24 checks"),
        (160014, {"unique": True, "deferrable": True}, "PostgreSQL before 16.15 checks"),
        (170010, {"unique": True, "deferrable": True}, "PostgreSQL before 17.11 checks"),
        (180005, {"unique": True, "deferrable": True}, "PostgreSQL before 18.6 checks"),
        (180006, {"unique": True, "deferrable": True}, ""),
        (190000, {"unique": True, "deferrable": True}, ""),
        (180005, {"unique": True}, ""),
        (170000, {"partial": True}, "PostgreSQL before 17.1 does not wait for concurrent rebuilds of partial indexes"),
        (170001, {"partial": True}, ""),
        (160004, {"expressions": True}, "PostgreSQL before 16.5 does not wait"),
        (150008, {"expressions": True}, "PostgreSQL before 15.9 does not wait"),
        (140013, {"expressions": True}, "PostgreSQL before 14.14 does not wait"),
        (140014, {"expressions": True}, ""),
        (180000, {"expressions": True}, ""),
    ],
)
def test_faults_of_servers(version: int, index: dict[str, Any], what: str) -> None:
    (decision,) = decide(assessed(HALF, **index), version=version, unique=True)
    assert decision.verdict == ("skipped" if what else None)
    assert decision.reason.startswith(f"{BLOATED}; {what}" if what else BLOATED)


def test_from_19_on_unique_indexes_are_like_others() -> None:
    (decision,) = decide(assessed(HALF, unique=True), version=190000)
    assert isinstance(decision, Action)


@pytest.mark.parametrize(
    ("left", "verdict", "reason"),
    [
        ({}, None, "an interrupted rebuild of public.i has left it; that one is as it was"),
        ({"name": "i_ccold"}, None, "a rebuild of public.i was finished but for removing the old index, which is this one"),
        ({"builder": 7, "busy": 7}, "contended", NOT_YET),
        ({"busy": 7}, "contended", "an interrupted rebuild of public.i has left it; that one is as it was; but session 7 is at "
                                   "work on its table"),
        ({"may_drop": False}, "skipped", "an interrupted rebuild of public.i has left it; that one is as it was, and only its "
                                         "owner may drop it: DROP INDEX CONCURRENTLY public.i_ccnew as owner"),
    ],
)  # fmt: skip
def test_what_is_left(left: dict[str, Any], verdict: str | None, reason: str) -> None:
    old = assessed(TENTH)
    rest = assessed(oid=2, **{"name": "i_ccnew", "valid": False, "bytes": 8192, **left})
    by_target = {one.target: one for one in decide(old, rest)}
    assert (by_target[rest.index.target].verdict, by_target[rest.index.target].reason) == (verdict, reason)
    assert by_target["public.i"].verdict == "unchanged"


def test_no_further_try_while_what_the_last_one_left_cannot_go() -> None:
    rest = assessed(oid=2, name="i_ccnew", valid=False, may_drop=False)
    by_target = {one.target: one for one in decide(assessed(HALF), rest)}
    assert by_target["public.i"].verdict == "skipped"
    assert by_target["public.i"].reason == (f"{BLOATED}; what an earlier try has left has to go first: DROP INDEX CONCURRENTLY "
                                            "public.i_ccnew as owner")  # fmt: skip


def test_what_nobody_chose_and_what_is_small_are_not_told() -> None:
    assert decide(assessed(chosen=False, valid=False), assessed(bytes=MIB)) == []


def bloated(oid: int, name: str, size: int, share: float, known: Memory | None = None, **index: Any) -> Assessed:
    found = Bloat(size * MIB, round(size * MIB * (1 - share)), "exact", "high")
    return assessed(found, known, oid=oid, name=name, bytes=size * MIB, **index)


def test_the_most_urgent_first_then_most_bytes_won_per_second() -> None:
    some = [
        bloated(1, "large", 4000, 0.45),
        bloated(2, "worse", 100, 0.8),
        bloated(3, "slow", 4000, 0.9, Memory(100, rate=1e5)),
        bloated(4, "fast", 100, 0.5, Memory(100, rate=1e9)),
        assessed(TENTH, oid=5, name="sorted", collations=(("", "1", "2"),)),
        assessed(oid=6, name="invalid", valid=False),
        assessed(TENTH, oid=7, name="worse_ccnew", valid=False),
        replace(assessed(TENTH, oid=8, name="gin", method="gin"), pending=3 * MIB),
        bloated(9, "keyed", 100, 0.7, unique=True),
        bloated(10, "greater", 200, 0.7, unique=True),
        assessed(TENTH, oid=11, name="well"),
        bloated(12, "less", 100, 0.3),
    ]
    order = [
        "worse_ccnew",
        "invalid",
        "sorted",
        "gin",
        "fast",
        "worse",
        "large",
        "slow",
        "greater",
        "keyed",
        "less",
        "well",
    ]
    for ordered in (some, some[::-1]):
        assert [one.target.partition(".")[2] for one in decide(*ordered)] == order


def test_numbers_and_statements() -> None:
    (action,) = decide(assessed(HALF, Memory(100, rate=4.0 * MIB)))
    assert isinstance(action, Action)
    assert action.statements == ("REINDEX INDEX CONCURRENTLY public.i",)
    assert action.size == 40 * MIB
    assert action.numbers == {
        "bytes": 40 * MIB, "rows": 1_000_000, "bloat": 0.5, "fresh_bytes": 20 * MIB, "gain_bytes": 20 * MIB, "method": "exact",
        "confidence": "high", "threshold": 0.4, "min_gain": MIB, "needs_bytes": 20 * MIB, "wal_bytes": 20 * MIB,
        "expected_seconds": 10.0,
    }  # fmt: skip
    (unlogged,) = decide(assessed(HALF, persistence="u"))
    assert unlogged.numbers["wal_bytes"] == 0


@pytest.mark.parametrize(
    ("method", "changed", "heap", "confirmed"),
    [("estimate", 1, 10, True), ("baseline", 1, 10, True), ("estimate", 0, 10, False), ("exact", 1, 10, False),
     ("baseline", 1, 11, False)],
)  # fmt: skip
def test_where_statistics_decide_they_are_renewed_first(method: str, changed: int, heap: int, confirmed: bool) -> None:
    (action,) = decide(assessed(replace(HALF, method=method), changed=changed, heap=heap))
    assert isinstance(action, Action)
    assert action.payload.confirm == confirmed
    assert action.statements[:-1] == (("ANALYZE public.t",) if confirmed else ())


@pytest.mark.parametrize(
    ("effect", "reason"),
    [(Effect(gone=True), "an earlier step of this plan drops its table"),
     (Effect(rewritten=True), "an earlier step of this plan builds it anew"), (Effect(rows=1), BLOATED)],
)  # fmt: skip
def test_earlier_steps_in_check_mode(effect: Effect, reason: str) -> None:
    (decision,) = decide(assessed(HALF), context=Context(check=True, forecast={10: effect}))
    assert decision.reason == reason


@pytest.mark.parametrize(
    ("context", "done"),
    [
        (Context(check=False), True),
        (Context(check=False, history=False, history_note="history: false"), False),
        (Context(check=True, history=False, history_note="there is no history yet"), True),
        (Context(check=True, history=False, history_note="history: false"), False),
    ],
)
def test_without_a_history_nobody_would_know_of_a_collation(context: Context, done: bool) -> None:
    (decision,) = decide(assessed(collations=(("", "1", "2"),)), context=context)
    assert isinstance(decision, Action) == done
    assert done or decision.verdict == "skipped"


def test_a_run_that_leaves_it_out_counts() -> None:
    (decision,) = decide(assessed(HALF, Memory(100, failures=2, failed="no", skip=2)))
    assert isinstance(decision, Verdict)
    assert decision.state is not None
    assert decision.state["skip"] == 1


def test_what_was_seen_is_kept_when_it_is_new() -> None:
    one = replace(assessed(TENTH), memory=Memory(100, 30.0))
    (news,) = decide(one)
    (nothing,) = decide(replace(one, known=one.memory))
    assert isinstance(news, Verdict)
    assert isinstance(nothing, Verdict)
    assert news.state is not None
    assert (news.state["best"], nothing.state) == (30.0, None)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"bloat": 0.05}, "bloat: must be from 0.1 to less than 1"),
        ({"bloat": 1.0}, "bloat: must be from 0.1 to less than 1"),
        ({"bloat": float("nan")}, "bloat: must be from 0.1 to less than 1"),
        ({"bloat": 40.0}, "bloat: must be from 0.1 to less than 1"),
        ({"min_gain": -1}, "min_gain: a size is not negative"),
        ({"exact_limit": -1}, "exact_limit: a size is not negative"),
        ({"pending_list": 0.0}, "pending_list: must be more than 0"),
        ({"min_size": 5, "max_size": 4}, "min_size: it is more than max_size"),
        ({"indexes": []}, "indexes: is empty"),
        ({"indexes": ["a.b.c"]}, "indexes: 'a.b.c' has 3 parts"),
        ({"tables": ["a.b.c"]}, "tables: 'a.b.c' has 3 parts"),
        ({"exclude": ["x"]}, "exclude: it leaves out what include has"),
        ({"overrides": [{"match": "x", "bloat": 2.0}]}, "overrides[1].bloat: must be from 0.1"),
        ({"overrides": [{"match": "x"}]}, "overrides[1]: it changes nothing"),
        ({"quiet": {"not_before": "25:00", "not_after": "05:00"}}, "quiet.not_before: '25:00' is no time of day"),
        ({"quiet": {"not_before": "05:00", "not_after": "06:00", "timezone": "Nowhere"}}, "quiet.timezone: "),
    ],
)
def test_wrong_options(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionError) as caught:
        options(**given)
    assert [one[: len(fault)] for one in caught.value.errors] == [fault]


@pytest.mark.parametrize(
    ("given", "named", "needed"),
    [
        ({"tables": ["a"], "indexes": ["s.i"]}, ["a", "s.i"], [("a", "maintain", "rpm"), ("s.i", "own", "iI")]),
        ({"tables": None, "include": ["*"]}, [], [("", "maintain", "rpm")]),
    ],
)
def test_names_and_needs(given: dict[str, Any], named: list[str], needed: list[tuple[str, str, str]]) -> None:
    chosen = options(**given)
    assert list(reindex.names(chosen)) == named
    assert [(one.name, one.need, one.kinds) for one in reindex.needs(chosen)] == [*needed, ("", "measure", "")]
    assert reindex.jobs(chosen) == 1


@pytest.mark.parametrize(
    ("settings", "fillfactor", "room"),
    [
        ((), 90, 4 * MIB),
        (("fillfactor=70",), 70, 4 * MIB),
        (("fastupdate=off",), 90, 0),
        (("fastupdate=true", "gin_pending_list_limit=64"), 90, 64 << 10),
    ],
)
def test_storage_parameters(settings: tuple[str, ...], fillfactor: int, room: int) -> None:
    index = replace(INDEX, settings=settings)
    assert (index.fillfactor, index.pending_room) == (fillfactor, room)


@pytest.mark.parametrize(
    ("rate", "verdict", "reason"),
    [
        (1.0 * MIB, None, BLOATED),
        (0.001 * MIB, "skipped", f"{BLOATED}; it is expected to take 11 h 7 min, and its window closes in 2 h"),
    ],
)
def test_a_rebuild_that_would_outlast_its_window_is_not_begun(rate: float, verdict: str | None, reason: str) -> None:
    one = assessed(HALF, Memory(100, rate=rate), unique=True)
    quiet = {"not_before": "02:00", "not_after": "05:00"}
    (decision,) = decide(one, quiet=quiet)
    assert (decision.verdict, decision.reason) == (verdict, reason)
    (free,) = decide(replace(one, index=replace(one.index, unique=False)), quiet=quiet)
    assert isinstance(free, Action)


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("on", True), ("true", True), ("T", True), ("yes", True), ("1", True), ("off", False), ("of", False), ("f", False),
     ("FALSE", False), ("n", False), ("no", False), ("0", False)],
)  # fmt: skip
def test_switches_are_read_as_the_server_reads_them(value: str, enabled: bool) -> None:
    assert (
        replace(INDEX, settings=("fillfactor=50", f"deduplicate_items={value}")).is_on("deduplicate_items") == enabled
    )
    assert INDEX.is_on("deduplicate_items")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (working_name("some index"), True),
        (working_name("i", "t"), True),
        (working_name("i", "t", 1), True),
        (working_name("i" * 60), True),
        (working_name("i", "another"), False),
        ("i_new_00000000", False),
        ("i", False),
    ],
)
def test_what_the_operation_index_has_begun_is_left_to_it(name: str, ours: bool) -> None:
    (decision,) = decide(assessed(name=name, valid=False))
    assert (decision.verdict == "skipped") == ours
    assert ("the operation index has begun to build it" in decision.reason) == ours
