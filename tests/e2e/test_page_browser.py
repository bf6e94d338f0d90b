# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages of reports as a browser shows them: from a file, narrow and wide, light and dark, on paper, and to a screen reader.

Pictures of them are in .cache/screenshots, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.action_chains import ActionChains

from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _html
from tests import pages
from tests.browser import Browser, browser

PICTURES = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"
LOOKS = [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")]
SHEETS = 20
MOST_BYTES = 300_000


def fleet(number: int) -> str:
    """An overview of so many databases: one that cannot be reached, some that need attention, names of all kinds."""
    known = [pages.unreachable(), pages.troubled(), pages.hostile(pages.report(50)), pages.report(1), pages.empty()]
    well = pages.report(200, health=pages.health(pages.finding("table-bloat", "info", "app", "nothing to do")))
    known += [{**well, "title": f"tenant-{one:03}"} for one in range(number)]
    told = [_html.glance(one, f"{one['title'][:20]} №{place}.html") for place, one in enumerate(known[:number])]
    return _html.overview(told, "2026-11-25 13:05", "UTC")


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
    made = {name: folder / f"{name} №1.html" for name in PAGES}
    for name, file in made.items():
        file.write_text(PAGES[name](), encoding="utf-8")
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


@pytest.mark.parametrize("name", PAGES)
def test_page_is_shown(window: Browser, files: dict[str, Path], name: str) -> None:
    """Silent, alone, no wider than the window, without a fault, and on a sane number of sheets."""
    file = files[name]
    assert file.stat().st_size < MOST_BYTES
    PICTURES.mkdir(parents=True, exist_ok=True)
    for width, scheme in LOOKS:
        window.open(file, width, scheme)
        assert window.messages() == []
        assert window.requests() == [file.as_uri()]
        window.screenshot(PICTURES / f"{name}-{width}-{scheme}.png")
        assert window.ask("return document.documentElement.scrollWidth") <= width, "folded"
        window.unfold()
        assert window.ask("return document.documentElement.scrollWidth") <= width, "unfolded"
        if scheme == "light":
            assert window.ask(CUT) == []
    window.open(file)
    assert 1 <= window.pages() <= SHEETS


@pytest.mark.parametrize("name", ["troubled", "hostile", "nothing", "unreachable", "fleet-of-1"])
def test_nothing_keeps_anybody_from_reading(window: Browser, files: dict[str, Path], name: str) -> None:
    """Contrast, landmarks, headings, names, tables: all rules of axe-core, in light and dark, with everything open."""
    for width, scheme in ((1440, "light"), (360, "dark")):
        window.open(files[name], width, scheme)
        window.unfold()
        assert window.faults() == []
        assert window.messages() == []
