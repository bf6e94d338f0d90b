# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history stays small: what is written about 100 tables each hour, by real runs that are repeated for a quarter."""

from __future__ import annotations

import pytest

from tests.history import MIB, QUARTER, TABLES, quarter
from tests.servers import Database


def test_a_quarter_of_a_hundred_tables(database: Database) -> None:
    sizes = quarter(database)
    assert sizes.total < 20 * MIB, sizes.at_rest
    assert sizes.a_year("sample", "finding", "counter") < 20 * MIB, "what reports need"
    assert sizes.at_rest["action"] == max(sizes.at_rest.values())
    kept = dict(database.sql("SELECT plan, count(*) FROM maintenance.run GROUP BY plan"))
    assert kept["hourly"] == pytest.approx(QUARTER * 24, rel=0.02)
    assert kept["weekly"] in (QUARTER // 7, QUARTER // 7 + 1)
    sampled = dict(database.sql("SELECT relation = '', count(*) FROM maintenance.sample GROUP BY 1"))
    assert sampled[True] == pytest.approx(QUARTER * 24, rel=0.02)
    assert sampled[False] == pytest.approx(QUARTER * TABLES, rel=0.05)
    gone = "SELECT count(*) FROM maintenance.run WHERE started_at < now() - interval '90 days 1 hour'"
    assert database.value(gone) == 0
