# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation: what a reader types of it, and the pages of docs/ that are made from the source.

``python -m tests.documents`` writes those, a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import GROUPS, Check, Thresholds
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import CHECKS
from ansible_collections.vtchat.maintenance.plugins.module_utils._report.findings import number

DOCS = Path(__file__).resolve().parent.parent / "docs"

CHECKS_HEAD = """# What health looks at

`make health`, the step `health_info` in any plan, and the module `vtchat.maintenance.health_info` ask these {number} checks,
all in one statement that only reads. A check that is well gives one finding of level `info`; what the role may not see is
`unknown`, with the GRANT, and never taken for well. Thresholds can be others for each database (options of the step in its
inventory) and for each object, and a finding can be ignored until a day:

```yaml
- health_info:
    fail_on: critical            # or warning, or never
    thresholds:
      connections: {{warning: 60}}
      dead-rows:
        objects:
          public.queue: {{warning: 60, critical: null}}
    ignore:
      - {{check: invalid-indexes, object: audit.*, reason: rebuilt with the move, until: "2027-03-31"}}
```

Floors of size and age keep the checks quiet on what is small or young. This page is made from the source by `make docs`.
"""


def commands(page: Path) -> list[str]:
    """The lines of shell blocks and what stands between backticks, without comments."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).splitlines() + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines]


def make_targets(page: Path) -> list[list[str]]:
    """What is typed after ``make`` in the commands of a page, word by word; what is quoted is left out."""
    typed = [line for line in commands(page) if re.search(r"(^|['…] )make [a-z]", line)]
    return [re.sub(r"'[^']*'", "''", line).partition("make ")[2].split() for line in typed]


def checks_page() -> str:
    """docs/checks.md."""
    return "\n".join([CHECKS_HEAD.format(number=len(CHECKS)), *_contents(), *_groups()])


def _contents() -> Iterator[str]:
    for group, title in GROUPS.items():
        names = ", ".join(f"[`{check.id}`](#{check.id})" for check in CHECKS if check.group == group)
        yield f"- **{title}** (`{group}`): {names}"
    yield ""


def _groups() -> Iterator[str]:
    for group, title in GROUPS.items():
        yield f"## {title}\n"
        for check in CHECKS:
            if check.group == group:
                yield from _check(check)


def _check(check: Check) -> Iterator[str]:
    yield f"### {check.id}\n"
    yield f"{check.title}. {check.meaning}\n"
    yield f"- **Default:** {_thresholds(check.thresholds, check.unit)}. Source: {check.source}."
    yield f"- **Unit:** {check.unit}"
    yield f"- **Remedy:** {check.remedy}"
    yield f"- **Right needed:** {_right(check)}"
    if check.since:
        yield f"- **From PostgreSQL:** {check.since // 10000}"
    yield ""


def _thresholds(limits: Thresholds, unit: str) -> str:
    levels = (("warning", limits.warning), ("critical", limits.critical))
    told = [f"{level} {_from(limits, value, unit)}" for level, value in levels if value is not None]
    return ", ".join(told) or "never, unless a subject has its own"


def _from(limits: Thresholds, value: float, unit: str) -> str:
    if value == 1 and not limits.below:
        return "from the first on"
    return f"{'at' if limits.below else 'from'} {number(value, unit)}{' or less' if limits.below else ' on'}"


def _right(check: Check) -> str:
    kind = "" if " ON " in check.right else "membership in "
    rights = [f"{kind}`{check.right}`"] if check.right else []
    rights += ["SELECT on the history in schema `maintenance`"] if check.history else []
    return " and ".join(rights) or "none"


def grafana_dashboard() -> str:
    """docs/monitoring/grafana-dashboard.json."""
    from tests.grafana import dashboard  # the builders take a while to load

    return dashboard.document()


PAGES = {"checks.md": checks_page, "monitoring/grafana-dashboard.json": grafana_dashboard}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
