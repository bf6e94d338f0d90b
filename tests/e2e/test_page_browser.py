# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages of reports as a browser shows them: from a file, narrow and wide, light and dark, on paper, and to a screen reader.

Pictures of them are in .cache/screenshots, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _html
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.words import count, duration, listed, size
from tests import pages
from tests.browser import Browser, browser

PICTURES = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"
LOOKS = [(1440, "light"), (360, "light"), (1440, "dark"), (360, "dark")]
SEEN = ("quarter", "troubled", "fleet-of-300")  # in the dark, too, and in pictures
SHEETS = 20
LARGE = ("fleet-of-300", "many-runs")  # as a smaller one, only longer
MOST_BYTES = 300_000


def fleet(number: int) -> str:
    """An overview of so many databases: one that cannot be reached, some that need attention, names of all kinds."""
    known = [pages.unreachable(), pages.troubled(), pages.hostile(pages.report(50)), pages.report(1), pages.empty()]
    well = pages.report(200, health=pages.health(pages.finding("table-bloat", "info", "app", "nothing to do")))
    known += [{**well, "title": f"tenant-{one:03}"} for one in range(number)]
    told = [_html.glance(one, f"{one['title'][:20]} №{place}.html") for place, one in enumerate(known[:number])]
    return _html.overview(told, "2026-11-25 13:05", "UTC")


def few(report: dict[str, Any]) -> dict[str, Any]:
    """The same with each part once: what holds for one run holds for fifty."""
    return {**report, "runs": report["runs"][:2]}


PAGES = {
    "one-run": lambda: _html.page(pages.report(1)),
    "fifty-runs": lambda: _html.page(pages.report(50)),
    "quarter": lambda: _html.page(pages.report(), {"All databases": "index.html"}),
    "many-runs": lambda: _html.page(pages.report(5000)),
    "troubled": lambda: _html.page(pages.troubled()),
    "hostile": lambda: _html.page(pages.hostile(pages.troubled())),
    "empty": lambda: _html.page(pages.empty()),
    "nothing": lambda: _html.page({}),
    "unreachable": lambda: _html.page(pages.unreachable()),
    "fleet-of-1": lambda: fleet(1),
    "fleet-of-300": lambda: fleet(300),
}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The one browser of this file."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All pages, as files with names that need to be encoded."""
    folder = tmp_path_factory.mktemp("pages of reports")
    further = {"few": few(pages.troubled()), "few-hostile": pages.hostile(few(pages.troubled()))}
    texts = {name: make() for name, make in PAGES.items()} | {name: _html.page(told) for name, told in further.items()}
    made = {name: folder / f"{name} №1.html" for name in texts}
    for name, file in made.items():
        file.write_text(texts[name], encoding="utf-8")
    return made


# Charts whose letters or lines are outside of the drawing, and labels of days that lie on each other.
CUT = """
const found = []
for (const svg of document.querySelectorAll('svg')) {
  if (!svg.getClientRects().length) continue
  const [x, y, width, height] = svg.getAttribute('viewBox').split(' ').map(Number)
  for (const part of svg.querySelectorAll('text, path, rect')) {
    const box = part.getBBox()
    if (box.x < x - 1 || box.y < y - 2 || box.x + box.width > x + width + 1 || box.y + box.height > y + height + 2)
      found.push('outside: ' + part.outerHTML + ' ' + [box.x, box.y, box.width, box.height].join(' '))
  }
  const labels = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBBox()])
  labels.forEach(([text, a], place) => labels.slice(place + 1).forEach(([other, b]) => {
    const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)
    const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
    if (wide > 1 && high > 4) found.push('on each other: ' + text + ' and ' + other)
  }))
}
return found
"""


# Words of tables, names and messages that go on in the next line; longer ones have to.
BROKEN = """
const found = []
for (const root of document.querySelectorAll('table, dl, h1, h2, h3, .t')) {
  if (!root.checkVisibility()) continue
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    if (!text.parentElement.checkVisibility() || text.parentElement.closest('svg, pre, .pre')) continue
    for (const word of text.data.matchAll(/[\\p{L}\\d]{2,16}/gu)) {
      const range = document.createRange()
      range.setStart(text, word.index)
      range.setEnd(text, word.index + word[0].length)
      if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1)
        found.push(word[0] + ' in ' + text.data.slice(0, 80))
    }
  }
}
return found
"""
WIDE = "return document.documentElement.scrollWidth"


@pytest.mark.parametrize("name", PAGES)
def test_page_is_shown(window: Browser, files: dict[str, Path], name: str) -> None:
    """Silent, alone, no wider than the window, no word broken, without a fault, and on a sane number of sheets."""
    file = files[name]
    assert file.stat().st_size < MOST_BYTES
    window.open(file)
    assert 1 <= window.pages() <= SHEETS
    for width, scheme in LOOKS if name in SEEN else LOOKS[:2]:
        window.look(width, scheme)
        if name in SEEN:
            PICTURES.mkdir(parents=True, exist_ok=True)
            window.screenshot(PICTURES / f"{name}-{width}-{scheme}.png")
        assert window.ask(WIDE) <= width, "folded"
        if scheme == "light" and "hostile" not in name and name not in LARGE:
            assert window.ask(BROKEN) == [], width
    window.unfold()
    for width, scheme in LOOKS[:2]:
        window.look(width, scheme)
        assert window.ask(WIDE) <= width, "unfolded"
        if name not in LARGE or width < 1000:
            assert window.ask(CUT) == []
    assert window.messages() == []
    assert window.requests() == [file.as_uri()]


def test_letters_are_as_large_as_somebody_likes_them(window: Browser, files: dict[str, Path]) -> None:
    """Twice as large in a window twice as wide as a telephone: texts and drawings grow, and nothing is too wide."""
    heights = (
        "return [...['p', 'td', '.t', '.big'].map(one => parseFloat(getComputedStyle(document.querySelector(one)).fontSize)),"
        " document.querySelector('.calendar').getBoundingClientRect().height]"
    )
    window.open(files["troubled"], 1440)
    window.unfold()
    before = window.ask(heights)
    try:
        window.letters(32)
        window.look(720)
        after = window.ask(heights)
        assert window.ask(WIDE) <= 720
    finally:
        window.letters()
    assert [new >= 1.9 * old for old, new in zip(before, after, strict=True)] == [True] * 5


def test_each_database_says_on_a_telephone_what_is_wrong(window: Browser, files: dict[str, Path]) -> None:
    """Nothing of a row has to be scrolled to, and it is a table for a screen reader all the same."""
    window.open(files["fleet-of-300"], 360)
    right = "one => one.getBoundingClientRect().right > 360"
    beyond = f"return [...document.querySelectorAll('.fleet :is(td, th)')].filter({right}).length"
    assert window.ask(beyond) == 0
    assert window.ask("return [...document.querySelectorAll('.fleet [role=row]')].length") == 301


@pytest.mark.parametrize("name", ["few", "few-hostile", "nothing", "unreachable", "fleet-of-1"])
def test_nothing_keeps_anybody_from_reading(window: Browser, files: dict[str, Path], name: str) -> None:
    """Contrast, landmarks, headings, names, tables: all rules of axe-core, in light and dark, with everything open."""
    window.open(files[name])
    window.unfold()
    for width, scheme in LOOKS[:4:3] if name != "few-hostile" else LOOKS[3:]:
        window.look(width, scheme)
        assert window.faults() == []
    assert window.messages() == []


ROWS = """
return [...[...document.querySelectorAll('table')].find(one => one.caption.innerText.startsWith(arguments[0])).rows]
  .map(row => [...row.cells].map(cell => cell.innerText))
"""


def rows(window: Browser, caption: str) -> list[list[str]]:
    """What stands in a table, without its head."""
    found: list[list[str]] = window.ask(ROWS, caption)
    return found[1:]


def told_of(day: dict[str, Any]) -> str:
    """What ran, and how many runs did not come."""
    missed = day["expected"] - day["runs"]
    return listed(day["statuses"]) + (f", {missed} of {day['expected']} missed" if missed else "")


def test_numbers_are_those_of_the_report(window: Browser, files: dict[str, Path]) -> None:
    """Each day, each operation and each run; and a chart has as many bars and squares as there are days to show."""
    told = pages.report()
    window.open(files["quarter"])
    window.unfold()
    hourly, weekly = told["plans"]
    assert rows(window, "Runs and durations") == [
        [day["day"], told_of(day), *(duration(day[key]) for key in ("median", "p95", "longest"))]
        for day in hourly["days"]
    ]
    counts = ("purged", "refreshed", "kept", "analyzed", "vacuumed", "reindexed")
    assert rows(window, "What was done by day") == [
        [day["day"], *(count(day[key]) for key in counts), size(day["reclaimed_bytes"])] for day in told["work"]
    ]
    assert [row[0] for row in rows(window, "What became of all")] == [one["operation"] for one in told["operations"]]
    assert [row[3] for row in rows(window, "What became of all")] == [count(one["rows"]) for one in told["operations"]]
    table, relation = rows(window, "Sizes with indexes"), told["growth"]["tables"][1]
    assert table[1][:4] == [
        relation["relation"], size(relation["bytes"] + relation["index_bytes"]), size(relation["index_bytes"]),
        size(relation["week"], signed=True),
    ]  # fmt: skip
    summaries = window.ask("return [...document.querySelectorAll('.run > summary')].map(one => one.innerText)")
    assert [run["started"] in text for run, text in zip(told["runs"], summaries, strict=True)] == [True] * 50
    did = sum(plan["statuses"]["ok"] + plan["statuses"]["partial"] for plan in (hourly, weekly))
    assert f"{count(did)} of" in window.ask("return document.querySelector('.figures').innerText")
    drawn = window.ask(
        "return ['.calendar', '.bar.s1'].map(what => [...document.querySelectorAll(what)].map(one =>"
        " (one.matches('.bar') ? [one] : [...one.querySelectorAll('.face')]).map(path =>"
        " path.getAttribute('d').split('M').length - 1).reduce((a, b) => a + b, 0)))"
    )
    assert drawn[0] == [told["days"]] * 2
    assert drawn[1][0] == sum(1 for day in told["work"] if day["purged"])
    failed = sum(1 for day in hourly["days"] if day["statuses"].get("failed"))
    assert window.ask("return document.querySelectorAll('.calendar .q.failed').length") == failed == 2


def test_keys_lead_through_the_page(window: Browser, files: dict[str, Path]) -> None:
    """The first key shows the way past the head, and each thing that has the focus can be seen to have it."""
    window.open(files["quarter"], 360)
    focus = "const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);"
    keys = ActionChains(window.driver)
    keys.send_keys(Keys.TAB).perform()
    assert window.ask(f"{focus} return [one.innerText, box.left >= 0]") == ["To the content", True]
    for _number in range(12):
        keys.send_keys(Keys.TAB).perform()
        assert window.ask(f"{focus} return parseFloat(style.outlineWidth) >= 2 && style.outlineStyle != 'none'")
        assert window.ask(f"{focus} return box.bottom > 0 && box.top < innerHeight")


def test_paper_is_white_not_too_wide_and_has_what_was_folded(window: Browser, files: dict[str, Path]) -> None:
    """As Chromium lays it out for A4, whatever the screen is like."""
    for name in ("fleet-of-1", "hostile", "troubled", "quarter"):
        window.open(files[name], 703, "dark", media="print")  # what A4 has between its margins
        assert window.ask(WIDE) <= 703, name
        assert window.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert name == "hostile" or window.ask(BROKEN) == [], name
    together = "return [...document.querySelectorAll('.whole')].map(one => getComputedStyle(one).breakInside)"
    assert window.ask(together) == ["avoid"] * 2
    shown = "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).length"
    assert window.ask(shown, "nav, .skip, .numbers") == 0
    height = "return [...document.querySelectorAll('.unfold > pre')].map(one => one.getBoundingClientRect().height)"
    assert len(window.ask(height)) == 2
    assert all(one > 20 for one in window.ask(height))


class Strict(BaseHTTPRequestHandler):
    """A server that forbids everything, as some do with what they did not make."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Security-Policy", "default-src 'none'; sandbox")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def test_a_policy_that_forbids_even_the_style_leaves_a_page_that_can_be_read(
    window: Browser, files: dict[str, Path]
) -> None:
    """As in a mail whose reader takes the style away: all text is there, and no drawing is larger than it should be."""
    Strict.page = files["quarter"].read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            window.open(f"http://127.0.0.1:{server.server_port}/")
            asked = window.requests()
            assert asked == [f"http://127.0.0.1:{server.server_port}/"]
            assert all("Applying inline style violates" in one for one in window.messages())
            text, widest = window.ask(
                "return [document.body.innerText, Math.max(...[...document.querySelectorAll('svg')].map(one =>"
                " one.getBoundingClientRect().width))]"
            )
        finally:
            server.shutdown()
    assert "Needs attention" in text
    assert "Did maintenance run when it should?" in text
    assert widest <= 400
