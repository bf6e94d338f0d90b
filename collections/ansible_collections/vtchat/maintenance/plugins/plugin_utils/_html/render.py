# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Makes the pages: what the sections show goes into the templates beside this file."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import drawing, findings, growth, plans, reading, runs, verdict, words
from .bounds import MOST_BYTES, ROOMS, bounded, most

TEMPLATES = Path(__file__).parent / "templates"


SHORTENED = "There is so much that this page has only part of it: longer texts and lists are cut."


def page(report: Mapping[str, Any], links: Mapping[str, str] | None = None) -> str:
    """The page of one database. links: text and address of what is beside it; addresses that are no web pages are left out."""
    harmless = [(text, address) for text, address in (links or {}).items() if _harmless(address)]
    return _fitting(lambda room: _render("page.html.j2", {**_page(bounded(report, room), room), "links": harmless}))


def _page(report: Mapping[str, Any], room: float) -> dict[str, Any]:
    health, indexes, undone = (reading.section(report, key) for key in ("health", "indexes", "undone"))
    alerts, who = reading.entries(report, "alerts"), reading.entries(report, "who")
    left, notes = reading.entries(undone, "entries"), reading.texts(report, "notes")
    shown_alerts, shown_left = most(MOST_ALERTS, room), most(MOST_UNDONE, room)
    return {
        "report": _head(report),
        "verdict": verdict.verdict(report),
        "key_figures": _key_figures(report),
        "notes": [*notes[: most(MOST_NOTES, room)], *([SHORTENED] if room < 1 else [])],
        "health": findings.health(reading.entries(health, "findings"), room),
        "health_why": reading.text(health, "why"),
        "plans": plans.plans(report, room),
        "work": runs.work(report),
        "growth": growth.growth(report, room),
        "undone": [_undone(one) for one in left[:shown_left]],
        "undone_more": reading.whole(undone, "more") + len(left[shown_left:]),
        "indexes": findings.entries(reading.entries(indexes, "findings"), room),
        "index_texts": {
            "message": TERMINAL.sub("", reading.text(indexes, "message")),
            **{key: reading.text(indexes, key) for key in ("why", "drop", "undo")},
        },
        "alerts": [{key: reading.text(one, key) for key in ALERT} for one in alerts[:shown_alerts]],
        "alerts_more": len(alerts[shown_alerts:]),
        "runs": runs.runs(report, room),
        "who": [_who(one) for one in who[: most(MOST_WHO, room)]],
    }


def _fitting(made: Callable[[float], str]) -> str:
    """The page, with as much of everything as there is room for."""
    text = ""
    for room in ROOMS:
        text = made(room)
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


MOST_UNDONE, MOST_WHO, MOST_NOTES, MOST_DATABASES = 100, 20, 20, 1000
# What a message says to somebody at a terminal.
TERMINAL = re.compile(r" \(-v [^()]*\)")
MOST_ALERTS = 50
ALERT = ("name", "level", "since", "told", "text")
WHO = ("role", "host", "collection", "server_version", "first", "last")


def overview(databases: Sequence[Mapping[str, Any]], generated_at: str, timezone: str) -> str:
    """The page of a fleet, of what ``glance`` says of each database; the worst first."""
    ordered = verdict.worst_first(databases)
    shown = {
        "summary": verdict.summary(databases),
        "worst": verdict.of_fleet(databases),
        "number": len(ordered),
        "generated": sum(1 for one in databases if reading.whole(one, "generated_runs")),
        "generated_at": generated_at,
        "timezone": bounded(timezone),
    }

    def made(room: float) -> str:
        kept = ordered[: most(MOST_DATABASES, room)]
        rows = [_database(bounded(one, room)) for one in kept]
        return _render("overview.html.j2", {**shown, "databases": rows, "more": len(ordered) - len(kept)})

    return _fitting(made)


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
    known = reading.entries(report, "plans")
    did, ended = (sum(numbers) for numbers in zip(*((0, 0), *(verdict.success(plan) for plan in known))))
    good = max((reading.text(plan, "last_good") for plan in known), default="")
    latest, grown = growth.latest(report), growth.grown(report)
    figures = []
    if total:
        figures.append(("Checks that are well", f"{words.count(well)} of {words.count(total)}", _beside(found)))
    if ended:
        beside = f"{words.count(did)} of {words.count(ended, 'run')}"
        figures.append(("Runs that did their work", words.percent(did / ended), beside))
    if good:
        figures.append(("Last that did its work", good, ""))
    if latest is not None:
        beside = "" if grown is None else f"{words.size(grown[0], signed=True)} since {grown[1]}"
        figures.append(("Size", words.size(latest), beside))
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
        "more_plans": reading.whole(one, "more_plans"),
        "size": words.size(reading.number(one, "bytes")),
        "spark": drawing.spark(f"Size of {title}", sizes) if len(sizes) > 1 else None,
    }


def _glimpse(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": reading.text(plan, "name", "a plan"),
        "last": reading.text(plan, "last", "never"),
        "status": reading.text(plan, "last_status"),
        "success": words.percent(reading.number(plan, "success")),
        "troubles": reading.texts(plan, "troubles"),
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
