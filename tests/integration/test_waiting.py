# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who waits since when, as the history keeps it: the longest first, whatever their step, and what died with its process last."""

from __future__ import annotations

from typing import Any

from tests.runs import perform
from tests.servers import Database

NAMES = ("a", "b", "c", "d", "e")
STEPS = [{"analyze": {"tables": [name]}} for name in NAMES]


def go(database: Database, check: bool = False, **options: Any) -> list[tuple[str, str]]:
    """Run, and say what became of which table, in order."""
    result = perform("run", database.dsn, check, plan="p", steps=STEPS, **options)
    assert not result.get("failed"), result["msg"]
    return [(action["target"].rpartition(".")[2], action["outcome"]) for action in result["actions"]]


def waiting(database: Database) -> list[tuple[str, int]]:
    found = database.sql("SELECT target, deferrals FROM maintenance.state WHERE deferred ORDER BY deferred_since")
    return [(target.rpartition(".")[2], deferrals) for target, deferrals in found]


def test_the_longest_waiting_goes_first(database: Database) -> None:
    database.sql("".join(f"CREATE TABLE {name} (id int);" for name in NAMES))
    # No time for anything: they wait in the order in which it came to them, and keep their places.
    for times in (1, 2):
        assert go(database, budget=0.001) == [(name, "deferred") for name in NAMES]
        assert waiting(database) == [(name, times) for name in NAMES]
    # c has waited longest; nobody has asked for d since it was put off; a run has died with e.
    database.sql("UPDATE maintenance.state SET deferred_since = now() - interval '1 year' WHERE target = 'public.c'")
    database.sql("UPDATE maintenance.state SET updated_at = now() - interval '91 days' WHERE target = 'public.d'")
    database.sql(
        "INSERT INTO maintenance.run (plan, backend_pid, backend_start, steps) VALUES ('p', 0, now() - interval '1 day', '[]'); "
        "INSERT INTO maintenance.action (run_id, step, operation, target, reason, statements, numbers) "
        "SELECT max(id), 5, 'analyze', 'public.e', 'x', '{}', '{}' FROM maintenance.run"
    )
    assert go(database, check=True)[:3] == [("c", "planned"), ("a", "planned"), ("b", "planned")]
    assert go(database) == [(name, "done") for name in ("c", "a", "b", "e", "d")]
    assert waiting(database) == []
    assert go(database) == [(name, "unchanged") for name in NAMES]
