# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What stands in an issue on GitHub. Pure.

What comes from databases stands in blocks of code, where GitHub makes nothing of it: no mention, no link, no reference, no
HTML. The first line of the body is a comment that nobody sees: the mark by which the issue is found again, and what is known.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import NamedTuple

from .conditions import digest
from .decide import Known, read_known
from .notice import Notice, shortened

# GitHub takes 256 and 65 536 characters.
LONGEST_TITLE = 250
LONGEST_TEXT = 30_000

_MARK = re.compile(r"<!-- vtchat\.maintenance alert ([0-9a-f]{32}) ([A-Za-z0-9+/=]+) -->")
_FOOT = (
    "vtchat.maintenance keeps this issue: it is edited while things change, and closed once the check is well. "
    "Closed by hand, it stays closed until it gets worse, or comes again after it was well."
)


class Mark(NamedTuple):
    """What the first line of a body says: what is known, and what stands for the words below it."""

    known: Known
    words: str


def title(notice: Notice) -> str:
    """By the level and not by what has happened: it stays the same while nothing changes."""
    known = notice.known
    state = known.level if known.level != "info" else "well"
    return shortened(f"{state}: {known.check} on {known.name}", LONGEST_TITLE)


def body(notice: Notice) -> str:
    """The whole body."""
    # Not the facts: the block below has them, and in JSON they may be longer than a body.
    known = {**replace(notice.known, facts=()).as_dict(), "words": words(notice)}
    # Nothing in it may end the comment, and no program on the way may take it for something to be quoted.
    data = base64.b64encode(json.dumps(known, sort_keys=True, separators=(",", ":")).encode()).decode()
    mark = f"<!-- vtchat.maintenance alert {digest(notice.known.key)} {data} -->"
    return "\n\n".join(filter(None, [mark, _words(notice), _link(notice), _FOOT]))


def words(notice: Notice) -> str:
    """What stands for all that an issue says, but for the link: when this changes, the issue is edited."""
    others = {
        name: record.as_dict() for name, record in notice.known.channels.items() if not name.startswith("github:")
    }
    return digest(json.dumps([title(notice), _words(notice), others], sort_keys=True))


def comment(notice: Notice) -> str:
    """A comment that says what has happened."""
    state = notice.state[:1].upper() + notice.state[1:]
    return "\n\n".join(filter(None, [f"**{state}** {notice.since}".rstrip(), _block(notice), _link(notice)]))


def read_mark(text: str) -> Mark | None:
    """The mark of a body, None where there is none of ours, or one that somebody has changed."""
    found = _MARK.search(text)
    if found is None:
        return None
    try:
        value = json.loads(base64.b64decode(found[2], validate=True))
    except (ValueError, RecursionError):
        return None
    known = read_known(value)
    if known is None or digest(known.key) != found[1]:
        return None
    return Mark(known, str(value.get("words")))


def _words(notice: Notice) -> str:
    state = f"**{notice.level}**" if notice.known.level != "info" else "**well again**"
    since = notice.since if notice.known.level != "info" else ""
    return "\n\n".join(filter(None, [f"{state} {since}".rstrip(), _block(notice)]))


def _block(notice: Notice) -> str:
    # Only a line that begins with backticks would end it, and each line begins with a word of ours.
    text = notice.text(LONGEST_TEXT)
    return f"```text\n{text}\n```" if text else ""


def _link(notice: Notice) -> str:
    return f"[The run that saw it]({notice.link})" if notice.link else ""
