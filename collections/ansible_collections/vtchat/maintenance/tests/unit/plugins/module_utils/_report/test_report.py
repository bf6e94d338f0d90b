# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and programs read of a run: alignment, widths, hostile names, GitHub's formats."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _result
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import github, layout, model
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import text as report

SERVER = {"host": "db.example.com", "database": "vtchat", "version": "18.6", "provider": "neon"}
HOSTILE = "a\n::error::owned\r\x1b[31m\u202e\u2028##[error]\x85::stop-commands::x"


def action(outcome: str = "done", operation: str = "purge", target: str = "public.t", **more: Any) -> dict[str, Any]:
    base = {"step": 1, "operation": operation, "target": target, "outcome": outcome, "reason": "because", "rows": None}
    counted = {"counted_as": "purged"} if operation == "purge" else {}
    return {**base, "changed": outcome == "done", "seconds": None, "numbers": {}, "statements": [], **counted, **more}


def result(*actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"changed": True, "msg": "a message", "status": "ok", "plan": "hourly", "check_mode": False}
    base.update(seconds=1.43, server=SERVER, actions=list(actions), turns=9, warnings=[], invocation={"dsn": "s3cret"})
    return {**base, **more}


MIXED = result(
    action(
        target="public.sessions",
        rows=33320,
        seconds=1.12,
        reason="33\u202f320 rows expired before 2026-11-23 15:00:00 UTC; 12 batches",
        statements=["DELETE FROM\n  public.sessions"],
    ),
    action(
        "unchanged",
        "refresh",
        "public.user_subscription_summary",
        reason="nothing underneath changed since the refresh at 14:00:02 UTC",
    ),
    action(
        "deferred",
        "analyze",
        "public.users",
        reason="would take about 40 s and 12 s of the budget are left; goes first in the next run",
    ),
    action("failed", "analyze", "public.user_subscriptions", seconds=0.003, reason="permission denied"),
    status="failed",
)


def texts(run: dict[str, Any], columns: int = 79, verbose: bool = False) -> list[str]:
    return [line.text for line in report.run_lines("production", run, columns, verbose)]


def test_a_run_as_a_person_reads_it() -> None:
    assert texts(MIXED) == [
        "hourly on production: failed in 1.4 s (vtchat, PostgreSQL 18.6, neon)",
        "  done       purge    public.sessions                   33\u202f320 rows  1.1 s",
        "             33\u202f320 rows expired before 2026-11-23 15:00:00 UTC; 12 batches",
        "  unchanged  refresh  public.user_subscription_summary",
        "             nothing underneath changed since the refresh at 14:00:02 UTC",
        "  DEFERRED   analyze  public.users",
        "             would take about 40 s and 12 s of the budget are left; goes first",
        "             in the next run",
        "  FAILED     analyze  public.user_subscriptions                       3 ms",
        "             permission denied",
    ]


def test_reasons_stand_beside_the_numbers_where_all_of_them_fit() -> None:
    wide = texts(MIXED, columns=160)
    assert len(wide) == 5
    reasons = [str(each["reason"]) for each in MIXED["actions"]]
    assert [line.find(reason) for line, reason in zip(wide[1:], reasons)] == [76] * 4


def test_a_reason_that_does_not_fit_stands_below_while_most_stand_beside() -> None:
    rows = [action(target=f"public.t{number}") for number in range(3)] + [action(reason="long " * 20)]
    lines = texts(result(*rows))[1:]
    assert [line.endswith("because") for line in lines[:3]] == [True] * 3
    assert [line.split() for line in lines[3:]] == [["done", "purge", "public.t"], ["long"] * 13, ["long"] * 7]


def test_every_line_has_the_colour_of_its_outcome() -> None:
    kinds = [line.kind for line in report.run_lines("production", MIXED)]
    assert kinds == ["failed", "done", "done", "unchanged", "unchanged"] + ["deferred"] * 3 + ["failed"] * 2


@pytest.mark.parametrize("outcome", _result.OUTCOMES)
def test_each_outcome_is_a_word_and_loud_ones_are_capitals(outcome: str) -> None:
    line = texts(result(action(outcome)))[1]
    assert line.split()[0] == (outcome.upper() if outcome in model.LOUD else outcome)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"rows": 33320}, "33\u202f320 rows"),
        ({"rows": 1}, "1 row"),
        ({"rows": 0}, "0 rows"),
        ({"rows": 0, "outcome": "unchanged"}, ""),
        ({"rows": True}, ""),
        ({"numbers": {"bytes_before": 900 * 1024**2, "bytes_after": 520 * 1024**2}}, "-380 MiB"),
        ({"numbers": {"bytes_before": 5, "bytes_after": 5}}, ""),
        ({"numbers": {"bytes": 2048}}, "2.0 KiB"),
        ({"numbers": {"bytes_before": None, "bytes_after": 5}}, ""),
        ({"numbers": None}, ""),
        ({}, ""),
    ],
)
def test_amount(more: dict[str, Any], expected: str) -> None:
    assert model.amount({**action(), **more}) == expected


@pytest.mark.parametrize(
    "target",
    [
        "public." + "x" * 63,
        '"' + "日本語" * 7 + '"."' + "テーブル" * 5 + '"',
        "public." + "e\u0301" * 31,
        "public." + ":" * 200,
        "public." + "a::" * 60,
        "public." + "\x1b[31m" * 12,
        HOSTILE,
    ],
)
@pytest.mark.parametrize("columns", [60, 79, 100])
@pytest.mark.parametrize("verbose", [False, True])
def test_long_and_wide_names_fit_and_leave_the_others_aligned(target: str, columns: int, verbose: bool) -> None:
    rows = [action(target=name, rows=12345, seconds=200, reason=name * 3) for name in ("public.a", target, "public.b")]
    lines = texts(result(*rows), columns, verbose)
    assert max(layout.width(line) for line in lines) <= columns
    short = [line for line in lines if " public.a " in line or " public.b " in line]
    assert len(short) >= 2
    assert {layout.width(line[: line.index("12\u202f345 rows")]) for line in short if "12\u202f345" in line} == {
        layout.width(short[0][: short[0].index("12\u202f345 rows")])
    }


def test_numbers_of_a_wide_name_stand_in_the_column_of_the_others() -> None:
    lines = texts(result(action(target="public.users", rows=7), action(target="日本語テーブル", rows=7)))
    assert len({layout.width(line[: line.index("7 rows")]) for line in lines if "7 rows" in line}) == 1


@pytest.mark.parametrize("field", ["target", "reason", "operation", "outcome"])
def test_nothing_in_a_database_can_write_a_line_or_a_command(field: str) -> None:
    run = result({**action("failed"), field: HOSTILE}, plan=HOSTILE, msg=HOSTILE, server={"database": HOSTILE})
    lines = texts(run, verbose=True) + [line.text for line in report.totals_lines([(HOSTILE, run)])]
    lines.append(report.progress_line(HOSTILE, HOSTILE, 1.0))
    assert_harmless(lines)
    assert "\\n" in "".join(lines)
    assert "\\x1b" in "".join(lines)


@pytest.mark.parametrize("length", range(30, 90))
def test_no_wrapped_line_begins_with_a_command(length: int) -> None:
    reason = "x" * length + "::error::y z ::error::a " + "::" * 70 + " " + ":" * 90
    assert_harmless(texts(result(action(reason=reason))))


def assert_harmless(lines: list[str]) -> None:
    for line in lines:
        assert len(line.splitlines()) == 1
        assert not line.strip().startswith("::")
        assert "##[" not in line
        assert "\x1b" not in line
        assert "\u202e" not in line


def test_statements_and_turns_only_when_verbose() -> None:
    quiet, verbose = "\n".join(texts(MIXED)), "\n".join(texts(MIXED, verbose=True))
    assert "DELETE" not in quiet
    assert "round trips" not in quiet
    assert "SQL: DELETE FROM public.sessions" in verbose
    assert "with 9\n    round trips" in verbose


def test_invocation_is_never_shown() -> None:
    everything = [*texts(MIXED, verbose=True), github.markdown([("h", MIXED)])]
    assert "s3cret" not in "".join(everything + [text for _level, text in github.commands("h", MIXED)])


def test_check_mode_says_that_nothing_was_changed() -> None:
    run = result(action("planned", rows=5), check_mode=True)
    assert texts(run)[:2] == [
        "hourly on production: check mode, nothing was changed (vtchat, PostgreSQL 18.6,",
        "    neon)",
    ]
    assert model.summed([("a", run)]).text == (
        "1 database in check mode: 1 planned, 0 unchanged, 0 failed; nothing was changed"
    )


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"status": "skipped", "msg": "another run holds the lock since 14:59"}, True),
        ({"status": "failed", "msg": "connection refused"}, True),
        ({"status": "ok", "msg": "all well"}, False),
        ({"status": "failed", "msg": "1 failed", "actions": [action("failed")]}, False),
    ],
)
def test_the_message_is_shown_where_no_target_says_it(more: dict[str, Any], shown: bool) -> None:
    assert (more["msg"] in "\n".join(texts(result(**more)))) is shown


def test_missing_and_odd_values_do_not_break_the_report() -> None:
    odd = {
        "actions": [None, "x", {}, {"rows": "many", "seconds": "long", "statements": 5}],
        "status": None,
        "plan": None,
    }
    assert texts(odd)[0] == "maintenance on production: ?"
    assert github.markdown([("h", odd)])
    assert report.totals_lines([("h", odd)])
    assert texts({"actions": None, "status": "ok", "plan": "p", "server": "?", "warnings": 3}) == [
        "p on production: ok"
    ]


def test_thousands_that_nothing_happened_to_are_one_row_a_reason() -> None:
    dead = [action("unchanged", "vacuum", f"public.t{number}", reason=f"{number} dead rows, below the threshold of 1\u202f000")
            for number in range(5000)]  # fmt: skip
    small = [action("unchanged", "reindex", f"public.i{number}", reason=f"its {number / 7:.1f} KiB are too little")
             for number in range(6)]  # fmt: skip
    few = [action("unchanged", "reindex", f"public.j{number}", reason="no index is bloated") for number in range(5)]
    shown = model.rows(result(*dead[:10], action(), *dead[10:], *small, *few))
    assert [(row.operation, row.target, row.reason) for row in shown[:3]] == [
        ("vacuum", "5\u202f000 targets", "such as public.t0: 0 dead rows, below the threshold of 1\u202f000"),
        ("purge", "public.t", "because"),
        ("reindex", "6 targets", "such as public.i0: its 0.0 KiB are too little"),
    ]
    assert [row.target for row in shown[3:]] == [f"public.j{number}" for number in range(5)]
    assert len(model.rows(result(*dead), verbose=True)) == 5000


@pytest.mark.parametrize(
    ("outcome", "amount"), [("done", "8.0 KiB"), ("planned", "8.0 KiB"), ("unchanged", ""), ("skipped", "")]
)
def test_a_size_is_told_of_what_changed_only(outcome: str, amount: str) -> None:
    assert model.amount(action(outcome, "reindex", numbers={"bytes": 8192})) == amount


def test_totals() -> None:
    runs = [("a", MIXED), ("b", result(action("unchanged"))), ("b", result(status="skipped"))]
    line = model.summed(runs)
    assert line.kind == "failed"
    assert line.text == (
        "2 databases: 1 done, 2 unchanged, 1 deferred, 1 failed; 33\u202f320 rows purged in 1.1 s; 1 run skipped"
    )
    pages = [(host, {**result(action("done", "report")), "module": "report"}) for host in ("a", "b")]
    pages += [("a", {**result(action("done", "report")), "module": "report_overview"})]
    assert model.summed(pages).text == "3 pages: 3 done, 0 unchanged, 0 failed"
    broken = [("a", {**result(status="failed", msg="days: no"), "module": "report"})]
    assert model.summed(broken, 1) == ("1 run broke off; 1 host failed without a result", "failed")
    idle = model.summed([("b", result(action("unchanged")))])
    assert idle == ("1 database: 0 done, 1 unchanged, 0 failed", "unchanged")


def test_totals_count_a_run_that_failed_without_a_target_and_its_database_once() -> None:
    broken = result(status="failed", msg="connection refused", server={})
    assert model.summed([("a", broken), ("a", MIXED)]).text.endswith("; 1 run broke off")
    assert model.summed([("a", broken), ("a", MIXED)]).text.startswith("1 database:")
    assert model.summed([("a", broken), ("b", MIXED)]).text.startswith("2 databases:")
    assert model.summed([("a", broken)]).kind == "failed"


@pytest.mark.parametrize(("outcome", "kind"), [("contended", "deferred"), ("deferred", "deferred"), ("done", "done")])
def test_colour_of_the_totals(outcome: str, kind: str) -> None:
    assert model.summed([("a", result(action(outcome)))]).kind == kind


def test_progress_line() -> None:
    assert report.progress_line("public.sessions", "10 rows so far", 12) == "  public.sessions: 10 rows so far, 12 s"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("日本語", 6), ("\uff46\uff55", 4), ("\uff71", 1), ("e\u0301", 1), ("é", 1), ("1\u202f000", 5)],
)
def test_width(text: str, columns: int) -> None:
    assert layout.width(text) == columns
    assert layout.width(layout.pad(text, 20)) == 20
    assert layout.pad(text, 20, right=True).endswith(text)


def test_workflow_command_escapes() -> None:
    assert github._command("1%\r\n:,") == "1%25%0D%0A:,"
    assert github._command("1%\r\n:,", in_property=True) == "1%25%0D%0A%3A%2C"


def test_annotation_is_escaped_as_github_unescapes_it() -> None:
    assert github.annotation("error", "50%: a, b", "100%, yes: c\r\nd") == (
        "::error title=50%25%3A a%2C b::100%25, yes: c\\r\\nd"
    )


def test_annotations_for_what_needs_a_look() -> None:
    run = result(
        action("failed"), action("contended"), action("deferred"), action(), action("unchanged"), warnings=["w"]
    )
    assert [level for level, _text in github.commands("h", run)] == [
        "error",
        "warning",
        "warning",
        "warning",
    ]
    stopped = result(status="failed", msg="connection refused")
    assert github.commands("h", stopped) == [("error", "::error title=hourly failed on h::connection refused")]


def test_markdown_shows_names_literally() -> None:
    text = github.markdown(
        [("h", result(action(target="a|b`<img src=x>` _c_ d_e *f* [g](h) &lt; $x$", reason=HOSTILE)))]
    )
    row = next(line for line in text.splitlines() if line.startswith("| done"))
    assert row.count("|") == 7
    assert "d_e" in row
    for sign in ("<", ">", "`", "*", "[", "_c_", "&lt;", "$"):
        assert sign not in row


def test_markdown_is_cut_at_the_limit_with_a_note() -> None:
    runs = [(f"h{number}", result(*[action(target="日" * 60) for _ in range(100)])) for number in range(5)]
    text = github.markdown(runs, limit=20_000)
    assert len(text.encode()) <= 20_000
    shown = text.count("| done |")
    assert 10 < shown < 500
    assert re.search(rf"\n{500 - shown} more targets( and \d more runs?)? did not fit; the log shows them\.\n$", text)
    assert "did not fit" not in github.markdown(runs)
    assert github.markdown(runs, limit=10) == ""
