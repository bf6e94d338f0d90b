# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run adds to the counters, and what it says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils import _origin
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import history_tables
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.closing import counted
from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_tables import PARTS, VERSION, tables
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import selection
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import entry

COLLECTION = Path(__file__).resolve().parents[5]


def test_counted() -> None:
    actions = [
        entry("vacuum", "t", "done", "", rows=7, numbers={"won_bytes": 8192}),
        entry("vacuum", "u", "done", "", rows=1, numbers={"won_bytes": 100}),
        entry("purge", "t", "done", "", rows=70, counted_as="purged"),
        entry("purge", "u", "failed", "", rows=None, counted_as="purged"),
        entry("reindex", "i", "unchanged", "", numbers={"won_bytes": -5}),
    ]
    assert counted(actions, [("purge", "u"), ("purge", "v")]) == [
        {"operation": "purge", "outcome": "abandoned", "actions": 2, "rows": 0, "reclaimed_bytes": 0},
        {"operation": "purge", "outcome": "done", "actions": 1, "rows": 70, "reclaimed_bytes": 0},
        {"operation": "purge", "outcome": "failed", "actions": 1, "rows": 0, "reclaimed_bytes": 0},
        {"operation": "reindex", "outcome": "unchanged", "actions": 1, "rows": 0, "reclaimed_bytes": 0},
        {"operation": "vacuum", "outcome": "done", "actions": 2, "rows": 0, "reclaimed_bytes": 8292},
    ], "a counter never goes down"
    assert counted([]) == []


def test_the_version_is_that_of_the_collection() -> None:
    galaxy = yaml.safe_load((COLLECTION / "galaxy.yml").read_text(encoding="utf-8"))
    assert galaxy["version"] == _origin.COLLECTION


def test_every_statement_that_knows_our_tables_knows_all_of_them() -> None:
    assert set(tables(VERSION)) == set(PARTS)
    texts = [Path(selection.__file__).read_text(encoding="utf-8"), history_tables.FOUND]
    listed = [re.findall(r"c\.relname IN \(('run'[^)]*)\)", text) for text in texts]
    assert listed == [[", ".join(f"'{name}'" for name in tables(VERSION))]] * 2
