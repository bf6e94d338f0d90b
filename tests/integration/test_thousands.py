# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""5 000 tables, which are 20 000 relations: what is asked of them all takes no more turns than one, and not long."""

from __future__ import annotations

from tests.health import bad, levels, look
from tests.runs import perform
from tests.servers import Database
from tests.tables import CROWD, deciding, run, told, write

THIN = "\u202f"
BUSY = 120.0  # seconds on the clock, on a machine that has much else to do; at rest it takes one or two


def test_vacuum_decides_at_once(crowd: Database) -> None:
    """The turns do not grow with the number of tables, and three seconds of both processors are enough."""
    few, _seconds, turns = deciding(crowd, "vacuum", include=["many.t_1"])
    many, seconds, more = deciding(crowd, "vacuum", include=["many.*"])
    assert ([one.verdict for one in few], {one.verdict for one in many}, len(many)) == (
        ["unchanged"],
        {"unchanged"},
        CROWD,
    )
    assert (turns, more) == (1, 1)
    assert seconds < 3
    run_turns = [perform("vacuum", crowd.dsn, include=[pattern])["turns"] for pattern in ("many.t_1", "many.*")]
    assert run_turns[1] <= run_turns[0]


def test_what_a_role_may_not_vacuum_is_said_once(crowd: Database) -> None:
    """What the role may not touch is said once."""
    role = crowd.role("some")
    write(crowd, f"GRANT USAGE ON SCHEMA many TO {role}; ALTER TABLE many.t_7 OWNER TO {role}")
    result = run(crowd, include=["many.*"], user=role, history=False)
    assert [one[:2] for one in told(result)] == [("many.t_7", "unchanged")]
    (warning,) = result["warnings"]
    assert warning.startswith(
        f"vacuum: 4{THIN}999 tables that role {role} may not maintain are left out, such as many.t_1: GRANT "
    )


def test_reindex_decides_at_once(crowd: Database) -> None:
    """The turns do not grow with their number, and three seconds of both processors are enough."""
    few = perform("reindex", crowd.dsn, check=True, include=["many.t_1"], history=False)
    idle = perform("reindex", crowd.dsn, check=True, include=["many.*"], history=False)
    assert deciding(crowd, "reindex", include=["many.*"])[1] < 3
    assert (idle["status"], idle["actions"], idle["warnings"]) == ("ok", [], []), "what is too small is not told"
    assert idle["turns"] == few["turns"]
    every = perform("reindex", crowd.dsn, check=True, include=["many.*"], min_size=0, history=False)
    assert every["totals"] == {"unchanged": 2 * CROWD}, "each table has a primary key, and an index of its TOAST table"
    assert every["turns"] == few["turns"]


def test_index_info_asks_at_once(crowd: Database) -> None:
    crowd.sql("CREATE INDEX IF NOT EXISTS once_more ON many.t_7 (id)")
    decided, seconds, turns = deciding(crowd, "index_info")
    assert [one.subject for one in decided if getattr(one, "check", "") == "duplicate-index"] == ["many.once_more"]
    crowd.sql("DROP INDEX many.once_more")
    assert turns <= 5
    assert seconds < 4


def test_amcheck_takes_no_more_turns(crowd: Database) -> None:
    crowd.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
    few = perform("amcheck", crowd.dsn, True, include=["many.t_1"], history=False)
    many = perform("amcheck", crowd.dsn, True, include=["many.*"], history=False)
    assert many["turns"] == few["turns"]
    assert many["totals"]["planned"] == 4 * 5000
    assert many["seconds"] < BUSY


def test_health_asks_once(crowd: Database) -> None:
    crowd.sql(
        "CREATE SEQUENCE IF NOT EXISTS many.one; DO $$BEGIN FOR n IN 1 .. 1000 LOOP "
        "EXECUTE format('CREATE SEQUENCE IF NOT EXISTS many.s_%s', n); END LOOP; END$$"
    )
    for dsn in (crowd.dsn, crowd.dsn_as(crowd.role("nobody"))):
        result = look(crowd, dsn, history=False)
        assert (bad(result), result["turns"] <= 6) == ({}, True), "in one statement"
        assert result["seconds"] < BUSY
        assert "info" in levels(result).values()
