# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows that a purge archives, for tests: how they leave, and how the documentation puts them back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.runs import REPOSITORY, perform
from tests.servers import Database

EXPIRED = "SELECT n, now() - n * interval '1 minute' FROM generate_series(-4, 2500) AS n"


def purge(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    given = {"table": "t", "column": "at", "history": False, **options}
    return perform("purge", database.dsn_as(user), check, **given)


def rows(database: Database, table: str = "t") -> list[Any]:
    return [text for (text,) in database.sql(f"SELECT x::text FROM {table} AS x ORDER BY 1")]


def documented(word: str) -> str:
    """The command with that word in it, as the documentation shows it."""
    page = (REPOSITORY / "docs" / "retention.md").read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if word in block]
    return str(found)


def shell(database: Database, folder: Path, command: str) -> str:
    environment = {"PATH": f"{database.server.bin}:/usr/bin:/bin", "DATABASE_URL": database.dsn}
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert not done.stderr, done.stderr
    return done.stdout


def restore(database: Database, directory: Path) -> None:
    """All that is there, by the documented command."""
    for folder in folders(directory):
        shell(database, folder, documented("gzip -dc *.copy.gz"))


def folders(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.rglob("manifest.json"))
