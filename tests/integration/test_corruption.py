# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""amcheck finds what is corrupt: bytes that were flipped in the files of tables and indexes of a server that was stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs import perform
from tests.servers import Database, PrivateServer, Servers

PAGE = 8192
TABLE = """
CREATE TABLE {0} (id int PRIMARY KEY, note text, small text);
ALTER TABLE {0} ALTER note SET STORAGE EXTERNAL;
INSERT INTO {0} SELECT n, repeat('x', CASE WHEN n % 100 = 0 THEN 5000 ELSE 20 END), md5(n::text)
FROM generate_series(1, 2000) AS n;
CREATE INDEX {0}_small ON {0} (small);
"""
TABLES = ("well", "rows", "pages", "keys", "away", "toast", "lost")


@pytest.fixture(params=["server", "postgres15"])
def private(servers: Servers, request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    made = servers.private(request.getfixturevalue(request.param).bin)
    yield made
    made.embedded.remove()


class Files:
    """The files of a database, for whoever stops the server and writes into them."""

    def __init__(self, server: PrivateServer, database: Database) -> None:
        self.server, self.database = server, database

    def of(self, relation: str) -> Path:
        found: str = self.database.value("SELECT pg_relation_filepath(%s)", [relation])
        return self.server.embedded.data / found

    def write(self, path: Path, position: int, data: bytes) -> None:
        with path.open("r+b") as file:
            file.seek(position)
            file.write(data)

    def item(self, path: Path, page: int, line: int = 1) -> int:
        """Where a row or an entry of an index begins in the file: its line pointer has the place in the page."""
        with path.open("rb") as file:
            file.seek(page * PAGE + 24 + 4 * (line - 1))
            pointer = int.from_bytes(file.read(4), "little")
        return page * PAGE + (pointer & 0x7FFF)

    def without_checksums(self) -> None:
        """Otherwise the server refuses any page that was written to, whatever is in it."""
        account = self.server.embedded.place.account
        program = [str(self.server.bin / "pg_checksums"), "--disable", "-D", str(self.server.embedded.data)]
        subprocess.run(program, user=account.uid if account else None, capture_output=True, check=False)


def looked(database: Database, **options: Any) -> dict[str, Any]:
    return perform("run", database.dsn, plan="integrity", steps=[{"amcheck": {"include": ["public.*"], **options}}])


def failed(result: dict[str, Any]) -> set[str]:
    return {one["target"] for one in result["actions"] if one["outcome"] == "failed"}


def critical(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert all(one["check"] == "corruption" for one in result["findings"])
    return {one["subject"]: one for one in result["findings"] if one["level"] == "critical"}


def test_what_is_corrupt_is_found_and_named_and_nothing_else(private: PrivateServer) -> None:
    database = private.create_database()
    database.sql("CREATE EXTENSION amcheck; CREATE SCHEMA maintenance")
    for table in TABLES:
        database.sql(TABLE.format(table))
    database.sql("VACUUM")
    database.sql("CHECKPOINT")
    perform("analyze", database.dsn, tables=["well"])
    toast = str(database.value("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'toast'"))
    files = Files(private, database)
    paths = {name: files.of(name) for name in ("rows", "pages", "keys_pkey", "lost_small", "away", toast)}
    database.close_connection()

    private.stop()
    files.write(paths["pages"], 3 * PAGE, b"\xff" * 24)  # the header of a page, which any server refuses
    private.start()
    refused = looked(database)
    assert (failed(refused), set(critical(refused))) == ({"public.pages"}, {"public.pages"})
    assert "invalid page in block 3" in critical(refused)["public.pages"]["message"]
    database.close_connection()

    private.stop()
    files.without_checksums()
    files.write(paths["rows"], files.item(paths["rows"], 1) + 18, b"\xff\x07")  # it has 2047 columns
    files.write(paths["rows"], files.item(paths["rows"], 2) + 22, b"\x01")  # its header ends before it begins
    files.write(paths["keys_pkey"], files.item(paths["keys_pkey"], 1, 5) + 8, b"\xff\xff\xff\x7f")  # out of order
    files.write(paths[toast], files.item(paths[toast], 0) + 28, b"\x63\x00\x00\x00")  # the number of a piece
    paths["lost_small"].unlink()
    paths["away"].unlink()
    private.start()
    # Of those that were well a month ago, only what is due is looked at.
    assert set(critical(looked(database))) == {"public.pages"}
    database.sql("UPDATE maintenance.state SET value = value - 'checked' WHERE operation = 'amcheck'")
    found = looked(database)
    sick = {"public.pages", "public.rows", "public.keys_pkey", "public.lost_small", "public.away", "public.toast"}
    assert set(critical(found)) == failed(found) == sick
    assert (found["status"], found["failed"]) == ("failed", True)
    assert found["actions"][0]["target"] == "public.pages", "what was corrupt before is checked first"
    rows = critical(found)["public.rows"]
    assert (rows["value"], rows["threshold"]) == (2, 1)
    assert rows["message"].startswith("2 problems, the first on page 1, line 1: ")
    assert [text.partition(": ")[0] for text in rows["evidence"]["problems"]] == ["page 1, line 1", "page 2, line 1"]
    assert 'invariant violated for index "keys_pkey"' in critical(found)["public.keys_pkey"]["message"]
    assert "REINDEX INDEX CONCURRENTLY public.keys_pkey" in critical(found)["public.keys_pkey"]["advice"]
    assert critical(found)["public.lost_small"]["message"] == 'index "lost_small" lacks a main relation fork'
    assert "could not open file" in critical(found)["public.away"]["message"]
    assert "toast value" in critical(found)["public.toast"]["message"]

    # It is told in each run, also where there is no time to look again; check mode tells it without looking.
    assert set(critical(looked(database))) == sick
    foretold = perform("amcheck", database.dsn, True, include=["public.*"])
    assert set(critical(foretold)) == sick
    assert "ago: " in critical(foretold)["public.rows"]["message"]
    assert (foretold["status"], foretold["totals"]["planned"]) == ("ok", len(sick))

    # What is mended is told to be well, once.
    database.sql("REINDEX INDEX keys_pkey; REINDEX INDEX lost_small; TRUNCATE rows, toast, pages, away")
    mended = looked(database)
    assert mended["status"] == "ok", mended["msg"]
    assert {one["subject"]: one["level"] for one in mended["findings"]} == dict.fromkeys(sick, "info")
    over = looked(database)["findings"]
    assert [(one["subject"], one["level"]) for one in over] == [(database.name, "info")], "so that an alert ends"


def test_entries_that_are_missing_are_found_with_heapallindexed(private: PrivateServer) -> None:
    database = private.create_database()
    database.sql("CREATE EXTENSION amcheck; CREATE SCHEMA maintenance; CREATE TABLE t (id int, note text)")
    database.sql("INSERT INTO t SELECT n, 'note' FROM generate_series(1, 100) AS n; CREATE INDEX t_id ON t (id)")
    database.sql("CHECKPOINT")
    perform("analyze", database.dsn, tables=["t"])
    files = Files(private, database)
    path = files.of("t")
    database.close_connection()
    private.stop()
    files.without_checksums()
    files.write(path, files.item(path, 0, 7) + 24, b"\x11\x11\x00\x00")  # another value of the column
    private.start()
    assert critical(looked(database)) == {}, "neither table nor index is wrong in itself"
    found = looked(database, heapallindexed=True)
    assert set(critical(found)) == {"public.t_id"}
    assert 'heap tuple (0,7) from table "t" lacks matching index tuple' in critical(found)["public.t_id"]["message"]
    # Who looks less closely does not call it well.
    assert set(critical(perform("amcheck", database.dsn, True, include=["public.*"]))) == {"public.t_id"}
