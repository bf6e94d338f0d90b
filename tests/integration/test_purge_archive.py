# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge with an archive: a row is in the table or in the archive, and comes back as it was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runs import only, perform
from tests.servers import Database

EXPIRED = "SELECT n, now() - n * interval '1 minute' FROM generate_series(-4, 2500) AS n"


def purge(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, **options}
    return perform("purge", database.dsn_as(user), check, **given)


def rows(database: Database, table: str = "t") -> list[Any]:
    return [text for (text,) in database.sql(f"SELECT {table}::text FROM {table} ORDER BY 1")]


def restore(database: Database, folder: Path) -> str:
    """What the documentation says."""
    command = 'gzip -dc *.copy.gz | psql --file=restore.sql "$DATABASE_URL"'
    psql = str(database.server.bin)
    environment = {"PATH": f"{psql}:/usr/bin:/bin", "DATABASE_URL": database.dsn}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert not done.stderr
    return done.stdout


def folders(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.rglob("manifest.json"))


@pytest.mark.parametrize("order", ["index", "heap"])
def test_rows_go_to_a_table(database: Database, order: str) -> None:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    database.sql(f"INSERT INTO t {EXPIRED}; CREATE INDEX ON t (at); CREATE TABLE kept (LIKE t)")
    before = rows(database)
    assert only(purge(database, check=True, archive={"table": "kept"}))["numbers"]["archive"] == {
        "table": "public.kept"
    }
    action = only(purge(database, archive={"table": "kept"}, order=order))
    assert (action["outcome"], action["rows"]) == ("done", 2501), action
    assert sorted(rows(database) + rows(database, "kept")) == before


@pytest.mark.parametrize("order", ["index", "heap"])
def test_rows_go_to_files(database: Database, tmp_path: Path, order: str) -> None:
    database.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    database.sql(f"INSERT INTO t {EXPIRED}; CREATE INDEX ON t (at)")
    before = rows(database)
    archive = {"directory": str(tmp_path)}
    told = only(purge(database, check=True, archive=archive))["numbers"]["archive"]
    assert told == {"directory": str(tmp_path / database.name / "public" / "t")}
    assert list(tmp_path.iterdir()) == []
    action = only(purge(database, archive=archive, order=order))
    assert (action["outcome"], action["rows"]) == ("done", 2501), action
    (folder,) = folders(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == 2501
    assert len(rows(database)) == 4
    for _again in range(2):
        restore(database, folder)
        assert rows(database) == before
