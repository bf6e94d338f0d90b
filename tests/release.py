# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a tag, the version of the collection and its changelog agree. Without a tag there is nothing to compare."""

from __future__ import annotations

import re
import sys
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[1] / "collections/ansible_collections/vtchat/maintenance"


def faults(tag: str, galaxy: str, changelog: str) -> list[str]:
    """What keeps the tag from being released; each says what to change."""
    found = re.search(r"^version: (\S+)$", galaxy, re.MULTILINE)
    version = found[1] if found else ""
    wrong = []
    if tag != f"v{version}":
        wrong.append(
            f"the tag is {tag}, and galaxy.yml has the version {version}: tag v{version}, or change galaxy.yml"
        )
    headings = re.findall(r"^## (\S+) \((.*)\)$", changelog, re.MULTILINE)
    dates = dict(headings).get(version)
    if dates is None:
        wrong.append(f"CHANGELOG.md has no section ## {version} (date)")
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", dates):
        wrong.append(f"CHANGELOG.md says {version} ({dates}): write the date of the release there")
    elif headings[0][0] != version:
        wrong.append(f"CHANGELOG.md has {headings[0][0]} before {version}")
    return wrong


def main(tag: str) -> int:
    texts = [(COLLECTION / name).read_text(encoding="utf-8") for name in ("galaxy.yml", "CHANGELOG.md")]
    wrong = faults(tag, *texts) if tag else []
    for fault in wrong:
        print(f"release: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [""]))
