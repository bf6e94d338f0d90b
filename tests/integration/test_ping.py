# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs of life: when there are any, and what becomes of a run whose monitor is down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import ping
from tests.doubles.monitor import KEY, Monitor
from tests.doubles.service import CUT, SILENCE, TRICKLE
from tests.runs import perform, window
from tests.servers import Database

STEPS = [{"analyze": {"tables": ["t"]}}]
BROKEN = [{"analyze": {"tables": ["nothing"]}}]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture
def table(database: Database) -> Database:
    database.sql("CREATE TABLE t (id int)")
    return database


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with closing(Monitor()) as service:
        yield service


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor is in this process: where both stand still for a while, an answer is no less one."""
    for name in ("SILENCE", "PATIENCE", "LONGEST"):
        monkeypatch.setattr(ping, name, 60.0)


def run(dsn: str, url: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """What a run returns that is watched, without any part of the address that is a secret."""
    result = perform("run", dsn, check, **{"plan": "hourly", "steps": STEPS, "ping_url": url, **options})
    assert KEY not in json.dumps(result)
    return result


def test_signs_of_life(table: Database, monitor: Monitor) -> None:
    url = f"{monitor.url}/{KEY}/db"
    # What is done, and the status and the signs that come of it.
    cases: list[tuple[str, dict[str, Any], str, list[str]]] = [
        (table.dsn, {}, "ok", ["db/start", "db"]),
        (table.dsn, {"steps": BROKEN}, "failed", ["db/start", "db/fail"]),
        (table.dsn, {"check": True}, "ok", []),
        (table.dsn, {"every": "1h", "due": "auto"}, "skipped", []),
        (table.dsn, {"window": window(2, 4)}, "skipped", []),
        (NOWHERE, {"connect_deadline": 0.1}, "failed", ["db/fail"]),
        (NOWHERE, {"connect_deadline": 0.1, "check": True}, "failed", []),
        (table.dsn, {"plan": "a b/1", "url": f"{monitor.url}/{KEY}/{{plan}}?create=1"}, "ok", ["a%20b%2F1/start", "a%20b%2F1"]),
        (table.dsn, {"url": f"{monitor.url}/{KEY}/db/"}, "ok", ["db/start", "db/"]),
        (table.dsn, {"url": ""}, "ok", []),
    ]  # fmt: skip
    for dsn, options, status, signs in cases:
        before = len(monitor.heard())
        result = run(dsn, **{"url": url, **options})
        assert (result["status"], monitor.heard()[before:]) == (status, signs), options
        assert [text for text in result.get("warnings", []) if "ping_url" in text] == []
    assert [request.query for request in monitor.seen(path="1")] == [{"create": "1"}]
    with closing(table.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, 1)", (0x7674636D,))
        before = len(monitor.heard())
        assert (run(table.dsn, url)["status"], monitor.heard()[before:]) == ("skipped", [])


@pytest.mark.parametrize("kind", ["404", "500", "302", CUT, SILENCE, TRICKLE, "nobody"])
def test_a_monitor_that_is_down_costs_a_warning_and_a_moment(
    table: Database, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, seconds in (("SILENCE", 0.2), ("PATIENCE", 0.4)):
        monkeypatch.setattr(ping, name, seconds)
    url = f"{monitor.url}/{KEY}/db" if kind != "nobody" else f"http://127.0.0.1:9/{KEY}/db"
    if kind.isdigit():
        monitor.fail(int(kind), f"said {KEY}", times=99, headers={"Location": f"{monitor.url}/{KEY}/elsewhere"})
    else:
        monitor.fail(kind=kind, times=99)
    began = time.monotonic()
    result = run(table.dsn, url)
    assert time.monotonic() - began < 30
    assert (result["status"], result["totals"]) == ("ok", {"done": 1})
    told = [text for text in result["warnings"] if text.startswith("ping_url: http://127.0.0.1:")]
    assert ["has begun" in told[0], "has succeeded" in told[1], len(told)] == [True, True, 2], told
    assert all(text.endswith("The run itself is not concerned.") for text in told)
    assert not monitor.seen(path="elsewhere"), "it might be anybody's"


def test_nobody_waits_for_an_attempt_that_cannot_be_given_up(
    table: Database, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as to look up a name."""
    monkeypatch.setattr(ping, "LONGEST", 0.2)
    monitor.fail(kind=SILENCE, times=99)
    result = run(table.dsn, f"{monitor.url}/{KEY}/db")
    assert (result["status"], [text.count("no answer within 0.2 s") for text in result["warnings"]]) == ("ok", [1, 1])


def test_what_passes_is_tried_again(table: Database, monitor: Monitor) -> None:
    monitor.fail(kind=CUT, path="/db")
    result = run(table.dsn, f"{monitor.url}/{KEY}/db")
    assert (monitor.heard(), result["warnings"]) == (["db/start", "db", "db"], [])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"hc.example/{KEY}", "ping_url: it must have the form https://host/path"),
        (f"http://hc.example/{KEY}", "ping_url: it must begin with https://"),
        (f"ftp://hc.example/{KEY}", "ping_url: it must have the form https://host/path"),
        (f"https://user:{KEY}@hc.example/", "ping_url: it must have the form https://host/path, without user"),
        (f"https://hc.example/{KEY}#x", "ping_url: it is not a URL of the form"),
        (f"https://hc.example/{KEY} x", "ping_url: it is not a URL of the form"),
        (f"https://hc.example/{KEY}\n", "ping_url: it is not a URL of the form"),
        (f"https://[hc.example/{KEY}", "ping_url: it is not a URL"),
        (f"https://hc.example/{KEY}/{{paln}}", "ping_url: braces mean something as {plan} only"),
        (f"https://hc.example:x/{KEY}", "ping_url: it is not a URL"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_before_anything_and_not_shown(url: str, said: str) -> None:
    with pytest.raises(OptionError) as refused:
        _edge.validated("run", {"plan": "p", "steps": STEPS, "dsn": "", "budget": -1, "ping_url": url})
    assert any(error.startswith(said) for error in refused.value.errors), refused.value.errors
    assert any("budget" in error for error in refused.value.errors)
    assert KEY not in str(refused.value)
