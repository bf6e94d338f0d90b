# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Makes the pages: what the sections show goes into the templates beside this file."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import drawing, findings, growth, reading, runs, verdict, words

TEMPLATES = Path(__file__).parent / "templates"


def page(report: Mapping[str, Any], links: Mapping[str, str] | None = None) -> str:
    """The page of one database. links: text and address of what is beside it; addresses that are no web pages are left out."""
    judged = verdict.verdict(report)
    health = reading.section(report, "health")
    indexes = reading.section(report, "indexes")
    undone = reading.section(report, "undone")
    alerts = reading.entries(report, "alerts")
    shown = {
        "report": _head(report),
        "links": [(text, address) for text, address in (links or {}).items() if _harmless(address)],
        "verdict": judged,
        "key_figures": _key_figures(report),
        "notes": reading.texts(report, "notes"),
        "health": findings.health(reading.entries(health, "findings")),
        "health_why": reading.text(health, "why"),
        "plans": runs.plans(report),
        "work": runs.work(report),
        "growth": growth.growth(report),
        "undone": [_undone(one) for one in reading.entries(undone, "entries")],
        "undone_more": reading.whole(undone, "more"),
        "indexes": findings.entries(reading.entries(indexes, "findings")),
        "index_texts": {key: reading.text(indexes, key) for key in ("why", "message", "drop", "undo")},
        "alerts": [{key: reading.text(one, key) for key in ALERT} for one in alerts[:MOST_ALERTS]],
        "alerts_more": len(alerts[MOST_ALERTS:]),
        "runs": runs.runs(report),
        "who": [_who(one) for one in reading.entries(report, "who")],
    }
    return _render("page.html.j2", shown)


MOST_ALERTS = 50
ALERT = ("name", "level", "since", "told", "text")
WHO = ("role", "host", "collection", "server_version", "first", "last")


def overview(databases: Sequence[Mapping[str, Any]], generated_at: str, timezone: str) -> str:
    """The page of a fleet, of what ``glance`` says of each database; the worst first."""
    ordered = [_database(one) for one in verdict.worst_first(databases)]
    shown = {
        "databases": ordered,
        "summary": verdict.summary(databases),
        "worst": verdict.of_fleet(databases),
        "generated": sum(1 for one in databases if reading.whole(one, "generated_runs")),
        "generated_at": generated_at,
        "timezone": timezone,
    }
    return _render("overview.html.j2", shown)


def _head(report: Mapping[str, Any]) -> dict[str, Any]:
    server = reading.section(report, "server")
    days = runs.span(report)
    keys = ("title", "database", "timezone", "generated_at", "collection", "unreachable", "not_asked")
    known = {key: reading.text(report, key) for key in keys}
    return {
        **known,
        "title": known["title"] or known["database"] or "a database",
        "timezone": known["timezone"] or "a time zone that is not known",
        "days": (days.last - days.first).days + 1 if reading.day(report.get("last_day")) else 0,
        "first": days.first,
        "last": days.last,
        "generated_runs": reading.whole(report, "generated_runs"),
        "server": {key: reading.text(server, key) for key in ("version", "provider")},
        # The path of a socket helps nobody who is elsewhere.
        "host": "" if reading.text(server, "host").startswith(("/", "@")) else reading.text(server, "host"),
    }


def _key_figures(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What it is about, the number, and what is said beside it."""
    found = verdict.levels(report)
    total, well = sum(found.values()), found.get(verdict.WELL, 0)
    plans = reading.entries(report, "plans")
    statuses: dict[str, int] = {}
    for plan in plans:
        for status, number in reading.counts(plan, "statuses").items():
            statuses[status] = statuses.get(status, 0) + number
    ended = sum(number for status, number in statuses.items() if status not in ("skipped", "running"))
    did = statuses.get("ok", 0) + statuses.get("partial", 0)
    good = max((reading.text(plan, "last_good") for plan in plans), default="")
    latest, week = growth.latest(report), growth.week(report)
    figures = []
    if total:
        figures.append(("Checks that are well", f"{words.count(well)} of {words.count(total)}", _beside(found)))
    if ended:
        beside = f"{words.count(did)} of {words.count(ended)} runs"
        figures.append(("Runs that did their work", words.percent(did / ended), beside))
    if good:
        figures.append(("Last that did its work", good, ""))
    if latest is not None:
        grown = "" if week is None else f"{words.size(week, signed=True)} in a week"
        figures.append(("Size", words.size(latest), grown))
    return figures


def _beside(found: Mapping[str, int]) -> str:
    nouns = {verdict.CRITICAL: ("critical", "critical"), verdict.WARNING: ("warning", "warnings")}
    return ", ".join(
        words.count(number, *nouns.get(level, ("not known", "not known")))
        for level, number in found.items()
        if level != verdict.WELL
    )


def _undone(one: Mapping[str, Any]) -> dict[str, str]:
    keys = ("plan", "operation", "target", "outcome", "reason", "first", "last")
    return {**{key: reading.text(one, key) for key in keys}, "times": words.count(max(1, reading.whole(one, "times")))}


def _who(one: Mapping[str, Any]) -> dict[str, str]:
    return {**{key: reading.text(one, key) for key in WHO}, "runs": words.count(reading.number(one, "runs"))}


def _database(one: Mapping[str, Any]) -> dict[str, Any]:
    status = reading.text(one, "status")
    status = status if status in verdict.ORDER else verdict.UNKNOWN
    title = reading.text(one, "title") or reading.text(one, "database") or "a database"
    sizes = reading.pairs(one, "sizes")
    return {
        "title": title,
        "database": reading.text(one, "database"),
        "href": quote(reading.text(one, "file"), safe="", errors="replace") if reading.text(one, "file") else "",
        "status": status,
        "shown": verdict.HEADLINES[status],
        "sentence": reading.text(one, "sentence"),
        "why": reading.text(one, "unreachable") or reading.text(one, "not_asked"),
        "checks": _beside(reading.counts(one, "levels")),
        "plans": [_glimpse(plan) for plan in reading.entries(one, "plans")],
        "size": words.size(reading.number(one, "bytes")),
        "spark": drawing.spark(f"Size of {title}", sizes) if len(sizes) > 1 else None,
    }


def _glimpse(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": reading.text(plan, "name", "a plan"),
        "last": reading.text(plan, "last", "never"),
        "status": reading.text(plan, "last_status"),
        "success": words.percent(reading.number(plan, "success")),
        "troubles": verdict.troubles(plan),
    }


def _harmless(address: str) -> bool:
    """Whether a link leads to a web page or a file beside this one."""
    return urlsplit(address).scheme in ("http", "https", "") and not address.startswith(("//", "\\"))


def _render(template: str, shown: Mapping[str, Any]) -> str:
    style = _style()
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _templates().get_template(template).render(**shown, style=Markup(style), digest=digest)  # noqa: S704 - our file


@cache
def _style() -> str:
    """Without comments and indentation."""
    text = (TEMPLATES / "style.css").read_text(encoding="utf-8").replace("/* SYMBOLS */", words.symbols())
    return re.sub(r"\n\s*", "\n", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)).strip()


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=words.finalize,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(words=words.words, name=words.name, lines=words.lines, plain=words.plain, count=words.count)
    made.globals.update(word=words.word, fill=words.fill)
    return made
