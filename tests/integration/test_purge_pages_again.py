# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages that have to be read once more: a walk that was stopped, a table that was written anew meanwhile."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import start
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import rows
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.policy import Budget
from tests.integration.test_purge_pages import ids, purge, wide
from tests.runs import only
from tests.servers import Database


def test_a_walk_that_was_begun_comes_to_its_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few expired rows are in what was not read yet, and although no index serves."""
    monkeypatch.setattr(rows, "SMALL_TABLE", 5)
    wide(database, 700, 300, scattered=False)
    now = [0.0]

    def hour_later(target: str, said: str, seconds: float) -> None:
        now[0] += 3600

    with monkeypatch.context() as clock:
        clock.setattr(start, "Budget", lambda seconds: Budget(seconds, clock=lambda: now[0]))
        given = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "budget": 10_000})
        assert only(_edge.perform(given, False, hour_later))["outcome"] == "deferred"
    database.sql("UPDATE t SET at = 'infinity' WHERE id <= 680")
    for check, outcome in ((True, "planned"), (False, "done"), (False, "skipped")):
        found = only(purge(database, check, order="auto"))
        assert found["outcome"] == outcome, found
        assert outcome == "skipped" or found["numbers"]["order"].endswith("the last run has not come to the end")
    assert min(ids(database)) <= 680
    assert database.value("SELECT count(*) FROM t WHERE id BETWEEN 681 AND 700") == 0


def test_a_table_that_is_written_anew_meanwhile(database: Database) -> None:
    """Its rows move to pages that were read already: they are looked for once more."""
    wide(database, 700, 300, scattered=False)
    database.sql("DELETE FROM t WHERE id <= 300")
    told: list[str] = []

    def rewrite(target: str, said: str, seconds: float) -> None:
        told.append(said)
        if len(told) == 5:
            database.sql("VACUUM FULL t")

    given = _edge.validated("purge", {"dsn": database.dsn, "table": "t", "column": "at", "order": "heap"})
    assert only(_edge.perform(given, False, rewrite))["rows"] == 400
    assert len(told) > 5
    assert ids(database) == list(range(701, 1001))
