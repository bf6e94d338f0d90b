# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The summary of a job: the worst first, how it went before, differences; nothing that comes from a database acts on the page."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ansible_collections.vtchat.maintenance.plugins.module_utils._clean import clean
from ansible_collections.vtchat.maintenance.plugins.module_utils._origin import run_link
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import differences, github, trend

PAGE = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "a|b", "`code`", "<img src=x onerror=alert(1)>", "</details></td></table>", "[a](https://evil.example)", "![a](b)",
    "**b**", "__b__ _i_", "~~s~~", "# heading", "- item", "> quote", "1. one", "a\\", "\\|", "&lt;b&gt;", "&#64;x", "$x^2$",
    "@somebody", "@org/team", "someone@example.com", "#1", "org/repo#12", "https://evil.example/a?b", "www.evil.example",
    ":tada:", "```", "~~~", "<!-- x", "]]>", "::error::x", "a::error::x", "##[group]x", "a\nb", "\r\n::set-output", "\x1b[31m",
    "\u202eabc", "[^1]", "<https://evil.example>", "| --- |", "***", "---", "a  \nb",
]  # fmt: skip


def action(outcome: str = "done", target: str = "public.t", reason: str = "because", **more: Any) -> dict[str, Any]:
    return {"operation": "purge", "target": target, "outcome": outcome, "reason": reason, **more}


def finding(level: str, subject: str = "vtchat") -> dict[str, Any]:
    return {"check": "freeze-age", "subject": subject, "level": level, "message": "it is old", "advice": "VACUUM"}


def result(*actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"status": "ok", "plan": "hourly", "server": {"database": "vtchat"}, "seconds": 1.2}
    return {**known, "actions": list(actions), **more}


def tokens(text: str) -> list[Token]:
    found = PAGE.parse(text)
    return [*found, *(child for token in found for child in token.children or ())]


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, each cell as a person reads it."""
    rows: list[list[str]] = []
    for token in PAGE.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level > 3:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def acts(text: str) -> set[str]:
    """What a page would do beyond showing letters, a heading, tables, and words in bold."""
    plain = {"text", "inline", "softbreak", "strong_open", "strong_close", "text_special"}
    blocks = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item"}
    return (
        {token.type for token in tokens(text)}
        - plain
        - {f"{name}_{end}" for name in blocks for end in ("open", "close")}
    )


def read(text: str) -> str:
    """A text from the page as it was before links were broken."""
    return " ".join(text.replace("\u200b", "").split())


def check_literal(name: str) -> None:
    told = result(action(target=name, reason=name, status="failed"), plan=name, msg=name, warnings=[name], due=name)
    text = github.markdown([(name, {**told, "status": "failed", "actions": []}), (name, told)],
                           failures=[github.Failure(name, name, name)])  # fmt: skip
    assert acts(text) == set(), text
    [_header, row] = cells(text)
    assert [read(row[number]) for number in (2, 5)] == [" ".join(clean(name).split())] * 2
    shown = "\n".join(token.content for token in tokens(text) if token.type == "text")
    assert not re.search(r"@\w|#\d|://|(?<!\w)www\.\w|:[a-z]+:", shown), shown


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(name: str) -> None:
    check_literal(f"x{name}x")
    check_literal(f"x {name}")


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=30), st.lists(st.sampled_from(HOSTILE), max_size=3))
def test_any_name_is_shown_and_does_nothing(text: str, pieces: list[str]) -> None:
    check_literal("x" + text + " ".join(pieces))


def test_the_worst_first() -> None:
    runs = [
        ("skipped", result(status="skipped", msg="not due")),
        ("fine", result(action("unchanged", target="i"), action("done", target="d"), action("planned", target="p"))),
        ("warned", result(action("done"), warnings=["No history"])),
        ("late", result(action("done", target="x"), action("deferred", target="y"), status="partial")),
        ("ill", result(findings=[finding(level, level[0]) for level in ("unknown", "warning", "critical", "info")])),
        ("broken", result(*[action(outcome, target=outcome) for outcome in ("done", "contended", "failed")], status="failed")),
        ("other", result(action("done"))),
    ]  # fmt: skip
    text = github.markdown(runs)
    assert re.findall(r"\*\*hourly on (\w+)", text) == ["broken", "ill", "warned", "late", "fine", "other", "skipped"]
    targets = [row[2] for row in cells(text) if row[0] != "Outcome"]
    assert targets[:6] == ["failed", "contended", "done", "c", "w", "u"]
    assert targets[6:] == ["public.t", "y", "x", "p", "d", "i", "public.t"]


def test_why_it_ran_and_how_it_went_before() -> None:
    went = [("ok", 0.9), ("failed", 60), ("ok", 0.8), ("partial", 1.0)]
    recent = [{"run_id": 1, "status": status, "seconds": seconds, "rows": 5} for status, seconds in went]
    text = github.markdown([("h", result(action(), due="no run of it has succeeded yet (every: 1h)", recent=recent))])
    assert "\n\ndue: no run of it has succeeded yet (every: 1h)\n" in text
    assert "\n\nok 2 of the last 4 (1 failed, 1 partial); median 900 ms, this one 1.2 s; median 5 rows\n" in text
    skipped = github.markdown([("h", result(status="skipped", msg="not due: it ran", due="it ran"))])
    assert skipped.count("it ran") == 1


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_median(numbers: list[float]) -> None:
    assert trend._median(numbers) == pytest.approx(statistics.median(numbers))


@pytest.mark.parametrize(
    ("recent", "more", "told"),
    [
        ([], {}, ""),
        (None, {}, ""),
        ("odd", {}, ""),
        ([None, 5], {}, ""),
        ([{}], {}, "ok 0 of the last 1 (1 ?)"),
        ([{"status": "ok", "seconds": 2.0, "rows": None}], {}, "ok 1 of the last 1; median 2.0 s, this one 1.2 s"),
        ([{"status": "ok", "seconds": 2.0, "rows": 0}], {"seconds": None}, "ok 1 of the last 1; median 2.0 s"),
        ([{"status": "ok", "seconds": True, "rows": "many"}], {}, "ok 1 of the last 1"),
        ([{"status": "ok", "seconds": 2.0}], {"check_mode": True}, "ok 1 of the last 1; median 2.0 s"),
        ([{"status": "running"}, {"status": "abandoned"}], {}, "ok 0 of the last 2 (1 running, 1 abandoned)"),
        ([{"status": "a\n::error::"}], {}, "ok 0 of the last 1 (1 a\\n::error::)"),
    ],
)
def test_trend(recent: Any, more: dict[str, Any], told: str) -> None:
    assert trend.trend(result(recent=recent, **more)) == told


DIFF = {"before_header": "function f()", "after_header": "function f()", "before": "a\nb\nc\n", "after": "a\nB\nc\n"}


def test_differences_are_folded_and_literal() -> None:
    hostile = "x\n```\n</details>\n# heading\n````diff\n\x1b[2J\u202e ::error::x @me\n"
    text = github.markdown([("h", result(action("planned"), diff=[DIFF, {**DIFF, "after": hostile}]))])
    assert "<details><summary>2 differences: hourly on h</summary>\n" in text
    first, second = [token for token in tokens(text) if token.type == "fence"]
    assert (first.info, first.content) == (
        "diff",
        "--- function f()\n+++ function f()\n@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n \n",
    )
    assert "+```\n+</details>\n+# heading\n+````diff\n+\\x1b[2J\\u202e ::error::x @me\n" in second.content
    after = text[text.index("<details>") :]
    assert [token.content for token in tokens(after) if token.type == "html_block"] == [
        "<details><summary>2 differences: hourly on h</summary>\n",
        "</details>\n",
    ]
    nothings: tuple[Any, ...] = (None, [], [{}], [{"before": "a", "after": "a"}], "odd", [3], {"prepared": "x"})
    for nothing in nothings:
        assert "details" not in github.markdown([("h", result(diff=nothing))])


def test_a_new_object_and_a_huge_one() -> None:
    [new] = differences.blocks(result(diff=[{"before": "", "after": "one\ntwo", "after_header": "v"}]))
    assert new == "```diff\n--- before\n+++ v\n@@ -0,0 +1,2 @@\n+one\n+two\n```\n"
    lines = "\n".join(map(str, range(differences.MOST_LINES + 2)))
    [huge] = differences.blocks(result(diff=[{"before": lines, "after": lines + "\nx"}]))
    assert huge.count("\n-") > differences.MOST_LINES


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6000), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), max_size=6))
def test_whatever_does_not_fit_is_counted_and_nothing_stays_open(limit: int, shape: list[tuple[int, int]]) -> None:
    runs = [
        (f"h{number}", result(*[action(target="\u65e5" * 20)] * targets, diff=[{"before": "", "after": "y" * 400}] * many))
        for number, (targets, many) in enumerate(shape)
    ]  # fmt: skip
    text = github.markdown(runs, limit)
    assert len(text.encode()) <= limit
    assert text.count("<details>") == text.count("</details>") <= 1 * len(shape)
    if text:
        shown = {
            "target": text.count("| done |"),
            "run": text.count("**hourly on"),
            "difference": text.count("```diff"),
        }
        wanted = {
            "target": sum(one for one, _many in shape),
            "run": len(shape),
            "difference": sum(many for _one, many in shape),
        }
        told = {noun: int(number) for number, noun in re.findall(r"(\d+) more (target|run|difference)", text)}
        assert {noun: wanted[noun] - shown[noun] for noun in wanted if wanted[noun] != shown[noun]} == told


def test_many_warnings_are_counted() -> None:
    text = github.markdown([("h", result(warnings=[f"w{number}" for number in range(25)]))])
    assert "- w19\n- 5 more warnings in the log\n" in text
    assert "w20" not in text


@pytest.mark.parametrize(
    ("changed", "link"),
    [
        ({}, "https://github.com/owner/name/actions/runs/17"),
        ({"GITHUB_SERVER_URL": "http://ghe.local:8080"}, "http://ghe.local:8080/owner/name/actions/runs/17"),
        ({"GITHUB_SERVER_URL": "javascript:alert(1)"}, ""),
        ({"GITHUB_SERVER_URL": "https://x/)[a](https://evil"}, ""),
        ({"GITHUB_REPOSITORY": "owner/name) [x](y"}, ""),
        ({"GITHUB_REPOSITORY": ""}, ""),
        ({"GITHUB_RUN_ID": "17\n"}, ""),
        ({"GITHUB_RUN_ID": "\u0661"}, ""),
    ],
)
def test_link_to_the_run(changed: dict[str, str], link: str) -> None:
    known = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ID": "17",
        **changed,
    }
    assert run_link(known) == link
    text = github.markdown([("h", result(action()))], link=link)
    hrefs = [token.attrs["href"] for token in tokens(text) if token.type == "link_open"]
    assert hrefs == ([link] if link else [])


def test_without_a_link_where_nothing_is_known() -> None:
    assert run_link({}) == ""


def test_a_task_that_failed_and_is_no_run() -> None:
    failure = github.Failure("db1", "Run the plan", "set DATABASE_URL,\n100 %")
    text = github.markdown([], failures=[failure])
    assert "**failed** Run the plan on db1: set DATABASE&#95;URL" in text.replace("DATABASE_URL", "DATABASE&#95;URL")
    assert github.failed(failure) == (
        "error", "::error title=Run the plan failed on db1::set DATABASE_URL,\\n100 %25"
    )  # fmt: skip
