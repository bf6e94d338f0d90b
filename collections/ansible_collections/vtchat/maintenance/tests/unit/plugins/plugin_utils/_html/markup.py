# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages as somebody reads them who trusts nobody: by a parser that knows which elements and attributes there are."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from base64 import b64encode
from html.parser import HTMLParser
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.plugin_utils._html.words import FSI, PDI

VOID = {"meta", "br", "wbr"}
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "a", "div", "header", "main", "footer", "nav", "section", "article", "h1",
    "h2", "h3", "p", "span", "strong", "b", "bdi", "code", "pre", "ul", "li", "dl", "dt", "dd", "details", "summary", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "br", "svg", "desc", "text", "path", "rect", "g",
    "wbr",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "dir", "charset", "http-equiv", "content", "name", "class", "id", "href", "tabindex", "role", "scope", "colspan",
    "aria-label", "aria-labelledby", "aria-describedby", "aria-hidden", "viewbox", "width", "height", "preserveaspectratio", "x",
    "y", "d", "fill", "stroke", "stroke-linecap", "text-anchor",
}  # fmt: skip
# Attributes that are made of nothing that a database says.
OURS = ATTRIBUTES - {"href", "aria-label", "content"}


class Page(HTMLParser):
    """What a page consists of. Raises AssertionError at once where it is not what it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.policy = ""
        self.style = ""
        self.title = ""
        self.text = ""
        self._open: list[str] = []
        self._blocks: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        hidden = {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")}
        assert hidden <= {"\n", FSI, PDI}
        self._judge()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("path", "rect"), f"<{tag}/> is not closed"
        self._seen(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        place = self._open[-1] if self._open else ""
        if place == "style":
            self.style += data
        elif place == "title" and "svg" not in self._open:
            self.title += data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, f"<{tag}>"
        names = tuple(name for name, _value in attrs)
        assert set(names) <= ATTRIBUTES, f"<{tag} {names}>"
        if tag not in ("bdi", "wbr"):
            self.shape.append((tag, names))
        values = {name: value or "" for name, value in attrs}
        if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if "href" in values:
            self.links.append(values["href"])
        if "id" in values:
            self.ids.append(values["id"])
        self.named += [
            one for key in ("aria-labelledby", "aria-describedby") if key in values for one in values[key].split()
        ]
        assert all(re.fullmatch(r"[\w .#%:,+-]*", values[name]) for name in names if name in OURS), values

    def _judge(self) -> None:
        assert [tag for tag, _names in self.shape].count("style") == 1
        digest = b64encode(hashlib.sha256(self.style.encode()).digest()).decode()
        wanted = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        assert self.policy == wanted
        assert "url(" not in self.style
        assert "@import" not in self.style
        assert len(self.ids) == len(set(self.ids))
        assert set(self.named) <= set(self.ids)
        assert {one[1:] for one in self.links if one.startswith("#")} <= set(self.ids)


def report_of(text: str, number: Any = 3) -> dict[str, Any]:
    """A report that has all of its parts once, with this text wherever there is a text: moments and words, too."""
    finding = {"check": text, "subject": text, "level": "warning", "message": f"({text})", "value": 2, "threshold": number,
               "evidence": {text: text, "unit": text, "list": [text], "more": 0, "deep": {text: text}}, "advice": text,
               "meaning": text, "group": text}  # fmt: skip
    findings = [finding, {**finding, "subject": text}, {**finding, "level": "info"}, {**finding, "level": "critical"}]
    day = {"day": "2026-11-24", "statuses": {"ok": 2, "failed": 1}, "median": 1.5, "p95": 2.0, "longest": 9.0}
    action = {"operation": text, "target": text, "outcome": text, "offset": 0.5, "seconds": 1.0, "rows": number}
    sizes = {"bytes": 4 * 2**20, "index_bytes": 2**20, "live_rows": 10, "dead_rows": 5, "freeze_age": 7}
    return {
        "format": 1, "title": text, "database": text, "timezone": text, "generated_at": text, "days": 90,
        "first_day": "2026-08-28", "last_day": "2026-11-25", "collection": text, "unreachable": "", "notes": [text, text],
        "server": {"host": text, "version": text, "provider": text}, "generated_runs": number,
        "health": {"status": "warning", "why": text, "message": text, "findings": findings},
        "plans": [{"name": text, "schedule": text, "budget": 60.0, "runs": 3, "statuses": {"ok": 2, "failed": 1}, "success": 0.6,
                   "last": text, "last_status": text, "last_good": text, "overdue": 7200.0,
                   "median": 1.5, "p95": 2.0, "longest": 9.0, "days": [day]}],
        "operations": [{"operation": text, "outcomes": {text: 3}, "rows": 5, "reclaimed_bytes": 7, "seconds": 1.0}],
        "work": [{"day": "2026-11-24", "purged": 5, "refreshed": 1, "kept": 2, "analyzed": 3, "vacuumed": 4, "reindexed": 5,
                  "reclaimed_bytes": 2**20}],
        "growth": {
            "database": [{"day": "2026-11-24", **sizes}], "limit": 2**30,
            "tables": [{"relation": text, **sizes, "history": [["2026-11-20", 4], ["2026-11-24", 5]], "week": 7}],
            "forecast": [{"what": text, "subject": text, "text": text, "days": 12.0, "level": text}],
            "bloat": [{"kind": text, "name": text, "percent": 40.0, "bytes": 100, "waste": 40, "method": text, "level": "info"}],
        },
        "undone": {"entries": [{"plan": text, "operation": text, "target": text, "outcome": text, "reason": text, "times": 2,
                                "first": text, "last": text}], "more": 3},
        "indexes": {"why": text, "message": text, "findings": findings, "drop": text, "undo": text},
        "alerts": [{"name": text, "level": text, "since": text, "told": text, "text": text}],
        "runs": [{"run_id": text, "plan": text, "status": text, "started": text, "seconds": 3.0, "budget": 60.0,
                  "role": text, "host": text, "collection": text, "server_version": text, "message": text,
                  "totals": {text: 2}, "actions": [action]}],
        "who": [{"role": text, "host": text, "collection": text, "server_version": text, "runs": 3, "first": text,
                 "last": text}],
    }  # fmt: skip
