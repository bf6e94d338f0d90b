# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Charts: every point is where it belongs, and nothing is outside of its drawing."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import drawing, scales, squares
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.drawing import CHART, LANES, SPARK, Box, Chart
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.words import OUTCOMES, STATUSES

FIRST = date(2026, 8, 28)
Points = list[tuple[date, float | None]]

sizes = st.one_of(st.none(), st.just(0.0), st.just(7.0), st.floats(0, 1e19))
series = st.dictionaries(st.integers(0, 89), sizes, max_size=90).map(
    lambda found: [(FIRST + timedelta(days=day), value) for day, value in found.items()]
)


def on(days: int) -> date:
    return FIRST + timedelta(days=days)


def corners(path: str) -> list[tuple[float, float]]:
    """The points that the pen is at; of the commands that are used here."""
    found, x, y = [], 0.0, 0.0
    for command, text in re.findall(r"([MLHVhvz])([^MLHVhvz]*)", path):
        numbers = [float(one) for one in text.split()]
        if command in "ML":
            x, y = numbers
        elif command in "hH":
            x = numbers[0] + (x if command == "h" else 0)
        elif command in "vV":
            y = numbers[0] + (y if command == "v" else 0)
        found.append((x, y))
    return found


def inside(box: Box, path: str) -> bool:
    slack = 0.2  # what rounding to a decimal adds up to
    return all(
        box.left - slack <= x <= box.right + slack and box.top - slack <= y <= box.bottom + slack
        for x, y in corners(path)
    )


def all_inside(chart: Chart) -> bool:
    ticks = [tick.at for tick in chart.ticks]
    days = [tick.at for tick in chart.days]
    return (
        all(inside(CHART, one.path) and inside(CHART, one.dots) for one in chart.drawn)
        and all(CHART.top <= one <= CHART.bottom for one in ticks)
        and all(CHART.left <= one <= CHART.right for one in days)
        and ticks == sorted(ticks, reverse=True)
        and (chart.limit is None or CHART.top <= chart.limit[0] <= CHART.bottom)
    )


@given(
    series, series, st.one_of(st.none(), st.floats(0, 1e19)), st.sampled_from([scales.BYTES, scales.SECONDS, "rows"])
)
def test_lines_stay_inside(one: Points, other: Points, limit: float | None, kind: str) -> None:
    chart = drawing.lines("Some", FIRST, on(89), kind, {"one": one, "other": other}, limit=limit, limit_name="budget")
    known = [value for _day, value in [*one, *other] if value is not None]
    assert (chart is None) == (not known)
    if chart:
        assert all_inside(chart)
        assert (chart.limit is not None) + bool(chart.beyond) == (limit is not None)
        assert chart.about.endswith(".")


@given(series, series)
def test_bars_stay_inside_and_whatever_is_not_zero_has_one(one: Points, other: Points) -> None:
    chart = drawing.bars("Some", FIRST, on(89), "rows", {"one": one, "other": other})
    if chart is None:
        assert all(value is None for _day, value in [*one, *other])
        return
    assert all_inside(chart)
    for drawn, points in zip(chart.drawn, (one, other), strict=True):
        assert drawn.path.count("M") == sum(1 for _day, value in points if value)


def test_values_are_in_their_places() -> None:
    chart = drawing.lines(
        "Size", FIRST, on(10), scales.BYTES, {"all": [(FIRST, 0.0), (on(5), 2**30), (on(10), 2 * 2**30)]}
    )
    assert chart
    middle = ((CHART.left + CHART.right) / 2, (CHART.top + CHART.bottom) / 2)
    assert corners(chart.drawn[0].path) == [(CHART.left, CHART.bottom), middle, (CHART.right, CHART.top)]
    assert [tick.label for tick in chart.ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert chart.unit == "GiB"
    assert chart.about == "all 0 B on 2026-08-28, 2.0 GiB on 2026-09-07, at most 2.0 GiB on 2026-09-07."


def test_one_point_is_a_dot_and_gaps_are_no_zeros() -> None:
    chart = drawing.lines("Size", FIRST, FIRST, "rows", {"rows": [(FIRST, 5.0)]})
    assert chart
    assert (chart.drawn[0].path, corners(chart.drawn[0].dots)[0][0]) == ("", (CHART.left + CHART.right) / 2)
    gaps = drawing.lines("Size", FIRST, on(2), "rows", {"rows": [(FIRST, 5.0), (on(1), None), (on(2), 5.0)]})
    assert gaps
    assert len(corners(gaps.drawn[0].path)) == 2


def test_a_budget_far_above_is_told_instead_of_drawn() -> None:
    points = {"median": [(FIRST, 1.0), (on(1), 2.0)]}
    far = drawing.lines("Time", FIRST, on(1), scales.SECONDS, points, limit=300.0, limit_name="budget")
    near = drawing.lines("Time", FIRST, on(1), scales.SECONDS, points, limit=4.0, limit_name="budget")
    assert far
    assert near
    assert (far.limit, far.beyond) == (None, "budget 5 min")
    assert near.limit
    assert (near.limit[1], near.beyond) == ("budget 4.0 s", "")
    assert "budget 5 min" in far.about


@given(series)
def test_sparks_stay_inside_and_are_short(points: Points) -> None:
    spark = drawing.spark("Size", points)
    assert (spark is None) == all(value is None for _day, value in points)
    if spark:
        assert inside(SPARK, spark.path)
        assert len(corners(spark.path)) <= drawing.SPARK_POINTS + 1


def test_a_change_of_one_percent_looks_small() -> None:
    spark = drawing.spark("Size", [(FIRST, 100.0), (on(1), 101.0)])
    assert spark
    (_x, first), (_y, last) = corners(spark.path)
    assert 0 < first - last < (SPARK.bottom - SPARK.top) / 4


@given(st.dictionaries(st.sampled_from([*OUTCOMES, "another"]), st.integers(-1, 10**9)))
def test_shares_fill_the_bar_and_what_occurs_is_seen(found: dict[str, int]) -> None:
    segments = drawing.stack(found, OUTCOMES)
    assert {one.word for one in segments} == {name for name, times in found.items() if times > 0}
    if segments:
        assert sum(one.width for one in segments) == pytest.approx(100, abs=0.1)
        assert all(one.width >= 1.99 for one in segments)
        assert segments[0].start == 0


times = st.one_of(st.none(), st.floats(-10, 1e6))


@given(st.lists(st.tuples(st.sampled_from(sorted(OUTCOMES)), times, times), max_size=30), times)
def test_actions_stay_inside_of_their_run(
    actions: list[tuple[str, float | None, float | None]], seconds: float | None
) -> None:
    drawn = drawing.timeline(actions, seconds)
    box = Box(LANES.left, LANES.top, LANES.right, int(drawn.height) + 1)
    assert all(inside(box, path) for _outcome, path in drawn.paths)
    assert sum(path.count("M") for _outcome, path in drawn.paths) == len(actions) == len(drawn.lanes)


statuses = st.dictionaries(st.sampled_from(sorted(STATUSES)), st.integers(1, 5000), max_size=4)


@given(st.dictionaries(st.integers(-3, 95), statuses), st.integers(0, 366))
def test_a_calendar_has_each_day_once_and_never_hides_a_failed_run(
    days: dict[int, dict[str, int]], length: int
) -> None:
    told = {on(day): squares.Day(found, sum(found.values())) for day, found in days.items()}
    made = squares.calendar("Runs", FIRST, on(length), told, most=400)
    assert len(made.squares) == length + 1
    assert len({(one.x, one.y) for one in made.squares}) == length + 1
    for number, one in enumerate(made.squares):
        found = days.get(number, {})
        assert (one.status == "failed") == ("failed" in found)
        assert (one.status == "") == (not found)
        assert one.x + squares.SIDE <= made.width
        assert one.y + squares.SIDE <= made.height
        if "failed" in found:
            assert f"{found['failed']:,} failed".replace(",", "\u202f") in one.about
    assert sum(group.face.count("M") for group in made.groups) == length + 1
    some = squares.calendar("Runs", FIRST, on(length), told, most=3)
    assert sum(1 for one in some.squares if one.about) <= 3
    assert len(some.groups) <= 3 + len(STATUSES) + 1
    assert sum(group.face.count("M") for group in some.groups) == length + 1


def test_runs_that_did_not_come_leave_a_part_of_the_square_empty() -> None:
    days = {
        on(0): squares.Day({"ok": 24}, 24), on(1): squares.Day({"ok": 6, "missed": 18}, 24),
        on(2): squares.Day({"missed": 24}, 24), on(3): squares.Day({"ok": 20, "failed": 1, "missed": 3}, 24),
    }  # fmt: skip
    made = squares.calendar("Runs", FIRST, on(3), days)
    assert [one.status for one in made.squares] == ["ok", "missed", "missed", "failed"]
    assert [one.about.partition(": ")[2] for one in made.squares] == [
        "", "6 ok, 18 of 24 missed", "24 of 24 missed", "20 ok, 1 failed, 3 of 24 missed",
    ]  # fmt: skip
    _whole, part, none, _failed = made.groups
    y = made.squares[1].y
    assert [y for _x, y in corners(part.upon)] == [y + 12, y + 12, y + 16, y + 16, y + 16]
    assert none.upon == ""
    assert made.about == "4 days, each by its worst run: 1 ok, 2 missed, 1 failed."


@given(series, st.integers(-40, 0), st.integers(1, 40))
def test_days_that_a_wrong_clock_has_made_are_not_drawn_on_others(points: Points, before: int, after: int) -> None:
    odd: Points = [(on(before - 1), 7e18), (on(89 + after), 7e18)]
    for draw in (drawing.lines, drawing.bars):
        assert draw("Some", FIRST, on(89), "rows", {"one": [*points, *odd]}) == draw(
            "Some", FIRST, on(89), "rows", {"one": points}
        )


def test_a_calendar_begins_on_mondays() -> None:
    made = squares.calendar("Runs", date(2026, 11, 25), date(2026, 12, 1), {date(2026, 11, 30): squares.Day({"ok": 3})})
    assert [(int(one.x - squares.LEFT) // 19, int(one.y - squares.TOP) // 19) for one in made.squares] == [
        (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 0), (1, 1),
    ]  # fmt: skip
    assert made.about == "7 days, each by its worst run: 1 ok, 6 without a run."
    assert [month.label for month in made.months] == ["Dec"]
