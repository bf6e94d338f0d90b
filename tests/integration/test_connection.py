# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting: what is wrong is said without the password, only what can pass is waited for, and poolers are recognised."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import ConnectError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import actions, detach
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import connect as _connect
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import probe
from tests.runs import only, perform, until
from tests.servers import Database, PrivateServer, free_port
from tests.tables import held

SECRET = "Pa55'w\"o%r@d/#?:ü &x"
ENCODED = quote(SECRET, safe="")


def info(dsn: str, **options: Any) -> dict[str, Any]:
    return perform("history_info", dsn, **options)


def refused(dsn: str, **options: Any) -> str:
    """The message of a connection that fails, which holds no form of the password."""
    try:
        result = info(dsn, **options)
    except OptionError as error:
        return clean(str(error))
    assert result["failed"]
    clean(str(result))
    return str(result["msg"])


def clean(text: str) -> str:
    for form in (SECRET, ENCODED, repr(SECRET)[1:-1], "Pa55"):
        assert form not in text
    return text


def url(database: Database, user: str, password: str = ENCODED, more: str = "") -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{database.server.port}/{database.name}{more}"


def connections(database: Database) -> int:
    count: int = database.value("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
    return count


# What cannot pass


def test_password_with_every_difficult_character(database: Database) -> None:
    role = database.role("login", password=SECRET)
    assert info(url(database, role))["runs"] == []
    assert info(database.tcp_dsn(role, SECRET))["runs"] == []


def test_wrong_password_is_not_tried_again(database: Database) -> None:
    """The role and the database have names that sound like something that passes: only the server's words count."""
    role = database.role("recovery timed out", password="another one")
    message = refused(url(database, quote(role)), connect_deadline=60)
    assert "password authentication failed" in message
    log = database.server.embedded.log.read_text(encoding="utf-8", errors="replace")
    assert log.count(f'password authentication failed for user "{role}"') == 1


def test_unknown_host() -> None:
    assert "no-such-host.invalid" in refused(f"postgresql://u:{ENCODED}@no-such-host.invalid/d", connect_deadline=0)


def test_refused_connection_is_tried_until_the_deadline() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # it refuses, and nobody else gets it meanwhile
        message = refused(f"postgresql://u:{ENCODED}@127.0.0.1:{unused.getsockname()[1]}/d", connect_deadline=0.3)
    assert "within 0.3 s (connect_deadline)" in message
    assert "refused" in message


def test_unknown_database(database: Database) -> None:
    message = refused(database.dsn_as("postgres", dbname="no such database"), connect_deadline=60)
    assert "no such database" in message


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        (f"postgresql://u:{SECRET}@h/d", "percent-encoded"),
        ("postgresql://u:Pa55%zz@h/d", "hexadecimal"),
        ("postgresql://u:Pa55@x@h/d", "percent-encoded"),
        ("postgresql://u:Pa55@h/d?sslmod=require", "sslmod"),
        ("Pa55 word", "keyword string"),
        ("host=h password=Pa55 word", "keyword string"),
    ],
)
def test_malformed(dsn: str, told: str) -> None:
    message = refused(dsn)
    assert told in message or "%" in message


def test_all_faults_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        _edge.validated(
            "run",
            {
                "dsn": "postgresql://u:Pa55@h/d?sslmod=require",
                "plan": "p",
                "budget": 0,
                "connect_deadline": -1,
                "steps": [
                    {"purge": {"table": "a.b.c", "column": "x", "older_than": "soon"}},
                    {"purg": {}},
                    {"analyze": {"tables": [""], "table": "x"}},
                    {},
                ],
            },
        )
    message = str(caught.value)
    for told in ("sslmod", "budget", "connect_deadline", "a.b.c", "older_than", "purg;", "steps[3]", "steps[4]"):
        assert told in message, (told, caught.value.errors)
    clean(message)


# What passes


def test_server_that_starts_up_is_waited_for(private_server: PrivateServer) -> None:
    dsn = private_server.dsn()
    private_server.stop()
    starter = threading.Timer(0.3, private_server.start)
    starter.start()
    try:
        assert info(dsn, connect_deadline=60)["runs"] == []
    finally:
        starter.join()


def refusal(code: str, text: str) -> bytes:
    """ErrorResponse."""
    error = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + (len(error) + 4).to_bytes(4, "big") + error


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """The port of a listener that gives these answers, one to each connection, then hangs up on all; all have to be fetched."""
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                with client:
                    if left and client.recv(4096):
                        client.sendall(left.pop(0))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        server.join(60)
    assert left == []


PLAIN = "sslmode=disable&gssencmode=disable"
WRONG = refusal("28P01", "password authentication failed")


@pytest.mark.parametrize(
    "text",
    [
        "the database system is starting up",
        'too many connections for role "u"',
        'too many connections for database "d"',
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ],
)
def test_what_passes_is_waited_for(text: str) -> None:
    """Twice the server's own answer, then another one: three attempts are made, no more."""
    with answering(refusal("57P03", text), refusal("57P03", text), WRONG) as port:
        message = refused(f"postgresql://u:{ENCODED}@127.0.0.1:{port}/d?{PLAIN}", connect_deadline=60)
    assert "password authentication failed" in message


@pytest.mark.parametrize("code", ["57P03", "53300"])
@pytest.mark.parametrize("text", ["das Datenbanksystem startet", "система баз данных запускается"])
def test_a_server_that_speaks_another_language_is_asked(monkeypatch: pytest.MonkeyPatch, code: str, text: str) -> None:
    """After each attempt it is asked by the protocol."""
    monkeypatch.setattr(probe, "LONGEST", 60.0)
    busy = refusal(code, text)
    with answering(busy, busy, busy, busy, WRONG, WRONG) as port:
        message = refused(f"postgresql://u:{ENCODED}@127.0.0.1:{port}/d?{PLAIN}", connect_deadline=60)
    assert "password authentication failed" in message


def test_too_many_connections_of_a_role(database: Database) -> None:
    role = database.role("busy", attributes=["CONNECTION LIMIT 1"])
    first = database.connect(role)
    closer = threading.Timer(0.3, first.close)
    closer.start()
    try:
        assert info(database.dsn_as(role), connect_deadline=60)["runs"] == []
    finally:
        closer.join()


# Environment


@pytest.mark.parametrize("form", ["url", "keywords", "socket"])
def test_environment_does_not_redirect(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    role = database.role("login", password=SECRET)
    service = tmp_path / "services.conf"
    service.write_text("[evil]\nhost=192.0.2.1\nhostaddr=192.0.2.1\nport=1\ndbname=evil\nuser=evil\npassword=evil\n")
    for name, value in {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGSERVICE": "evil",
        "PGSERVICEFILE": str(service),
        "PGDATABASE": "evil",
        "PGUSER": "evil",
    }.items():
        monkeypatch.setenv(name, value)
    port = database.server.port
    dsn = {
        "url": url(database, role),
        "keywords": database.tcp_dsn(role, SECRET).replace("hostaddr=''", ""),
        "socket": f"host={database.server.postmaster.socket_directory} port={port} user=postgres dbname={database.name}",
    }[form]
    result = info(dsn, connect_deadline=60)
    assert result.get("server", {}).get("database") == database.name, result
    assert os.environ["PGSERVICE"] == "evil"


def test_undefined_service_does_not_matter(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "not defined anywhere")
    assert info(database.dsn)["runs"] == []


# Poolers


@contextmanager
def nothing_connects(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    hosts: list[str] = []

    def connect(dsn: Any, deadline: float) -> Any:
        hosts.append(dsn.host)
        raise ConnectError("not in this test")

    monkeypatch.setattr(_connect, "_connect", connect)
    yield hosts


def test_neon_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = f"postgresql://u:{ENCODED}@ep-cool-1-pooler.eu.neon.tech/d"
    with nothing_connects(monkeypatch) as hosts:
        assert "ep-cool-1.eu.neon.tech" in refused(pooled)
        assert hosts == []
        refused(pooled, pooler="direct")
        refused(pooled, pooler="allow")
        refused(pooled.replace("-pooler", ""), pooler="direct")
        refused("postgresql://db-pooler-7.example.com/d")
    assert hosts == [
        "ep-cool-1.eu.neon.tech",
        "ep-cool-1-pooler.eu.neon.tech",
        "ep-cool-1.eu.neon.tech",
        "db-pooler-7.example.com",
    ]


def pgbouncer_program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        reason = "pgbouncer is not installed (Debian's package pgbouncer)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Pgbouncer:
    """A pgbouncer before the server of a database."""

    def __init__(self, database: Database, directory: Path, mode: str) -> None:
        self.database, self.mode, self.port = database, mode, free_port()
        account = database.server.embedded.place.account
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={database.server.postmaster.socket_directory} port={database.server.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={self.port}\nunix_socket_dir=\nauth_type=any\n"
            f"pool_mode={mode}\ndefault_pool_size=3\nserver_lifetime=3600\n"
            "ignore_startup_parameters=extra_float_digits,options\n"
        )
        with settings.open() as file:  # the servers' account cannot read the directory
            self.process = subprocess.Popen(
                [pgbouncer_program(), "-q", "/dev/stdin"],
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                user=account.uid if account else None,
                cwd="/",
            )
        until(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} dbname={self.database.name} user=postgres"

    def show(self, setting: str) -> set[str]:
        """The values of a setting that the application's transactions find; all pooled backends are asked."""
        found: set[str] = set()
        with closing(psycopg2.connect(self.dsn)) as one, closing(psycopg2.connect(self.dsn)) as two:
            for connection in (one, two):
                connection.autocommit = self.mode == "statement"  # otherwise each holds a backend of its own
                with connection.cursor() as cursor:
                    cursor.execute("SELECT current_setting(%s)", [setting])
                    found |= {value for (value,) in cursor.fetchall()}
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()


@pytest.fixture
def pool(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pgbouncer]:
    database.sql("CREATE TABLE t (at timestamptz); INSERT INTO t VALUES ('2000-01-01')")
    pgbouncer = Pgbouncer(database, tmp_path, request.param)
    yield pgbouncer
    pgbouncer.close()


SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "default_transaction_read_only",
    "role",
    "idle_in_transaction_session_timeout",
)


@pytest.mark.parametrize("pool", ["transaction", "statement"], indirect=True)
@pytest.mark.parametrize("check", [True, False])
def test_transaction_pooler_is_refused_and_left_as_it_was(pool: Pgbouncer, check: bool) -> None:
    before = {name: pool.show(name) for name in SETTINGS}
    options = {"table": "t", "column": "at", "budget": 100.0}
    result = perform("purge", pool.dsn, check, **options, role="postgres")
    assert result["failed"]
    assert "transaction pooler" in result["msg"]
    assert {name: pool.show(name) for name in SETTINGS} == before
    # Allowed: it works, and nothing that outlives a statement stays in the pool, no setting and no lock.
    assert "role" in perform("purge", pool.dsn, check, **options, pooler="allow", role="postgres")["msg"]
    assert only(perform("purge", pool.dsn, check, **options, pooler="allow"))["rows"] == 1
    assert {name: pool.show(name) for name in SETTINGS} == before
    assert (
        pool.database.value(
            "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        )
        == 0
    )


@pytest.mark.parametrize("pool", ["transaction"], indirect=True)
def test_nobody_is_waited_for_without_end_behind_a_transaction_pooler(pool: Pgbouncer) -> None:
    options: dict[str, Any] = {"table": "t", "column": "at", "pooler": "allow"}
    perform("purge", pool.dsn, **options)
    pool.database.sql("INSERT INTO t VALUES ('2000-01-01')")
    with ThreadPoolExecutor(1) as thread, held(pool.database, "LOCK TABLE maintenance.run") as pid:
        result = thread.submit(perform, "purge", pool.dsn, **options).result(timeout=120)
    assert only(result)["rows"] == 1
    assert f"session {pid} " in result["warnings"][0]


PARTITIONED = """
CREATE TABLE p (at timestamptz) PARTITION BY RANGE (at); CREATE TABLE p0 PARTITION OF p FOR VALUES FROM ('2000-01-01') TO
('2000-02-01'); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2000-02-01') TO ('2000-03-01');
CREATE TABLE p9 PARTITION OF p FOR VALUES FROM ('2100-01-01') TO ('2100-02-01'); INSERT INTO p VALUES ('2000-01-02');
"""


@pytest.mark.parametrize("pool", ["transaction"], indirect=True)
def test_partitions_go_under_limits_behind_a_transaction_pooler(
    pool: Pgbouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONCURRENTLY cannot have any; what somebody else has half detached is finished under them as well."""
    monkeypatch.setattr(detach.Wait, "over", lambda self, *given: 0.0)
    database, before = pool.database, {name: pool.show(name) for name in SETTINGS}
    database.sql(PARTITIONED)
    options: dict[str, Any] = {"table": "p", "column": "at", "partitions": "drop", "pooler": "allow"}
    refused = perform("purge", pool.dsn, **options, concurrently="require")["actions"][0]
    assert (refused["outcome"], "transaction pooler" in refused["reason"]) == ("failed", True), refused
    with held(database, "SELECT FROM p0"), ThreadPoolExecutor(1) as thread, monkeypatch.context() as impatient:
        detached = thread.submit(database.connect().cursor().execute, "ALTER TABLE p DETACH PARTITION p0 CONCURRENTLY")
        until(lambda: database.value("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"))
        ours = "WHERE datname = current_database() AND query LIKE 'ALTER TABLE p DETACH%'"
        database.sql(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity {ours}")
        assert detached.exception(60)
        impatient.setattr(actions, "PATIENCE", 0.5)
        waiting = thread.submit(perform, "purge", pool.dsn, **options).result(timeout=120)["actions"]
        assert [one["outcome"] for one in waiting if one["target"] == "public.p0"] == ["contended"], waiting
    done = {one["target"]: one for one in perform("purge", pool.dsn, **options)["actions"]}
    assert (done["public.p0"]["outcome"], done["public.p1"]["outcome"]) == ("done", "done"), done
    assert database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass") == 1
    assert {name: pool.show(name) for name in SETTINGS} == before


@pytest.mark.parametrize("pool", ["session"], indirect=True)
def test_pool_in_session_mode_is_as_good_as_the_server(pool: Pgbouncer) -> None:
    table: dict[str, Any] = {"table": "t", "column": "at", "role": "postgres"}
    probe = "current_setting('lock_timeout') = '2s' OR current_setting('transaction_read_only') = 'on'"
    assert only(perform("purge", pool.dsn, True, **table, where=probe))["outcome"] == "planned"
    result = perform("purge", pool.dsn, **table)
    assert (result["status"], only(result)["rows"]) == ("ok", 1)


@pytest.mark.parametrize("pool", ["session"], indirect=True)
def test_what_the_last_user_of_a_backend_has_changed_is_not_ours(pool: Pgbouncer) -> None:
    """It has not been reported when the pool hands the backend over."""
    view = "CREATE OR REPLACE VIEW v AS SELECT at FROM t"
    for _turn in range(2):
        result = perform("purge", pool.dsn, table="t", column="at")
        assert (result["status"], bool(result["run_id"])) == ("ok", True)
        installed = perform("sql_object", pool.dsn, sql=view)
        assert not installed.get("failed"), installed["msg"]


# Language


@pytest.mark.parametrize(("code", "outcome"), [("55P03", "contended"), ("P0001", "failed")])
def test_codes_decide_and_not_words(database: Database, code: str, outcome: str) -> None:
    """The server may speak any language."""
    words = "nicht verfügbar" if code == "55P03" else "canceling statement due to lock timeout"
    database.sql("CREATE TABLE t (at timestamptz); INSERT INTO t VALUES ('2000-01-01')")
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"'BEGIN RAISE EXCEPTION ''{words}'' USING ERRCODE = ''{code}''; END'"
    )
    database.sql("CREATE TRIGGER refuse BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse()")
    action = only(perform("purge", database.dsn, table="t", column="at"))
    assert action["outcome"] == outcome
    assert words in action["reason"]
