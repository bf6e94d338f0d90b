# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.refusals import faults, lasting, warns
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects.scripts import Script


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("SELECT 1;\n\nCOPY t FROM stdin;\n1\n\\.", 3, "COPY … FROM stdin, with its data after it, is for psql"),
        ("COPY (SELECT 1) TO '/tmp/x'", 1, "COPY changes rows"),
        ("/* x */ insert into t values (1)", 1, "INSERT changes rows"),
        ("GRANT r TO u;\ncreate user mapping for u server s", 2, "CREATE USER MAPPING cannot be compared"),
        ("SELECT pg_catalog.SetVal('s', 1)", 1, "setval changes a sequence"),
        ("SELECT \"setval\"('s', 1)", 1, "setval changes a sequence"),
        ('SET "Track_Counts" = off', 1, "track_counts is what tells"),
        ("CREATE TABLE IF NOT EXISTS t (a int)", 1, "CREATE TABLE IF NOT EXISTS cannot be compared"),
        ("SELECT set_config('track_counts', 'off', true)", 1, "track_counts is what tells"),
        ("DO $$ BEGIN SET lock_timeout = 0; END $$", 1, "lock_timeout is set in a DO block"),
        ("SELECT 1;\nSELECT '\0'", 2, "NUL byte"),
    ],
)
def test_faults(text: str, line: int, reason: str) -> None:
    ((found, because),) = faults(Script("s", text))
    assert found == line
    assert reason in because


@pytest.mark.parametrize(
    "text",
    [
        "CREATE SCHEMA IF NOT EXISTS s; CREATE EXTENSION IF NOT EXISTS x; CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1)' SET lock_timeout = 0",
        "CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); DELETE FROM t; END",
        "SET lock_timeout = 0; SELECT pg_catalog.set_config('search_path', '', false); RESET ALL",
        "CREATE VIEW v AS SELECT nextval('s')",
    ],
)
def test_what_is_not_refused_unseen(text: str) -> None:
    assert faults(Script("s", text)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("SET a = 1; SELECT 2", False),
        ("CREATE TEMP TABLE t (a int)", False),
        ("SELECT 1; drop view v", True),
        ("CREATE OR REPLACE LOCAL TEMPORARY VIEW v AS SELECT 1", False),
        ("DO ''", True),
    ],
)
def test_lasting(text: str, expected: bool) -> None:
    assert lasting(Script("s", text)) is expected


def test_warns() -> None:
    assert warns(Script("s", "DO $$ BEGIN RAISE\n WARNING 'x'; END $$"))
    assert not warns(Script("s", "-- raise warning\nSELECT raise, warning"))
