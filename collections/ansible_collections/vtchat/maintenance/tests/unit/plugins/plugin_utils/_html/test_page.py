# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages: no text becomes markup, nothing that may be missing is missed, and what is said is true."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html import glance, overview, page
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.words import FSI, PDI, name, seen, words

from .markup import Page, report_of

HOSTILE = (
    "<script>alert(1)</script>", "</style><style>*{display:none}</style>", "</title></svg><svg onload=alert(1)>",
    '" onmouseover="alert(1)" x="', "' style='color:red", "javascript:alert(1)", "{{ 7 * 7 }}{% raw %}", "<!-- -->",
    "]]><![CDATA[", "&lt;b&gt;", "<?php ?>",
    "\x00\x1b[31m\u202e\u2066", "a\r\nb\u2028c", "\ud800", "جدول", "שלום (12 %) עולם", "👩\u200d👧",
    "e\u0301" * 30, "x" * 63, "%00%3Cscript%3E", "https://example.org/", "data:text/html,x",
)  # fmt: skip
USUAL = Page(page(report_of("usual")))
strange = st.one_of(
    st.sampled_from(HOSTILE), st.text(min_size=1), st.lists(st.sampled_from(HOSTILE), min_size=1).map("".join)
)


@settings(max_examples=60, deadline=None)
@given(strange)
def test_no_text_becomes_an_element_an_attribute_a_style_or_a_link(text: str) -> None:
    """The page has the same elements and attributes as one with a harmless text, and nothing of it is left out."""
    found = Page(page(report_of(text)))
    assert found.shape == USUAL.shape
    assert found.links == USUAL.links
    assert found.style == USUAL.style
    shown = seen(text[:90]).replace(FSI, "").replace(PDI, "")
    assert found.text.count(shown) >= 40


@settings(max_examples=20, deadline=None)
@given(strange)
def test_an_overview_takes_any_text(text: str) -> None:
    told = [glance(report_of(text), f"{text}.html"), glance({"title": text, "unreachable": text}, "")]
    usual = [glance(report_of("usual"), "USUAL.html"), glance({"title": "usual", "unreachable": "usual"}, "")]
    found = Page(overview(told, "2026-11-25 13:05", text))
    assert found.shape == Page(overview(usual, "2026-11-25 13:05", "usual")).shape
    assert all(":" not in link and "/" not in link for link in found.links)


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "//example.org", "\\\\host\\x", " javascript:x", "vbscript:x"],
)
def test_a_link_leads_to_a_page_or_is_left_out(address: str) -> None:
    links = {"Bad": address, "Good": "all%20of%20them.html", "CI": "https://ci.example.org/1?a=1&b=2"}
    found = Page(page(report_of("usual"), links))
    assert [one for one in found.links if not one.startswith("#")] == [
        "all%20of%20them.html",
        "https://ci.example.org/1?a=1&b=2",
    ]


Dice = random.Random
JUNK: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "x",
    "2026-02-30",
    -1,
    0,
    2.5,
    1e300,
    -1e300,
    math.nan,
    math.inf,
    True,
    [None],
    {"x": None},
    [[]],
    [[1, 2]],
    [{}],
)


def spoiled(value: Any, dice: Dice, rate: float) -> Any:
    """The same with some of it replaced by something else."""
    if dice.random() < rate:
        return copy.deepcopy(dice.choice(JUNK))
    if isinstance(value, dict):
        return {key: spoiled(one, dice, rate) for key, one in value.items() if dice.random() >= rate / 4}
    return [spoiled(one, dice, rate) for one in value] if isinstance(value, list) else value


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.02, 0.1, 0.5]))
def test_whatever_is_missing_or_of_another_kind_there_is_a_page(dice: Dice, rate: float) -> None:
    found = spoiled(report_of("usual"), dice, rate)
    report = found if isinstance(found, dict) else {}
    Page(page(report))
    told = glance(report, "x.html")
    Page(overview([told, spoiled(told, dice, rate) or {}], "", ""))


def test_each_part_alone_may_be_empty() -> None:
    whole = report_of("usual")
    for key in whole:
        for nothing in JUNK[:4]:
            Page(page({**whole, key: nothing}))


def test_letters_from_right_to_left_move_nothing_beside_them() -> None:
    assert words("public.שלום (12 %)") == "public.<bdi>שלום</bdi> (12 %)"
    assert words("x שלום (12 %) עולם y") == "x <bdi>שלום (12 %) עולם</bdi> y"
    assert words("جدول") == "<bdi>جدول</bdi>"
    assert name("public.user_name") == "<bdi>public.<wbr>user_<wbr>name</bdi>"
    assert name("<b>.c__d") == "<bdi>&lt;b&gt;.c__d</bdi>"
    assert words("a\u202eb <i>") == "a\\u202eb &lt;i&gt;"
    assert words("naïve 😀") == "naïve 😀"


def test_a_database_that_cannot_be_reached_says_so_and_what_to_do() -> None:
    found = Page(page({**report_of("usual"), "unreachable": "password authentication failed"}))
    assert found.title == "Cannot be reached: usual"
    assert "password authentication failed" in found.text
    assert "What to do" in found.text
    assert "plans" not in found.ids


def test_a_database_that_was_not_asked_says_why() -> None:
    report = {**report_of("usual"), "not_asked": "an endpoint does the work"}
    found = Page(page(report))
    assert found.title == "Not asked: usual"
    assert "an endpoint does the work" in found.text
    assert "What to do" not in found.text
    all_of_them = Page(overview([glance(report, "x.html"), glance({"unreachable": "no route"}, "")], "", ""))
    assert "1 cannot be reached, 1 was not asked" in all_of_them.text
    assert "an endpoint does the work" in all_of_them.text


def test_a_page_without_anything_says_what_is_missing() -> None:
    found = Page(page({}))
    for said in ("Not known", "Nothing was checked", "Nothing is known of any plan", "No sizes have been recorded yet",
                 "No run has been recorded", "Nobody is known to have run it", "there are no runs to look at"):  # fmt: skip
        assert said in found.text, said


def test_made_up_runs_are_called_so() -> None:
    assert "Generated example." in Page(page(report_of("usual", 12))).text
    assert "12 runs of this history never happened" in Page(page(report_of("usual", 12))).text
    assert "Generated example." not in Page(page({**report_of("usual"), "generated_runs": 0})).text
    assert "Generated example." in Page(overview([glance(report_of("usual"), "a.html")], "", "")).text


def test_the_share_of_runs_that_did_their_work_is_one_number() -> None:
    """Skipped runs have not ended, and a run that failed only in what it looked at did its work."""
    plan = {"name": "weekly", "statuses": {"ok": 1, "failed": 5, "skipped": 5}, "good": 6, "ended": 6, "success": 1.0}
    found = Page(page({**report_of("usual"), "plans": [plan]})).text
    assert found.count("100\u00a0%") == 2
    assert "6 of 6 runs" in found
    assert "16.7" not in found


def test_an_overview_says_why_a_database_needs_attention() -> None:
    told = glance({"title": "new", "plans": [{"name": "hourly", "schedule": "every 1 h"}]}, "x.html")
    found = Page(overview([told], "2026-11-25 13:05", "Asia/Tokyo")).text
    assert "has not run yet" in found
    assert "Made 2026-11-25 13:05. Times are in Asia/Tokyo where they name no other zone." in found


def test_a_page_says_when_it_was_made_though_nobody_could_be_asked() -> None:
    told = {"title": "x", "unreachable": "no route", "generated_at": "2026-11-25 13:05", "timezone": "Asia/Tokyo"}
    assert "Made 2026-11-25 13:05. Times are in Asia/Tokyo where they name no other zone." in Page(page(told)).text


def test_what_is_meant_for_a_terminal_is_left_out() -> None:
    said = "1 redundant; 16 KiB in what can be dropped (-v tells of what is small as well)"
    found = Page(page({**report_of("usual"), "indexes": {"message": said}})).text
    assert "1 redundant; 16 KiB in what can be dropped" in found
    assert "-v" not in found


def test_growth_says_since_when() -> None:
    daily = [{"day": f"2026-11-{day:02}", "bytes": 2**30 + day * 2**20} for day in range(1, 26)]
    told = {
        "first_day": "2026-11-01",
        "last_day": "2026-11-25",
        "growth": {"database": daily, "tables": [{"week": None}]},
    }
    found = Page(page(told)).text
    assert "+7.0 MiB since 2026-11-18" in found
    assert "too early to tell" in found
