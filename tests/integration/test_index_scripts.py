# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scripts of index_info on real servers: both are applied, and everything is there again; and the counters of standbys."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.indexes import LEFTOVER, OBJECTS, dropped_and_made_again, finding, found, psql, review, scripts
from tests.runs import perform, playbook, until
from tests.servers import Database, PrivateServer, Server, Servers, free_port
from tests.tables import write

# Names that end a comment, a string or an identifier where somebody has not quoted them.
HOSTILE = [
    'a"b',
    "a'b",
    "new\nline; DROP TABLE plain",
    "--",
    "$$",
    "\\q",
    "{0}",
    "%s",
    ":x",
    "tab\tle",
    "ünï",
    "select",
    "/* ",
]
SPACES = """
CREATE INDEX spaced ON plain (a, id, c) TABLESPACE "other space" WHERE a > 7;
CREATE INDEX spaced_whole ON parts (id) TABLESPACE "other space"
"""


@pytest.fixture(scope="module")
def primary(servers: Servers) -> Iterator[PrivateServer]:
    """A server with a tablespace."""
    made = servers.private()
    with closing(psycopg2.connect(made.dsn())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute("CREATE TABLESPACE \"other space\" LOCATION ''")
    yield made
    made.embedded.remove()


@pytest.fixture
def place(primary: PrivateServer) -> Iterator[Database]:
    """A database of that server."""
    made = primary.create_database()
    yield made
    made.close()


def test_both_scripts_are_applied_and_all_is_as_it_was(place: Database) -> None:
    place.sql(OBJECTS)
    for statement in SPACES.split(";"):
        place.sql(statement)
    for name in HOSTILE:
        quoted = '"' + name.replace('"', '""') + '"'
        place.sql(f"CREATE TABLE {quoted} (a int)")
        place.sql(f'CREATE INDEX "index of {quoted[1:]} ON {quoted} (a)')
        place.sql(f"COMMENT ON INDEX \"index of {quoted[1:]} IS '{name.replace(chr(39), chr(39) * 2)}'")
    place.sql(f"ALTER DATABASE {place.name} SET default_tablespace = 'other space'")
    _drop, undo = dropped_and_made_again(place)
    assert f"-- {LEFTOVER} was not valid: there is nothing to undo" in undo


def test_a_script_without_anything_to_do_is_one(database: Database) -> None:
    drop, undo = scripts(database)
    assert "There is nothing to do." in drop
    assert psql(database, drop + undo) == ""


def test_what_stays_for_the_sake_of_another_is_not_dropped_with_it(database: Database) -> None:
    database.sql("CREATE TABLE t (a int, b int); CREATE INDEX short ON t (a)")
    database.sql("INSERT INTO t SELECT n, n FROM generate_series(1, 5000) AS n")
    write(database, "SET enable_seqscan = off", "SELECT * FROM t WHERE a = 1")
    database.sql("CREATE INDEX longer ON t (a, b)")
    assert database.value("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'short'") == 1
    drop, _undo = scripts(database)
    assert re.findall("^DROP.*", drop, re.MULTILINE) == ["DROP INDEX CONCURRENTLY public.short;"]


def counters_of(database: Database, seconds: float) -> None:
    """Wait until the counters are older than that."""
    began = "SELECT extract(epoch FROM clock_timestamp() - stats_reset) FROM pg_stat_archiver"
    until(lambda: database.value(began) > seconds)


def test_how_old_an_index_is_is_known_from_the_history(database: Database) -> None:
    database.sql("CREATE TABLE t (a int, b int, c int); CREATE INDEX old ON t (a); CREATE INDEX used ON t (b)")
    write(database, "SET enable_seqscan = off; SELECT * FROM t WHERE b = 1")
    counters_of(database, 2)
    # Nobody knows how old they are.
    one = finding(review(database, unused_after="1s", check=True), "public.old")
    assert (one["level"], one["evidence"]["confidence"]) == ("info", "low")
    assert "drop" not in one["evidence"]
    perform("analyze", database.dsn, tables=["t"])
    database.sql("UPDATE maintenance.run SET finished_at = finished_at - interval '1 h'")
    database.sql("CREATE INDEX young ON t (c)")
    result = review(database, unused_after="1s", check=True)
    assert set(found(result, "unused-index")) >= {"public.old", "public.young"}
    sure = {name: finding(result, f"public.{name}")["evidence"]["confidence"] for name in ("old", "young")}
    assert sure == {"old": "high", "young": "low"}
    assert finding(result, "public.old")["evidence"]["drop"] == "DROP INDEX CONCURRENTLY public.old"
    # It is known when an index was last used, and that was a while ago.
    until(
        lambda: database.value(
            "SELECT now() - last_idx_scan > '1 s' FROM pg_stat_user_indexes WHERE indexrelname = 'used'"
        )
    )
    used = finding(review(database, unused_after="1s", check=True), "public.used")
    assert (used["message"][:9], used["evidence"]["scans"], used["evidence"]["confidence"]) == ("last used", 1, "high")
    assert "public.used" not in found(review(database, unused_after="0"))
    # Young counters say nothing.
    young = review(database)
    assert found(young, "unused-index") == {}
    (unknown,) = [one for one in young["findings"] if one["check"] == "unused-index"]
    assert (unknown["level"], "and an index is called unused after 35 d" in unknown["message"]) == ("info", True)


def test_a_crash_makes_the_counters_young(place: Database, primary: PrivateServer) -> None:
    """The server forgets even that it has: what it says of a database is empty then."""
    place.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a)")
    place.sql("CHECKPOINT")
    place.sql("SELECT pg_stat_reset()")
    now = place.value("SELECT clock_timestamp()")
    place.close_connection()
    primary.crash()
    primary.start()
    assert place.value("SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()") is None
    since = finding(review(place, unused_after="0"), "public.one")["evidence"]["counted_since"]
    assert datetime.fromisoformat(since) >= now.replace(microsecond=0)


@contextmanager
def standby(primary: PrivateServer) -> Iterator[str]:
    """A standby that streams from the primary; its connection string without a database."""
    embedded = primary.embedded
    where, port = embedded.place.home / "standby", free_port()
    user = embedded.place.account.uid if embedded.place.account else None
    source = primary.dsn()
    base = [str(primary.bin / "pg_basebackup"), "-D", str(where), "-d", source, "-R", "-c", "fast"]
    subprocess.run(base, user=user, cwd=embedded.data, check=True, capture_output=True)
    control = [str(primary.bin / "pg_ctl"), "-D", str(where), "-w", "-s"]
    options = [
        "-l",
        str(where / "log"),
        "-o",
        f"-p {port} -k {primary.postmaster.socket_directory} -c allow_in_place_tablespaces=on",
        "start",
    ]
    subprocess.run([*control, *options], user=user, cwd=embedded.data, check=True, stdout=subprocess.DEVNULL)
    # It answers before it streams; and of what has copied the primary something may still be there.
    until(lambda: primary.sql("SELECT array_agg(state) FROM pg_stat_replication") == [(["streaming"],)])
    try:
        yield re.sub(r"port=\S+", f"port={port}", re.sub(r"dbname=\S+ ?", "", source))
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], user=user, cwd=embedded.data, check=True)


def test_what_standbys_use_is_used(place: Database, primary: PrivateServer, server: Server) -> None:
    place.sql("CREATE TABLE t (a int, b int); CREATE INDEX here ON t (a); CREATE INDEX there ON t (b)")
    place.sql(
        "CREATE TABLE s (a int) PARTITION BY RANGE (a); CREATE TABLE s1 PARTITION OF s FOR VALUES FROM (0) TO (9)"
    )
    place.sql("CREATE INDEX parts ON s (a)")
    perform("analyze", place.dsn, tables=["t"])
    other = primary.create_database()
    with standby(primary) as elsewhere:
        dsn = f"{elsewhere} dbname={place.name}"
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SET enable_seqscan = off")
            cursor.execute("SELECT * FROM t WHERE b = 1")
            cursor.execute("SELECT * FROM s WHERE a = 1")
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute("SELECT")
        unseen = review(place, unused_after="0")
        assert found(unseen, "unused-index") == {}
        blind = review(place, place.dsn_as(place.role("nobody")), unused_after="0")
        for result in (unseen, blind):
            assert "1 standbys read from this server, and replicas names 0 of them" in str(result["findings"])
        seen = review(place, unused_after="0", replicas=[dsn])
        assert (found(seen, "unused-index"), seen["warnings"]) == ({"public.here": "unused-index"}, [])
        # On the standby itself, with and without the primary.
        alone = review(place, dsn, unused_after="0")
        assert found(alone, "unused-index") == {}
        assert "this is a standby, and the primary is not among replicas" in alone["warnings"][0]
        both = review(place, dsn, unused_after="0", replicas=[place.dsn])
        assert found(both, "unused-index") == {"public.here": "unused-index"}
        password = "geheim-und-lang"
        wrong = {
            f"{elsewhere} dbname={other.name}": "it is the database",
            server.dsn(): "it is no standby of this server",
            f"{elsewhere} password={password} dbname=nowhere": "cannot connect",
        }
        for text, said in wrong.items():
            result = perform(
                "run", place.dsn, plan="weekly", steps=[{"index_info": {"unused_after": "0", "replicas": [text]}}]
            )
            assert found(result, "unused-index") == {}, said
            assert [said in one and "nothing is called unused: replicas[1]" in one for one in result["warnings"]] == [
                True
            ]
            assert password not in str(result)
    kept = (
        str(place.sql("SELECT steps FROM maintenance.run"))
        if place.value("SELECT to_regclass('maintenance.run')")
        else ""
    )
    assert password not in kept


def test_files_are_written_by_the_machine_that_asks(database: Database, tmp_path: Path) -> None:
    """Wherever the work is done; not in check mode, and not again. A step's connection strings are shown nowhere."""
    database.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX two ON t (a)")
    (tmp_path / "reports").mkdir()
    password = "geheim-und-lang"
    where = {"dsn": database.dsn, "drop_script": "reports/drop.sql"}
    step = {"index_info": {"drop_script": "reports/plan-drop.sql", "replicas": [f"{database.dsn} password={password}"]}}
    wrong = {"index_info": {"unused_after": "soon", "replicas": [f"postgresql://u:{password}@h/d"]}}
    as_module = {"environment": {"ANY": "thing"}}
    tasks: list[dict[str, Any]] = [
        {"vtchat.maintenance.index_info": where, "check_mode": True, "register": "foretold"},
        {"ansible.builtin.stat": {"path": str(tmp_path / "reports/drop.sql")}, "register": "before"},
        {"vtchat.maintenance.index_info": where, "register": "first"},
        {"vtchat.maintenance.index_info": where, "register": "second", **as_module},
        {"vtchat.maintenance.run": {"dsn": database.dsn, "plan": "p", "steps": [step]}, "register": "plan", **as_module},
        *({"vtchat.maintenance.run": {"dsn": database.dsn, "plan": "p", "steps": [wrong]}, "ignore_errors": True,
           "register": name, **how} for name, how in (("faulty", {}), ("faulty_module", as_module))),
        {"vtchat.maintenance.index_info": {**where, "drop_script": "nowhere/drop.sql"}, "ignore_errors": True,
         "register": "lost"},
        {"ansible.builtin.assert": {"that": [
            "foretold is changed and not before.stat.exists",
            "first is changed and first.files == ['reports/drop.sql', 'reports/undo.sql']",
            "second is not changed and second.files == first.files",
            "plan is changed and plan.files == ['reports/plan-drop.sql', 'reports/plan-undo.sql']",
            "faulty is failed and faulty_module is failed and 'is not an age' in faulty.msg",
            "lost is failed and 'cannot write nowhere/drop.sql: ' in lost.msg",
            "'nowhere is not there: make it, or name another file' in lost.msg",
            "lost.actions | length == 1"]}},
    ]  # fmt: skip
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    done = playbook(tmp_path, play, {"ansible_python_interpreter": sys.executable}, "-vvv")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert password not in done.stdout + done.stderr
    written = (tmp_path / "reports/drop.sql").read_text(encoding="utf-8")
    assert "DROP INDEX CONCURRENTLY public.two;" in written
    assert (tmp_path / "reports/drop.sql").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "reports/plan-drop.sql").read_text(encoding="utf-8") == written
