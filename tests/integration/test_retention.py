# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/retention.md: its steps, as they stand there, on the tables that they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg2.sql import SQL, Identifier

from tests.retention import HELPERS, PRESETS
from tests.runs import perform
from tests.servers import REPOSITORY, Database, Server

PAGE = Path(REPOSITORY, "docs", "retention.md").read_text(encoding="utf-8")


def steps() -> dict[str, list[Any]]:
    """By heading: the steps below it."""
    presets = PAGE.partition("\n## Presets\n")[2].partition("\n## ")[0]
    return {
        text.partition("\n")[0]: [
            step for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for step in yaml.safe_load(block)
        ]
        for text in presets.split("\n### ")[1:]
    }


STEPS = steps()


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Database]:
    made = server.create_database()
    made.sql(HELPERS)
    yield made
    made.close()


def test_each_preset_is_tried() -> None:
    assert set(STEPS) == set(PRESETS)
    assert all(STEPS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_preset(shared: Database, name: str) -> None:
    """What is to go goes, with what hangs on it, and all else stays; check mode foretells it, and nothing is left to do."""
    preset = PRESETS[name]
    shared.sql(f"BEGIN; {preset.schema} COMMIT")
    try:
        named = {
            table: [word for (word,) in shared.sql(SQL("SELECT {} FROM {}").format(SQL(column), Identifier(table)))]
            for table, column in preset.names.items()
        }
        assert all(word.startswith(("gone", "kept")) for words in named.values() for word in words)
        foretold, done, again = (run(shared, STEPS[name], check) for check in (True, False, False))
        for table, column in preset.names.items():
            left = [word for (word,) in shared.sql(SQL("SELECT {} FROM {}").format(SQL(column), Identifier(table)))]
            assert sorted(left) == sorted(word for word in named[table] if word.startswith("kept")), table
        for before, after in zip(foretold, done):
            # What earlier steps take from a table that ``where`` reads is not known beforehand.
            assert (
                before["rows"] in (after["rows"], None)
                if "EXISTS" in str(STEPS[name])
                else before["rows"] == after["rows"]
            )
        assert {action["outcome"] for action in again} == {"unchanged"}
        assert all(action["outcome"] == "done" for action in done)
    finally:
        shared.sql("DROP SCHEMA IF EXISTS archive CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        shared.sql(HELPERS)


def run(database: Database, plan: list[Any], check: bool) -> list[dict[str, Any]]:
    """The actions of a run with these steps."""
    result = perform("run", database.dsn, check, plan="retention", steps=plan, history=False)
    assert not result.get("failed"), result
    actions: list[dict[str, Any]] = result["actions"]
    return actions
