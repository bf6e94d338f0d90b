# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VTChat's objects and plans, as the inventories and sql/ say them, for tests that need no playbook."""

from __future__ import annotations

from typing import Any

import jinja2
import yaml

from tests.runs import perform
from tests.servers import REPOSITORY, Database

SQL = REPOSITORY / "sql"
OBJECTS = yaml.safe_load((SQL / "objects.yml").read_text(encoding="utf-8"))
FILES: list[str] = OBJECTS["database_objects_files"]
INDEXES: list[str] = OBJECTS["database_objects_indexes"]
SLUGS = ("vt_plus", "vt-plus")


def plans(inventory: str = "") -> dict[str, dict[str, Any]]:
    """The plans by name: VTChat's, or those of an inventory for any database."""
    file = REPOSITORY / "inventories" / "plans.yml"
    if inventory:
        (file,) = (REPOSITORY / "inventories" / inventory).glob("*.yml")
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = values.get("databases", {}).get("vars", values)["maintenance_plans"]
    return found


def rendered(file: str, slugs: tuple[str, ...] = SLUGS, roles: tuple[str, ...] = ()) -> str:
    """A script of sql/ as the role database_objects sends it."""
    text = (SQL / file).read_text(encoding="utf-8")
    if not file.endswith(".j2"):
        return text
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701  # no HTML
    return environment.from_string(text).render(vt_plus_slugs=list(slugs), app_roles=list(roles))


def provision(database: Database, files: list[str] = FILES, **variables: tuple[str, ...]) -> set[str]:
    """Install, and return what became of the objects."""
    scripts = [{"name": file, "sql": rendered(file, **variables)} for file in files]
    indexes = [rendered(file) for file in INDEXES] if files is FILES else None
    result = perform("sql_object", database.dsn, scripts=scripts, indexes=indexes)
    assert not result.get("failed"), result
    return {one["operation"] for one in result["actions"]}
