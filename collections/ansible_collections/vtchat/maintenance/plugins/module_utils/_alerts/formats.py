# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The bodies that webhooks take, one function a service. Pure.

Names and texts come from databases. Where a service has text that it shows as it is, that is used; elsewhere every character
that could act is taken from it: nobody is called, nothing becomes a link, no format ends early.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .._result import CRITICAL, INFO, WARNING
from .notice import Notice, as_data, shortened

# In UTF-16 units. Slack: 150 a header, 3 000 a section; Discord: 2 000 altogether; Teams: 28 KB altogether, of which UTF-8
# and JSON may need six bytes for each character.
SLACK_HEADER = 150
SLACK_TEXT = 2900
DISCORD = 2000
TEAMS_TEXT = 3500

_MARKS = {CRITICAL: "🔴", WARNING: "🟠", INFO: "🟢"}
_STYLES = {CRITICAL: "attention", WARNING: "warning", INFO: "good"}


def plain(notice: Notice) -> dict[str, Any]:
    """For programs of one's own."""
    return as_data(notice)


def slack(notice: Notice) -> dict[str, Any]:
    """Blocks of plain text; ``text`` is what notifications show. mrkdwn: false, and the characters that it knows are escaped."""
    title = f"{_MARKS[notice.level]} {notice.title}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain_text(title, SLACK_HEADER)}]
    for text in (notice.text(SLACK_TEXT), notice.since):
        blocks += [{"type": "section", "text": _plain_text(text, SLACK_TEXT)}] if text else []
    if notice.link:
        link = {"type": "mrkdwn", "text": f"<{_slack_escaped(notice.link)}|more>"}
        blocks.append({"type": "context", "elements": [link]})
    return {
        "text": _slack_escaped(shortened(title, SLACK_HEADER)),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def _plain_text(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shortened(text, longest), "emoji": False}


def _slack_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def discord(notice: Notice) -> dict[str, Any]:
    """One text; what comes from databases in a block of code, nobody mentioned, nothing unfolded (flag 4)."""
    head = f"{_MARKS[notice.level]} **{_discord_escaped(notice.title)}** {notice.since}".rstrip()
    tail = f"\n<{notice.link}>" if notice.link else ""
    # The two fences with their line breaks take nine.
    text = notice.text(DISCORD - 9 - len((head + tail).encode("utf-16-le", "replace")) // 2, _without_backticks)
    block = f"\n```\n{text}\n```" if text else ""
    return {"content": head + block + tail, "allowed_mentions": {"parse": []}, "flags": 4}


def _discord_escaped(text: str) -> str:
    return re.sub(r"([\\*_~`|>#<@:\[\]()-])", r"\\\1", text)


def _without_backticks(text: str) -> str:
    return text.replace("`", "'")


def teams(notice: Notice) -> dict[str, Any]:
    """An Adaptive Card. Text runs show their text as it is; a TextBlock would read it as Markdown."""
    style = _STYLES[notice.level]
    paragraphs = [_runs(notice.title, color=style, weight="bolder", size="medium")]
    paragraphs += [_runs(line) for line in notice.text(TEAMS_TEXT).splitlines()]
    paragraphs += [_runs(notice.since, isSubtle=True)] if notice.since else []
    card: dict[str, Any] = {"type": "AdaptiveCard", "version": "1.4", "body": paragraphs}
    if notice.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "More", "url": notice.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _runs(text: str, **look: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **look}]}


FORMATS: dict[str, Callable[[Notice], dict[str, Any]]] = {
    "json": plain,
    "slack": slack,
    "discord": discord,
    "teams": teams,
}
