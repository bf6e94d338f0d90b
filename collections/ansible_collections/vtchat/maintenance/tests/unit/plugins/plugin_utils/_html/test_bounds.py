# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A page has a size that mails and browsers take, whatever a database says and however much there is of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import CHECKS
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import bounds, glance, overview, page, render
from tests import pages

from .markup import Page

MOST = 300_000
LEVELS = ("critical", "warning", "unknown")


def every_check_is_bad(number: int = 21, said: str = "much of it is bad") -> dict[str, Any]:
    """So many findings of each check, with evidence."""
    evidence = {"unit": "percent", "bytes": 2**40, "tables": [f"public.table_{one}" for one in range(50)]}
    found = [
        pages.finding(check.id, LEVELS[place % 3], f"public.{check.id}_{one}", said, value=90.0, threshold=50.0,
                      evidence=evidence, advice=f"{said};\n" * 3, meaning=said)
        for place, check in enumerate(CHECKS) for one in range(number)
    ]  # fmt: skip
    return pages.report(health=pages.health(*found), indexes={"findings": found, "drop": "", "undo": ""})


def every_run_fails() -> dict[str, Any]:
    made = pages.report()
    action = {"operation": "refresh", "target": "public.a_view_with_a_long_name", "outcome": "failed", "offset": 1.0,
              "seconds": 2.0, "rows": None}  # fmt: skip
    run = {**made["runs"][0], "status": "failed", "totals": {"failed": 30}, "actions": [action] * 30}
    days = [{**day, "statuses": {"ok": 3, "failed": 20, "abandoned": 1}} for day in made["plans"][0]["days"]]
    return {**made, "runs": [run] * 50, "plans": [{**made["plans"][0], "days": days, "last_status": "failed"}] * 12}


def many_plans(number: int, letters: int) -> dict[str, Any]:
    made = pages.report()
    hourly = made["plans"][0]
    missed = [{**day, "expected": 100} for day in hourly["days"]]
    return {**made, "plans": [{**hourly, "name": f"{one:05}" + "n" * letters, "days": missed} for one in range(number)]}


def longer(value: Any, text: str) -> Any:
    """The same with each text that is no moment or word followed by another one."""
    if isinstance(value, dict):
        return {key: one if key in pages.CONTRACT else longer(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [longer(one, text) for one in value]
    return value + text if isinstance(value, str) else value


def large() -> Iterator[Any]:
    yield pytest.param(every_check_is_bad(), id="every check is bad")
    yield pytest.param(every_check_is_bad(3, "x" * 5000), id="every check says much")
    yield pytest.param(every_run_fails(), id="every run fails")
    yield pytest.param(
        {**every_check_is_bad(), **{key: every_run_fails()[key] for key in ("plans", "runs")}}, id="both"
    )
    yield pytest.param(many_plans(12, 5), id="12 plans")
    yield pytest.param(many_plans(250, 10_000), id="250 plans with long names")
    for name, text in {"messages": "m" * 20_000, "markup": "<&\"'" * 5000, "letters both ways": "aא" * 5000,
                       "controls": "\u202e" * 9000, "emoji": "😀" * 9000}.items():  # fmt: skip
        yield pytest.param(longer(pages.troubled(), text), id=name)
    entries = pages.report()["undone"]["entries"] * 5000
    finding = pages.health()["findings"][0]
    lists = {
        "undone": {"entries": entries, "more": 7},
        "alerts": pages.report()["alerts"] * 5000,
        "who": pages.report()["who"] * 5000,
        "notes": ["something is missing"] * 5000,
        "runs": pages.report()["runs"] * 100,
        "operations": pages.report()["operations"] * 1000,
        "health": {"findings": [{**finding, "check": f"check-{one}"} for one in range(5000)]},
    }
    for name, value in lists.items():
        yield pytest.param({**pages.report(), name: value}, id=f"long {name}")
    growth = pages.report()["growth"]
    for key in ("tables", "bloat", "forecast"):
        yield pytest.param(
            pages.report(growth={**growth, key: growth[key] * 10 * (1 if key == "tables" else 50)}),
            id=f"long growth.{key}",
        )


@pytest.mark.parametrize("report", [*large()])
def test_a_page_is_below_300_kilobytes(report: dict[str, Any]) -> None:
    text = page(report)
    assert len(text.encode()) < MOST
    assert Page(text).title
    assert len(str(glance(report, "x.html"))) < 5000


def test_a_page_that_was_shortened_says_so_and_its_report_is_as_before() -> None:
    told = every_check_is_bad(3, "<" * 5000)
    before = copy.deepcopy(told)
    assert render.SHORTENED not in page(pages.report())
    assert render.SHORTENED in page(told)
    assert told == before


@pytest.mark.parametrize(("number", "letters"), [(300, 5), (5000, 5), (300, 10_000)])
def test_an_overview_is_below_300_kilobytes(number: int, letters: int) -> None:
    some = glance({**pages.troubled(), "plans": many_plans(20, letters)["plans"]}, "x.html")
    text = overview([{**some, "title": f"{one}" + "t" * letters} for one in range(number)], "2026-11-25 13:05", "UTC")
    assert len(text.encode()) < MOST
    rows = sum(1 for tag, names in Page(text).shape if tag == "tr" and "role" in names) - 1
    assert rows == number or f"{number - rows:,}".replace(",", "\u202f") + " more databases" in Page(text).text


def test_of_a_long_text_only_the_beginning_is_anywhere() -> None:
    made = pages.report(notes=["a" * 250 + "b" * 10_000 + "c"])
    assert "a" * 250 + "b" * 49 + "…" in page(made)
    assert "bc" not in page(made)


@given(st.text(max_size=400), st.integers(1, 400))
def test_a_text_is_cut_where_it_says_so(text: str, longest: int) -> None:
    found = bounds.cut(text, longest)
    assert len(found) <= max(longest, bounds.SHORTEST)
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))


STATEMENT = "-- why\nDROP INDEX CONCURRENTLY public.i;\n"


@pytest.mark.parametrize(
    "text", [STATEMENT * 2000, "CREATE INDEX i ON t (a)\n  WHERE b;\n" * 2000, "x" * 90_000, "\n" * 90_000]
)
def test_no_statement_of_a_script_is_cut_in_two(text: str) -> None:
    found = bounds.script(text, bounds.SCRIPT)
    kept, left, rest = found.partition("-- ") if not text.startswith("-- why") else found.rpartition("-- ")
    assert len(found) <= bounds.SCRIPT + 200
    assert left
    assert text.startswith(kept.rstrip("\n"))
    assert kept.strip() == "" or kept.rstrip().endswith(";")
    assert re.match(r"\d+ more lines are left out here", rest)


def test_letters_of_the_style_are_as_large_as_the_reader_likes_them() -> None:
    """Where it is not print. Letters of a drawing are as large as the drawing is."""
    style = (Path(render.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8").partition("@page")[0]
    found = re.findall(r"font(?:-size)?:[^;}]*px", style)
    assert found == ["font-size: 12px"]
    for drawing in (".calendar { height", ".spark { width", ".stack { width", ".chart { width: 100%; max-width"):
        assert re.search(re.escape(drawing) + r": [\d.]+rem", style), drawing
