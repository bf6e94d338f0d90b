# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports to make pages of: what the module ``report`` would return of a database with so many runs. The same every time."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import CHECKS

LAST = date(2026, 11, 25)
NOW = datetime(2026, 11, 25, 13, 5)
DAYS = 90
GIB = 2**30
Dice = random.Random

# Names that tables and roles may have: 63 bytes, markup, quotes, letters from right to left, marks that turn text around.
HOSTILE = (
    '<script>alert("1")</script>',
    "</style><style>*{display:none}</style>",
    "</title><svg onload=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "javascript:alert(1)",
    "'; DROP TABLE users; --",
    "{{ 7 * 7 }}{% raw %}",
    "a_name_of_sixty_three_bytes_which_is_as_long_as_postgresql_allow",
    "جدول المستخدمين",
    "שלום (12 %) עולם",
    "\u202egnitide\u202c \u2066x",
    "👩\u200d👩\u200d👧 naïve 😀",
    "line\nbreak\ttab\x00\x1b[31m",
    "&lt;b&gt; &amp; <!-- --> ]]>",
    "e\u0301\u0327" * 20,
)


def report(runs: int = 2160, days: int = DAYS, seed: int = 1, **changed: Any) -> dict[str, Any]:
    """A database with so many hourly runs in so many days, and weekly ones; two checks are not well."""
    dice = Dice(seed)
    hourly = _plan(dice, "hourly", "every 1 h", 300.0, 1.4, _spread(runs, days))
    weekly = _plan(dice, "weekly", "at Sun 02:00 UTC", 3600.0, 840.0, _sundays(days) if runs > 1 else {})
    plans = [plan for plan in (hourly, weekly) if plan["runs"]]
    made = {
        "format": 1, "title": "production", "database": "app", "timezone": "UTC", "generated_at": f"{NOW:%Y-%m-%d %H:%M}",
        "days": days, "first_day": str(LAST - timedelta(days=days - 1)), "last_day": str(LAST), "collection": "1.0.0",
        "server": {"host": "db.example.org", "port": 5432, "database": "app", "version": "17.6", "provider": "neon"},
        "generated_runs": 0, "unreachable": "", "notes": [],
        "health": health(), "plans": plans, "operations": _operations(plans), "work": _work(dice, plans),
        "growth": _growth(dice, days), "undone": _undone(), "indexes": _indexes(), "alerts": _alerts(),
        "runs": _latest(dice, runs), "who": _who(runs),
    }  # fmt: skip
    return {**made, **changed}


def empty(**changed: Any) -> dict[str, Any]:
    """A database of which nothing is known but that it is there."""
    nothing = {
        "format": 1, "title": "fresh", "database": "app", "timezone": "UTC", "generated_at": "2026-11-25 13:05", "days": 90,
        "first_day": "2026-08-28", "last_day": "2026-11-25", "collection": "1.0.0", "server": {}, "generated_runs": 0,
        "unreachable": "", "notes": ["There is no history: nothing has run here yet, or not with these rights."],
        "health": {"status": "", "why": "", "message": "", "findings": []}, "plans": [], "operations": [], "work": [],
        "growth": {"database": [], "tables": [], "forecast": [], "limit": None, "bloat": []},
        "undone": {"entries": [], "more": 0}, "indexes": {"why": "", "findings": [], "drop": "", "undo": ""}, "alerts": [],
        "runs": [], "who": [],
    }  # fmt: skip
    return {**nothing, **changed}


def unreachable(
    why: str = 'could not connect: password authentication failed for user "maintenance"',
) -> dict[str, Any]:
    """One that could not be asked at all."""
    return empty(title="standby-2", unreachable=why, notes=[])


def troubled() -> dict[str, Any]:
    """One for which somebody has to do something, with a made-up history: each kind of trouble once."""
    made = report(400, days=28)
    hourly, weekly = made["plans"]
    hourly |= {"last_status": "failed", "success": 0.93, "last_good": "2026-11-24 07:07"}
    weekly |= {"overdue": 3 * 86400.0 + 7200}
    long = [
        finding("table-bloat", "warning", f"public.events_p2026_{number:02}", "44 % of 812 MiB are empty")
        for number in range(40)
    ]
    bad = [
        finding("freeze-age", "critical", "app", "1 900 000 000 transactions old; writes stop at 2 147 483 647", value=1.9e9,
                threshold=1.5e9, evidence={"unit": "transactions", "oldest": ["public.audit_log", "public.events"]},
                advice="VACUUM (FREEZE) public.audit_log;", meaning="When it is used up, the server refuses to write."),
        *long,
        finding("replication-slots", "unknown", "app", "permission denied for view pg_replication_slots",
                advice="GRANT pg_monitor TO maintenance;"),
    ]  # fmt: skip
    notes = [
        "2 runs began after now by the clock of the server then: it was set back.",
        "No right to read maintenance.alert.",
    ]
    return {**made, "title": "ledger", "health": health(*bad), "generated_runs": 400, "notes": notes}


def hostile(value: Any, names: tuple[str, ...] = HOSTILE) -> Any:
    """The same report with every text that is no moment, day or word of the contract replaced, one after the other."""
    number = iter(range(10**9))

    def turned(one: Any, key: str = "") -> Any:
        if isinstance(one, dict):
            return {name: turned(inner, str(name)) for name, inner in one.items()}
        if isinstance(one, list):
            return [turned(inner, key) for inner in one]
        if isinstance(one, str) and key not in CONTRACT and one:
            return names[next(number) % len(names)]
        return one

    return turned(value)


# Keys whose texts are moments, days and words that the code chooses.
CONTRACT = {
    "day", "first_day", "last_day", "generated_at", "first", "last", "last_good", "started", "since", "level", "status",
    "last_status", "outcome", "unreachable", "history", "timezone",
}  # fmt: skip


def finding(check: str, level: str, subject: str, message: str, **more: Any) -> dict[str, Any]:
    """As the module health_info returns it."""
    plain: dict[str, Any] = {"value": None, "threshold": None, "evidence": {}, "advice": "", "meaning": "", "group": ""}
    return {"check": check, "subject": subject, "level": level, "message": message, **plain, **more}


def health(*bad: dict[str, Any]) -> dict[str, Any]:
    """All checks; those that are given, or two, are not well."""
    known = {one.id: one for one in CHECKS}
    told = list(bad) or [
        finding(
            "table-bloat", "warning", "public.messages", "41 % of 3.1 GiB are empty, by an estimate from the statistics",
            value=41.0, threshold=40.0, evidence={"unit": "percent", "bytes": 3_328_599_654, "waste_bytes": 1_364_725_858},
            advice="VACUUM (FULL) in a quiet hour, or pg_repack:\n  pg_repack --table public.messages app",
            meaning="The table is read and backed up with its empty space.", group="storage",
        ),
        finding(
            "unused-indexes", "warning", "public.messages_body_idx", "has not been used for 92 days, and has 412 MiB",
            evidence={"scans": 0, "since": "2026-08-25", "bytes": 432_013_312}, group="indexes",
            advice="DROP INDEX CONCURRENTLY public.messages_body_idx;", meaning="Every write keeps it up to date for nothing.",
        ),
    ]  # fmt: skip
    for one in told:
        one["group"] = one["group"] or (known[one["check"]].group if one["check"] in known else "")
    well = [finding(one.id, "info", "app", f"{one.title}: nothing to do", group=one.group) for one in CHECKS
            if one.id not in {found["check"] for found in told}]  # fmt: skip
    levels = [one["level"] for one in told]
    status = next((level for level in ("critical", "warning", "unknown") if level in levels), "info")
    message = f"{len(told)} not well, {len(well)} well"
    return {"status": status, "why": "", "message": message, "findings": [*told, *well]}


def _spread(runs: int, days: int) -> dict[date, int]:
    """So many runs on the last days, at most 24 a day unless there are more."""
    a_day = max(24, -(-runs // days))
    found: dict[date, int] = {}
    for number in range(days):
        left = min(a_day, runs - a_day * number)
        if left > 0:
            found[LAST - timedelta(days=number)] = left
    return dict(sorted(found.items()))


def _sundays(days: int) -> dict[date, int]:
    every = [LAST - timedelta(days=number) for number in reversed(range(days))]
    return {day: 1 for day in every if day.weekday() == 6}


def _plan(dice: Dice, name: str, schedule: str, budget: float, usual: float, each: dict[date, int]) -> dict[str, Any]:
    told: list[dict[str, Any]] = []
    sums = {"ok": 0, "partial": 0, "failed": 0, "abandoned": 0, "skipped": 0, "running": 0}
    for number, (day, runs) in enumerate(each.items()):
        found = _statuses(name, number, runs)
        for status, times in found.items():
            sums[status] += times
        median = usual * dice.uniform(0.8, 1.25) * (1 + number / 200)
        p95 = median * (dice.uniform(1.5, 3.5) if runs > 1 else 1)
        told.append({"day": str(day), "statuses": found, "runs": runs,
                     "expected": runs + (4 if name == "hourly" and number == 33 else 0),
                     "median": round(median, 2), "p95": round(p95, 2),
                     "longest": round(p95 * (1.4 if runs > 1 else 1), 2)})  # fmt: skip
    runs = sum(sums.values())
    ended = runs - sums["skipped"] - sums["running"]
    last = told[-1]["day"] if told else None
    return {
        "name": name, "schedule": schedule, "budget": budget, "runs": runs, "statuses": sums,
        "success": (sums["ok"] + sums["partial"]) / ended if ended else None, "good": sums["ok"] + sums["partial"],
        "ended": ended, "expected": sum(day["expected"] for day in told),
        "missed": sum(day["expected"] - day["runs"] for day in told),
        "last": f"{last} 12:07" if last else None,
        "last_status": "ok" if last else "", "last_good": f"{last} 12:07" if last else None, "overdue": None,
        "median": usual, "p95": usual * 2.2, "longest": usual * 4.1, "days": told,
    }  # fmt: skip


def _statuses(name: str, number: int, runs: int) -> dict[str, int]:
    """Mostly ok; each of the others on some day."""
    if name == "weekly":
        return {"partial": runs} if number % 5 == 3 else {"ok": runs}
    other = {11: "partial", 23: "failed", 24: "failed", 47: "skipped", 61: "abandoned", 75: "partial"}.get(number)
    if not other or runs < 2:
        return {"ok": runs}
    return {"ok": runs - 1, other: 1} if other != "skipped" else {"skipped": runs}


def _operations(plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    runs = {plan["name"]: plan["runs"] for plan in plans}
    hourly, weekly = runs.get("hourly", 0), runs.get("weekly", 0)
    found = [
        (
            "purge",
            {"done": hourly // 2, "unchanged": hourly - hourly // 2, "failed": 2},
            hourly * 4211,
            0,
            hourly * 0.4,
        ),
        ("refresh", {"done": hourly // 6, "unchanged": hourly, "contended": 3}, 0, 0, hourly * 0.7),
        ("analyze", {"done": hourly // 24, "unchanged": hourly}, 0, 0, hourly * 0.1),
        ("vacuum", {"done": 4 * weekly, "unchanged": 16 * weekly, "deferred": 2}, 0, 0, weekly * 300.0),
        (
            "reindex",
            {"done": 2 * weekly, "unchanged": 30 * weekly, "skipped": 1},
            0,
            weekly * 210 * 2**20,
            weekly * 420.0,
        ),
    ]
    keys = ("operation", "outcomes", "rows", "reclaimed_bytes", "seconds")
    return [dict(zip(keys, one, strict=True)) for one in found if sum(one[1].values()) > 6]


def _work(dice: Dice, plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for plan in plans:
        for day in plan["days"]:
            runs = sum(day["statuses"].values())
            one = found.setdefault(day["day"], {"day": day["day"], "purged": 0, "refreshed": 0, "kept": 0, "analyzed": 0,
                                                "vacuumed": 0, "reindexed": 0, "reclaimed_bytes": 0})  # fmt: skip
            if plan["name"] == "weekly":
                one["vacuumed"], one["reindexed"] = dice.randint(2, 7), dice.randint(1, 3)
                one["reclaimed_bytes"] = dice.randint(80, 320) * 2**20
            else:
                one["purged"] = int(runs * 4200 * dice.uniform(0.7, 1.3))
                one["refreshed"], one["kept"] = runs // 6 + dice.randint(0, 3), runs
                one["analyzed"] = dice.randint(0, 4)
    return [found[day] for day in sorted(found)]


def _growth(dice: Dice, days: int) -> dict[str, Any]:
    daily, every = [], [LAST - timedelta(days=number) for number in reversed(range(days))]
    for number, day in enumerate(every):
        size = int(11.2 * GIB + number * 31 * 2**20 + dice.uniform(0, 60) * 2**20)
        age = 42_000_000 + number * 1_450_000
        daily.append({
            "day": str(day), "bytes": size, "index_bytes": int(size * 0.38), "live_rows": 61_000_000 + number * 140_000,
            "dead_rows": int(900_000 + 120_000 * (number % 7) * dice.uniform(0.8, 1.2)),
            "freeze_age": age if age < 150_000_000 else age - 100_000_000,
        })  # fmt: skip
    names = "messages sessions audit_log attachments chats users tokens events reactions members devices".split()
    tables = []
    for number in range(20):
        base = int(5.2 * GIB / (number + 1) ** 1.4)
        grows = base // 300 if number % 4 else 0
        name = f"public.{names[number % len(names)]}" + ("" if number < len(names) else f"_p2026_{number:02}")
        tables.append({
            "relation": name, "bytes": base, "index_bytes": base // 2, "live_rows": base // 210, "dead_rows": base // 9000,
            "freeze_age": 38_000_000 + 2_000_000 * number, "week": 7 * grows,
            "history": [[str(day), int(1.5 * base) - grows * (days - place)] for place, day in enumerate(every)],
        })  # fmt: skip
    return {
        "database": daily, "tables": tables, "limit": 20 * GIB,
        "forecast": [
            {"what": "database-forecast", "subject": "app", "text": "214 days until 20.0 GiB, at 217 MiB a week", "days": 214.0,
             "level": "info"},
            {"what": "wraparound-forecast", "subject": "transaction IDs", "days": 812.0, "level": "info",
             "text": "2 years and 2 months until writes are refused, if nothing were frozen"},
        ],
        "bloat": [
            {"kind": "table", "name": "public.messages", "percent": 41.0, "bytes": 3_328_599_654, "waste": 1_364_725_858,
             "method": "estimate from column statistics", "level": "warning"},
            {"kind": "index", "name": "public.messages_chat_id_created_at_idx", "percent": 33.0, "bytes": 612_368_384,
             "waste": 202_081_566, "method": "bytes a row against its best after a rebuild", "level": "info"},
        ],
    }  # fmt: skip


def _undone() -> dict[str, Any]:
    keys = ("plan", "operation", "target", "outcome", "reason", "times", "first", "last")
    found = [
        ("hourly", "refresh", "public.daily_usage", "contended", "another session has held the lock for 12 s", 3,
         "2026-11-09 04:07", "2026-11-24 04:07"),
        ("weekly", "vacuum", "public.audit_log", "deferred", "needs about 22 min, and 4 min of the budget were left", 2,
         "2026-11-15 02:41", "2026-11-22 02:44"),
        ("weekly", "reindex", "public.tokens_value_key", "skipped", "upserts could fail beside a rebuild of a unique index", 1,
         "2026-11-22 02:50", "2026-11-22 02:50"),
        ("hourly", "purge", "public.sessions", "failed", 'update or delete on "sessions" violates "devices_session_id_fkey"', 2,
         "2026-09-20 07:07", "2026-09-21 03:07"),
    ]  # fmt: skip
    return {"entries": [dict(zip(keys, one, strict=True)) for one in found], "more": 0}


def _indexes() -> dict[str, Any]:
    found = [
        finding("unused-indexes", "warning", "public.messages_body_idx", "not used for 92 days; 412 MiB", group="indexes",
                evidence={"scans": 0, "since": "2026-08-25", "bytes": 432_013_312, "writes": 1_204_331},
                advice="DROP INDEX CONCURRENTLY public.messages_body_idx;"),
        finding("redundant-indexes", "info", "public.chats_owner_idx", "covered by chats_owner_created_at_idx", group="indexes",
                evidence={"covered_by": "public.chats_owner_created_at_idx", "bytes": 9_338_880}),
    ]  # fmt: skip
    drop = "-- public.messages_body_idx: 412 MiB, not used for 92 days\nDROP INDEX CONCURRENTLY public.messages_body_idx;\n"
    undo = "CREATE INDEX CONCURRENTLY messages_body_idx ON public.messages USING gin (to_tsvector('simple'::regconfig, body));\n"
    return {"why": "", "findings": found, "drop": drop, "undo": undo}


def _alerts() -> list[dict[str, Any]]:
    return [
        {"name": "bloat public.messages", "level": "warning", "since": "2026-11-19 02:44", "told": "issues, mail",
         "text": "41 % of 3.1 GiB are empty"},
    ]  # fmt: skip


def _latest(dice: Dice, runs: int) -> list[dict[str, Any]]:
    found = []
    for number in range(min(50, runs)):
        actions = _actions(dice, contended=number == 33)
        totals: dict[str, int] = {}
        for action in actions:
            totals[action["outcome"]] = totals.get(action["outcome"], 0) + 1
        found.append({
            "run_id": 9000 - number, "plan": "hourly", "status": "partial" if number == 33 else "ok",
            "started": f"{NOW - timedelta(hours=number, minutes=58):%Y-%m-%d %H:%M}", "budget": 300.0,
            "seconds": round(actions[-1]["offset"] + actions[-1]["seconds"] + 0.01, 2), "role": "maintenance",
            "host": "ci.example.org/vtchat/app/actions/runs/17", "collection": "1.0.0", "server_version": "17.6",
            "message": ", ".join(f"{times} {outcome}" for outcome, times in totals.items()), "totals": totals, "actions": actions,
        })  # fmt: skip
    return found


def _actions(dice: Dice, contended: bool) -> list[dict[str, Any]]:
    targets = (
        ("purge", "public.sessions", "done", 4133),
        ("purge", "public.tokens", "unchanged", 0),
        ("refresh", "public.daily_usage", "contended" if contended else "done", None),
        ("analyze", "public.messages", "unchanged", None),
        ("analyze", "public.events", "done", None),
    )
    actions: list[dict[str, Any]] = []
    offset = 0.12
    for operation, target, outcome, rows in targets:
        took = round(dice.uniform(0.02, 0.6), 3)
        actions.append({"operation": operation, "target": target, "outcome": outcome, "offset": round(offset, 3),
                        "seconds": took, "rows": rows})  # fmt: skip
        offset += took + 0.01
    return actions


def _who(runs: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"role": "maintenance", "host": "ci.example.org/vtchat/app/actions", "collection": "1.0.0", "server_version": "17.6",
         "runs": max(1, runs - 400), "first": "2026-09-14 00:07", "last": "2026-11-25 12:07"},
        {"role": "maintenance", "host": None, "collection": None, "server_version": "17.5", "runs": 400,
         "first": "2026-08-28 00:07", "last": "2026-09-13 23:07"},
    ]  # fmt: skip
    return found[: 2 if runs > 400 else 1]
