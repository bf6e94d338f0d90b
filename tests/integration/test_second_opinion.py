# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""check_postgres (Debian's package check-postgres) as a second opinion about a server that is well, and about one that is sick.

Where both have a check, they say the same by their own defaults, or the table says why not; and with the same limits they say
the same, or the table says why not even then. What it has and we have not is on a list of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import pytest

from tests.health import look
from tests.runs import until
from tests.servers import Database, PrivateServer

OK, WARNING, CRITICAL = "info", "warning", "critical"
LEVELS = {0: OK, 1: WARNING, 2: CRITICAL, 3: "unknown"}
HOUR, HUGE = 3600, 1 << 50


class Case(NamedTuple):
    """One check that both have.

    action    what check_postgres is asked
    check     ours
    limits    theirs, which are the same as ours of ``thresholds``
    defaults  what they and we say of the sick server by default; None: it has no defaults
    same      likewise, with the same limits
    why       the reason where they differ
    """

    action: str
    check: str
    limits: tuple[str, str]
    thresholds: dict[str, float | None]
    defaults: tuple[str | None, str]
    same: tuple[str, str]
    why: str = ""


CASES = (
    Case(
        "backends", "connections", ("70%", "99%"), {"warning": 70, "critical": 99}, (OK, WARNING), (OK, WARNING),
        "it counts the connections that are kept for superusers as available to everybody",
    ),
    Case(
        "sequence", "sequence-health", ("75%", "90%"), {"warning": 75, "critical": 90}, (WARNING, CRITICAL), (CRITICAL, CRITICAL),
        "its limits are 85 and 95 %; pgdoctor's, which are ours, leave more time to change the type",
    ),
    Case(
        "prepared_txns", "prepared-transactions", ("1", str(HOUR)), {"warning": 1, "critical": HOUR}, (WARNING, OK),
        (WARNING, WARNING),
        "its limits are 1 and 30 seconds; a coordinator that is alive may need more",
    ),
    Case(
        "txn_idle", "idle-in-transaction", ("1", str(HOUR)), {"warning": 1, "critical": HOUR}, (None, OK), (WARNING, WARNING),
        "it has no defaults",
    ),
    Case(
        "txn_time", "long-transactions", ("1", str(HOUR)), {"warning": 1, "critical": HOUR}, (None, OK), (WARNING, OK),
        "a transaction of one statement is a long query, and one that waits for its client is idle: each is told once",
    ),
    Case(
        "query_time", "long-queries", ("1", str(HOUR)), {"warning": 1, "critical": HOUR}, (None, OK), (WARNING, WARNING),
        "it has no defaults",
    ),
    Case(
        "replication_slots", "replication-slots", ("1 MB", "1 TB"), {"warning": 0.01, "critical": 1e6}, (None, OK),
        (WARNING, WARNING),
        "it has no defaults",
    ),
    Case(
        "archive_ready", "archiver", ("10", "15"), {"warning": 10, "critical": 15}, (OK, CRITICAL), (OK, CRITICAL),
        "from PostgreSQL 10 on it looks for these files in another directory, and finds none",
    ),
    Case(
        "txn_wraparound", "freeze-age", ("5", "1400000000"), {"warning": 5, "critical": 1400000000}, (OK, OK),
        (WARNING, WARNING),
    ),
    Case(
        "database_size", "database-size", ("1 MB", "1 TB"), {"warning": 1 << 20, "critical": 1 << 40}, (None, OK),
        (WARNING, WARNING),
        "it has no defaults, and we have one only where a limit is known",
    ),
    Case("hitratio", "cache-hit", ("1%", "0%"), {"warning": 1, "critical": 0}, (OK, OK), (OK, OK)),
    Case("bloat", "table-bloat", ("100 MB", "1 GB"), {"warning": 50, "critical": 80}, (OK, OK), (OK, OK)),
    Case(
        "last_analyze", "statistics-freshness", ("1", "1000 days"), {"warning": 1e-5, "critical": 1000}, (OK, OK), (WARNING, OK),
        "it goes by the time alone, also of tables that nobody has changed since",
    ),
)  # fmt: skip
# What it has and we have not, with the reason.
NOT_OURS = {
    "locks": "a number of locks says nothing: blocked-sessions tells who waits for whom, and how long",
    "wal_files": "how many there are follows from max_wal_size; what keeps them is told: slots, and the archiver",
    "commitratio": "a rollback is no illness of the database",
    "disabled_triggers": "they are disabled on purpose, by a load or a restore",
    "autovac_freeze": "freeze-age says the same by transactions; a percentage of autovacuum_freeze_max_age is reached each time",
    "last_vacuum": "dead-rows and autovacuum-behind say whether one is due; that none was does not mean that one is",
}


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which("check_postgres")
    if found is None:
        assert not os.environ.get("CI"), "check_postgres is missing"
        pytest.skip("needs check_postgres (Debian's package check-postgres)")
    return found


class Theirs:
    """check_postgres about one database."""

    def __init__(self, program: str, database: Database) -> None:
        self.program, self.database = program, database

    def say(self, action: str, *more: str) -> tuple[str, str]:
        """The level, and what it prints."""
        server = self.database.server
        where = [f"--host={server.postmaster.socket_directory}", f"--port={server.port}", "--dbuser=postgres"]
        command = [self.program, f"--action={action}", *where, f"--dbname={self.database.name}", *more]
        known = {"PATH": f"{server.bin}:{os.environ['PATH']}", "LC_ALL": "C"}  # where it finds psql
        done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=120, check=False)
        return LEVELS[done.returncode], done.stdout + done.stderr


def ours(result: dict[str, Any], case: Case) -> str:
    """The worst level of a check."""
    levels = [one["level"] for one in result["findings"] if one["check"] == case.check and one["level"] != "unknown"]
    return max(levels, default=OK, key=[OK, WARNING, CRITICAL].index)


@contextmanager
def sick(server: PrivateServer, database: Database) -> Iterator[None]:
    """Connections almost used up, a sequence at its end, transactions left open, a slot that nobody reads, no archive."""
    database.sql("ALTER SYSTEM SET archive_command = 'false'")
    database.sql("SELECT pg_reload_conf()")
    until(lambda: archiving_fails(database))  # the archiver goes by the old command for some time
    database.sql("SELECT setval('nearly', 920), pg_create_physical_replication_slot('idle', true)")
    database.sql("BEGIN; INSERT INTO t VALUES (0); PREPARE TRANSACTION 'left'")
    for number in range(16):
        database.sql("INSERT INTO t VALUES (%s)", [-1 - number])
        database.sql("SELECT pg_switch_wal()")
    with ExitStack() as stack:
        held = [stack.enter_context(closing(database.connect())) for _number in range(9)]
        held[0].cursor().execute("BEGIN; SELECT 1")
        works = [str(server.bin / "psql"), "-qXd", database.dsn, "-c", "SELECT pg_sleep(600)"]
        process = subprocess.Popen(works, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: database.value(SICK_ENOUGH))
            yield
        finally:
            process.kill()
            process.wait(120)


def archiving_fails(database: Database) -> bool:
    """Whether the next file of WAL is not archived."""
    seen = "SELECT archived_count, failed_count FROM pg_stat_archiver"
    before = database.sql(seen)
    database.sql("INSERT INTO t SELECT max(id) + 1 FROM t")
    database.sql("SELECT pg_switch_wal()")
    until(lambda: database.sql(seen) != before)
    return bool(database.value("SELECT failed_count > 0 FROM pg_stat_archiver"))


# Older than the limits that are compared with; and archiving has been seen to fail.
SICK_ENOUGH = """
SELECT (SELECT clock_timestamp() - min(prepared) > '1.5 s' FROM pg_prepared_xacts)
   AND (SELECT count(*) = 2 FROM pg_stat_activity WHERE (query LIKE 'SELECT pg_sleep%' OR state = 'idle in transaction')
        AND clock_timestamp() - query_start > '1.5 s')
   AND (SELECT count(*) >= 15 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')
   AND (SELECT failed_count > 0 FROM pg_stat_archiver)
"""


def test_both_say_the_same_or_it_is_known_why_not(program: str, private_server: PrivateServer) -> None:
    private_server.restart(max_connections="20", superuser_reserved_connections="6", max_prepared_transactions="2",
                           archive_mode="on", archive_command="true")  # fmt: skip
    database = private_server.create_database()
    database.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)")
    database.sql("CREATE SEQUENCE nearly MAXVALUE 1000; ANALYZE")
    theirs, found = Theirs(program, database), look(database)
    for case in CASES:
        if case.defaults[0]:
            assert (theirs.say(case.action)[0], ours(found, case)) == (OK, OK), case.action
    with sick(private_server, database):
        compare(theirs, database)


def compare(theirs: Theirs, database: Database) -> None:
    """By their own limits, by the same, and by their numbers where those do not change from one look to the next."""
    by_default = look(database)
    limited = look(database, thresholds={case.check: case.thresholds for case in CASES})
    seen, texts = [], {}
    for case in CASES:
        defaults = theirs.say(case.action)[0] if case.defaults[0] else None
        warning, critical = case.limits
        same, texts[case.action] = theirs.say(case.action, f"--warning={warning}", f"--critical={critical}")
        told = texts[case.action] if same == "unknown" else ""
        seen.append((case.action, (defaults, ours(by_default, case)), (same, ours(limited, case)), told))
        differs = case.defaults[0] != case.defaults[1] or case.same[0] != case.same[1]
        assert bool(case.why) == differs, f"{case.action}: a reason where they differ, and only there"
    assert seen == [(case.action, case.defaults, case.same, "") for case in CASES]
    values = {(one["check"], one["subject"]): one["value"] for one in limited["findings"]}
    name = database.name
    for action, check, subject in (
        ("sequence", "sequence-health", "public.nearly"),
        ("txn_wraparound", "freeze-age", name),
        ("database_size", "database-size", name),
    ):
        number = re.search(rf"{re.escape(subject)}=(\d+)", texts[action].partition("|")[2])
        assert number, texts[action]
        assert int(number[1]) == pytest.approx(values[check, subject], rel=0.02, abs=3), action


def test_each_of_its_checks_of_a_database_is_on_one_of_the_lists(program: str) -> None:
    """Those of pgbouncer, Bucardo, Slony and the operating system are about something else, and so are bare measures."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    there = set(re.findall(r"^ ([a-z_]+) +- ", text, re.MULTILINE))
    elsewhere = {
        *(name for name in there if name.startswith(("pgb_", "pgbouncer", "new_version", "slony", "pgagent"))),
        *(
            "connection",
            "custom_query",
            "dbstats",
            "disk_space",
            "listener",
            "logfile",
            "query_runtime",
            "same_schema",
            "timesync",
        ),
        *("cluster_id", "settings_checksum", "version", "replicate_row", "hot_standby_delay", "checkpoint"),
        *(
            "fsm_pages",
            "fsm_relations",
            "index_size",
            "indexes_size",
            "relation_size",
            "table_size",
            "total_relation_size",
        ),
        *("last_autoanalyze", "last_autovacuum"),
    }
    assert there == elsewhere | set(NOT_OURS) | {case.action for case in CASES}
