# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of counters, settings and releases, where a server cannot be brought into that state soon."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import releases, server, sessions, wraparound
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID

from .asked import ASKED, JUDGE

HOUR, DAY, GIB = 3600.0, 86400.0, 2**30
COUNTERS = {
    "hit": 10**7, "read": 0, "transactions": 10_000, "temp_files": 0, "temp_bytes": 0,
    "failures": 0, "shared_failures": 0, "seconds": 30 * DAY,
    "checksums": "on",
}  # fmt: skip


@pytest.mark.parametrize(
    ("check", "changes", "value", "level"),
    [
        ("cache-hit", {}, 100, "info"),
        ("cache-hit", {"read": 0, "hit": 0}, 100, "info"),
        ("cache-hit", {"hit": 100, "read": 900}, 10, "info"),
        ("cache-hit", {"hit": 899_999, "read": 100_001}, 90, "warning"),
        ("temporary-files", {"temp_bytes": 3000 * GIB}, 100 * GIB, "warning"),
        ("temporary-files", {"temp_bytes": 2999 * GIB}, round(2999 / 30 * GIB), "info"),
        ("temporary-files", {"temp_bytes": 30 * GIB, "seconds": HOUR - 1}, 720 * GIB, "info"),
        ("temporary-files", {"temp_bytes": 3000 * GIB, "transactions": 9_999}, 100 * GIB, "info"),  # a restore
        ("cache-hit", {"hit": 1, "read": 10**7, "transactions": 9_999}, 0, "info"),
        ("temporary-files", {"temp_bytes": GIB - 1, "seconds": HOUR}, 24 * GIB - 24, "info"),
        ("checksum-failures", {"shared_failures": 1}, 1, "critical"),
        ("checksum-failures", {"failures": None, "shared_failures": None, "checksums": "off"}, 0, "info"),
        ("checksums-off", {"checksums": "off"}, 1, "info"),
        ("statistics-age", {"seconds": 0.0}, 0, "info"),
        ("statistics-age", {"seconds": None}, 0, "info"),
    ],
)
def test_counters(check: str, changes: dict[str, Any], value: float, level: str) -> None:
    found = JUDGE.findings(BY_ID[check], BY_ID[check].samples([{**COUNTERS, **changes}], ASKED))
    assert [(one.value, one.level) for one in found] == [(value, level)]


def test_what_a_provider_has_set_it_answers_for() -> None:
    rows = [{"name": "fsync", "setting": "off"}, {"name": "zero_damaged_pages", "setting": "on"}]
    for provider, level in (("postgresql", "critical"), ("neon", "info")):
        asked = replace(ASKED, server=replace(ASKED.server, provider=provider))
        found = JUDGE.findings(BY_ID["durability-settings"], server.durability(rows, asked))
        assert {one.level for one in found} == {level}
        blind = JUDGE.findings(
            BY_ID["track-counts"], server.tracking([{"name": "track_counts", "setting": "off"}], asked)
        )
        assert [one.level for one in blind] == ["warning"]
    assert [one.value for one in server.tracking(rows, ASKED)] == [0]


def test_faults_of_releases() -> None:
    new = ("VACUUM can leave GIN", "index-only")

    def old(version: int) -> list[str]:
        return [fault.what for fault in releases.faults_of(version) if not fault.what.startswith(new)]

    assert old(180006) == old(170011) == old(190000) == []
    assert old(140004) == old(140008)
    assert len(old(140003)) == len(old(140004)) + 1 == len(old(140001)) - 1
    assert len(old(160000)) == len(old(160001)) + 1 == len(old(160002)) + 2
    assert len(old(170000)) == len(old(170001)) + 2
    for fault in releases.FAULTS:
        for major, minor in fault.fixed.items():
            assert fault in releases.faults_of(major * 10000 + minor - 1)
            assert fault not in releases.faults_of(major * 10000 + minor)
    assert releases.days_without_fixes(140023, date(2026, 11, 12)) == 0
    assert releases.days_without_fixes(140023, date(2026, 11, 13)) == 1
    assert releases.days_without_fixes(990000, date(2099, 1, 1)) == 0


@pytest.mark.parametrize(("days", "level"), [(0, "info"), (89, "info"), (90, "warning")])
def test_a_release_without_fixes(days: int, level: str) -> None:
    asked = replace(ASKED, server=replace(ASKED.server, version_num=140099, version="14.99"))
    today = releases.LAST_FIXES[14].fromordinal(releases.LAST_FIXES[14].toordinal() + days)
    found = JUDGE.findings(BY_ID["pg-version"], server.version([{"today": today.isoformat(), "exposed": []}], asked))
    assert [one.level for one in found] == [level]
    assert ("no fixes" in found[0].message) == bool(days)


@pytest.mark.parametrize(
    ("state", "transaction", "seconds", "told"),
    [
        ("active", 100.0, 100.0, ["long-queries"]),
        ("active", 100.0, 51.0, ["long-queries"]),
        ("active", 100.0, 49.0, ["long-queries", "long-transactions"]),
        ("active", None, 5.0, ["long-queries"]),
        ("idle in transaction", 100.0, 99.0, ["idle-in-transaction"]),
        ("idle in transaction", 100.0, 1.0, ["idle-in-transaction", "long-transactions"]),
        ("idle in transaction (aborted)", None, 99.0, ["idle-in-transaction"]),
        ("fastpath function call", 10.0, 1.0, ["long-transactions"]),
        ("disabled", None, None, []),
    ],
)
def test_which_check_tells_of_a_session(
    state: str, transaction: float | None, seconds: float | None, told: list[str]
) -> None:
    row = {
        "pid": 7, "user": "u", "application": "", "state": state, "wait_event_type": None, "wait_event": None,
        "transaction": transaction, "seconds": seconds,
    }  # fmt: skip
    found = [{"sees": True, "sessions": [row]}]
    checks = [check for check in sessions.CHECKS if "idle-in-transaction" in (check.id, check.of)]
    assert sorted(check.id for check in checks if check.samples(found, ASKED)[0].subject == "pid 7") == told
    unknown = {check.id for check in checks if None in [one.value for one in check.samples(found, ASKED)]}
    assert unknown == ({check.id for check in checks} if state == "disabled" else set())


def test_members_do_not_run_out_from_19_on() -> None:
    new = replace(ASKED, server=replace(ASKED.server, version_num=190000))
    assert list(wraparound.members([], new)) == []
    (hidden,) = wraparound.members([], ASKED)
    (seen,) = wraparound.members([{"segments": 41021}], ASKED)
    assert (hidden.value, seen.value) == (None, 41021 * 52352)
    assert [one.level for one in JUDGE.findings(BY_ID["multixact-members"], [seen])] == ["warning"]
