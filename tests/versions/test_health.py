# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""health_info on every supported major release: quiet on what is well, and each query answers, whoever asks."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import CHECKS
from tests import documents
from tests.grafana.macros import Text, Window
from tests.grafana.queries import ALL
from tests.health import bad, levels, look, of
from tests.runs import perform
from tests.servers import Database

LOW = {"warning": 0.001, "critical": None}


def test_a_database_that_is_well(database: Database) -> None:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    perform(
        "run",
        database.dsn,
        plan="watch",
        steps=[{"analyze": {"include": ["*"]}}, {"health_info": {"fail_on": "never"}}],
    )
    for user in ("postgres", database.role()):
        result = look(database, database.dsn_as(user))
        assert (bad(result), result["turns"] <= 6) == ({}, True)
        assert levels(result).keys() == {check.id for check in CHECKS}
        unknown = [one for one in result["findings"] if one["level"] == "unknown"]
        assert [one["message"] for one in unknown if "GRANT" not in one["message"] + one["advice"]] == []
        assert user != "postgres" or unknown == []


def test_the_report_of_it(database: Database) -> None:
    """Each statement that a page or the dashboard needs answers, and the sizes that the run has sampled are there."""
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    database.close_connection()
    perform("run", database.dsn, plan="watch", steps=[{"analyze": {"include": ["*"]}}])
    report = perform("report", database.dsn)["report"]
    assert (report["notes"], report["health"]["why"], report["indexes"]["why"]) == ([], "", "")
    assert report["growth"]["database"][0]["bytes"] > 0
    assert {"public.t"} <= {one["relation"] for one in report["growth"]["tables"]}
    assert report["who"][0]["server_version"] == report["server"]["version"]
    dashboard = json.loads((documents.DOCS / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    now = datetime.now(timezone.utc)
    window = Window(now - timedelta(days=1), now + timedelta(hours=1), timedelta(hours=1))
    for panel in (one for one in dashboard["panels"] if one["type"] != "row"):
        database.sql(window.expanded(panel["targets"][0]["rawSql"], {"plan": Text(ALL), "relation": Text(ALL)}))


def test_a_database_that_is_ill_in_many_ways(database: Database) -> None:
    """Most of what is asked has something to answer."""
    database.sql("CREATE TABLE t (id int); CREATE PUBLICATION p FOR TABLE t")
    database.sql("SELECT pg_create_physical_replication_slot('health', true)")
    try:
        holder = database.connect(application_name="shop")
        with holder.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t")
        database.sql("INSERT INTO t VALUES (1)")
        limits: dict[str, Any] = {"thresholds": {"idle-in-transaction": LOW, "horizon-holder": LOW}}
        expected = {
            "published-tables-without-identity": "warning",
            "idle-in-transaction": "warning",
            "horizon-holder": "warning",
        }
        assert bad(look(database, **limits)) == expected
        (slot,) = of(look(database), "replication-slots")
        assert slot["message"].startswith("used by nobody")
    finally:
        database.sql("SELECT pg_drop_replication_slot('health')")
        holder.close()
