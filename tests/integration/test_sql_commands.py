# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command that PostgreSQL has, in a script: applied, told and idempotent, or refused with the right place for it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError
from tests.objects import TABLE, catalog, exact, install, results
from tests.servers import Database, Server


@dataclass(frozen=True)
class Case:
    """A script with the commands in it (their names in \\h, separated by commas).

    told     objects that it changes, as the result names them; empty: it is refused
    refused  a pattern of the reason
    before   what there is already
    since    major version of the server that has it
    """

    commands: str
    script: str
    told: Sequence[str] = ()
    refused: str = ""
    before: str = ""
    since: int = 14


CASES = [
    Case(**case) for case in yaml.safe_load((Path(__file__).parent / "sql_commands.yml").read_text(encoding="utf-8"))
]


def commands(server: Server, database: Database) -> set[str]:
    """What \\h lists."""
    program = [str(server.bin / "psql"), "-X", database.dsn, "-c", "\\h *"]
    listed = subprocess.run(program, capture_output=True, text=True, check=True)
    return set(re.findall(r"^Command: +(.*)$", listed.stdout, re.MULTILINE))


@pytest.mark.parametrize("version", [18, 15])
def test_every_command_is_applied_and_told_or_refused(server: Server, postgres15: Server, version: int) -> None:
    here = server if version == 18 else postgres15
    database = here.create_database()
    faults, known = [], set()
    try:
        database.sql(TABLE)
        database.sql("ANALYZE item")
        names = {"role": database.role(), "role2": database.role(), "database": database.name}
        for case in CASES:
            known |= {name.strip() for name in case.commands.split(",")}
            if case.since <= version:
                fault = outcome(database, case, names, thorough=version == 18)
                if fault:
                    faults.append(f"{case.script}\n    {fault}")
        assert not faults, "\n".join(faults)
        assert commands(here, database) - known == set()
    finally:
        database.close()


def outcome(database: Database, case: Case, names: dict[str, str], thorough: bool) -> str:
    """What is wrong about a case, "" if nothing is. thorough: in check mode, too."""

    def filled(text: str) -> str:
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        return text

    if case.before:
        database.sql(filled(case.before))
    script = filled(case.script)
    if case.told:
        try:
            told = exact(database, script) if thorough else results(install(database, script))
            found = {name: result for name, result in told if result != "unchanged"}
            assert thorough or not install(database, script)["changed"], "changed again"
        except (AssertionError, MaintenanceError) as error:
            return f"{type(error).__name__}: {error}"
        missing = [name for name in map(filled, case.told) if not any(one.startswith(name) for one in found)]
        return f"not told: {missing} in {found}" if missing else ""
    rows, before = database.sql("SELECT * FROM item ORDER BY id"), catalog(database)
    for check in (True, False)[1 - thorough :]:
        try:
            return f"accepted: {install(database, script, check=check)['objects']}"
        except MaintenanceError as error:
            if not re.search(filled(case.refused), str(error), re.DOTALL):
                return f"another reason: {error}"
            if "s3cret" in str(error):
                return f"shows a secret: {error}"
        if catalog(database) != before or database.sql("SELECT * FROM item ORDER BY id") != rows:
            return "refused, but something has changed"
    return ""
