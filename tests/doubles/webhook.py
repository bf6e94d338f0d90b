# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the services that take messages by a webhook.

It takes what they are documented to take, and answers as they do: Slack "ok" as text, Discord 204, Teams 202, anybody else
whatever he likes. A message that they would refuse, or read in another way than it is meant, fails the test.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.doubles.service import Reply, Request, Service

SECRET = "B0/SECRETzq7path"
PATHS = {
    "slack": f"/services/T0/{SECRET}",
    "discord": f"/api/webhooks/1/{SECRET}",
    "teams": f"/workflows/triggers/invoke?api-version=1&sig={SECRET.replace('/', '%2F')}",
    "json": "/hook",
}


class Hooks(Service):
    """All of them in one, by the path. ``got``: the messages by service; ``header``: what the path json wants."""

    def __init__(self) -> None:
        self.got: dict[str, list[dict[str, Any]]] = {kind: [] for kind in PATHS}
        super().__init__()

    def address(self, kind: str) -> str:
        """Where messages for a service go."""
        return self.url + PATHS[kind]

    def handle(self, request: Request) -> Reply:
        kinds = [kind for kind, path in PATHS.items() if path.partition("?")[0] == request.path]
        if request.method != "POST" or not kinds:
            return self.violation(f"there is no {request.method} {request.path}", 404)
        (kind,) = kinds
        if kind == "teams" and request.query != {"api-version": "1", "sig": SECRET}:
            return self.violation("the signature did not come as it was given", 401)
        if request.headers.get("content-type") != "application/json":
            return self.violation("the message is not said to be JSON", 415)
        try:
            CHECKS[kind](request.body)
        except AssertionError as fault:
            return self.violation(f"{kind}: {fault}")
        self.got[kind].append(request.body)
        return {
            "slack": Reply(200, "ok", {"Content-Type": "text/html"}),
            "discord": Reply(204),
            "teams": Reply(202),
        }.get(kind, Reply(200, "<p>thanks</p>", {"Content-Type": "text/html"}))


def units(text: str) -> int:
    """How long a text is for services written in JavaScript."""
    return len(text.encode("utf-16-le")) // 2


def check_slack(body: dict[str, Any]) -> None:
    """Block Kit: which blocks there are, how long their texts may be, and nothing that calls anybody."""
    assert 0 < units(body["text"]) <= 4000
    assert body["mrkdwn"] is False, "names in the text of notifications would be formatted"
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", body["text"]), "markup in the text of notifications"
    assert 0 < len(body["blocks"]) <= 50
    for block in body["blocks"]:
        if block["type"] == "header":
            assert block["text"]["type"] == "plain_text"
            assert 0 < units(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert 0 < units(block["text"]["text"]) <= 3000
            assert block["text"]["type"] == "plain_text", "mrkdwn would read names"
        else:
            assert block["type"] == "context"
            assert 0 < len(block["elements"]) <= 10
            for element in block["elements"]:
                assert re.fullmatch(r"<https?://[^<>|\s]+\|more>", element["text"]), element


def check_discord(body: dict[str, Any]) -> None:
    """At most 2 000 characters, nobody mentioned, one block of code that ends where it should."""
    assert 0 < units(body["content"]) <= 2000
    assert body["allowed_mentions"] == {"parse": []}
    assert body["flags"] & 4, "links in names would unfold"
    assert body["content"].count("```") in (0, 2), "a name ends the block"
    outside = re.sub(r"\n```\n.*?\n```", "", body["content"], flags=re.DOTALL)
    outside = re.sub(r"\n<https?://[^<>\s]+>$", "", outside)
    plain = re.sub(r"\\.", "", outside.replace("**", "", 2))
    assert not re.search(r"[*_~`|<>\[\]@#]", plain), f"markup outside of the block: {outside}"


def check_teams(body: dict[str, Any]) -> None:
    """An Adaptive Card of at most 28 KB whose texts are text runs."""
    assert len(json.dumps(body)) <= 28 * 1024
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"]
    for element in card["body"]:
        assert element["type"] == "RichTextBlock", "a TextBlock reads Markdown"
        assert [run["type"] for run in element["inlines"]] == ["TextRun"]
        assert element["inlines"][0]["text"]
    for action in card.get("actions", []):
        assert action["type"] == "Action.OpenUrl"
        assert action["url"].startswith("http")


def check_json(body: dict[str, Any]) -> None:
    """What our documentation promises."""
    assert set(body) == {
        "version", "event", "key", "name", "check", "level", "title", "since", "findings", "more", "link",
    }  # fmt: skip
    assert body["version"] == 1
    assert body["event"] in ("raised", "worse", "reminder", "recovered")


CHECKS = {"slack": check_slack, "discord": check_discord, "teams": check_teams, "json": check_json}
