# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Where rows go before they are gone: another table, or files on the machine where this runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...._errors import MaintenanceError, SqlError
from ...._postgres import catalog
from ...._postgres.driver import sql
from ...._postgres.names import qualified
from ...._postgres.session import Session
from ..options import Options
from . import files
from .facts import Source, Target, identified, read_source, read_target
from .restore import TEXT_SETTINGS, Writing, script
from .sinks import IntoFiles, IntoTable

# Only where a column needs them: another server may not know the locale.
OF_TYPES = {"lc_monetary": "money", "xmloption": "xml"}

STATUS = "SELECT pg_catalog.pg_xact_status({}::pg_catalog.xid8) AS status"


@dataclass(frozen=True)
class Plan:
    """The archive of one table.

    target   the table that rows go to, None where they go to files
    place    the folder of the table's files
    doubtful an earlier run has left files of which it was not known whether their rows are deleted
    """

    source: Source
    cutoff: str
    target: Target | None = None
    place: Path | None = None
    doubtful: bool = False

    @property
    def numbers(self) -> dict[str, Any]:
        """Where rows would go, for check mode."""
        return {"table": self.target.shown} if self.target else {"directory": str(self.place)}


def read(session: Session, relation: catalog.Relation, options: Options, cutoff: str) -> Plan | str:
    """The plan; or why there can be none. Nothing is made to find that out."""
    archive = options.archive
    if archive is None:
        raise ValueError("there is no archive")
    source = read_source(session, relation, TEXT_SETTINGS)
    if isinstance(source, str):
        return source
    into = archive.target(relation.display)
    if into:
        target = read_target(session, source, into, "archive.schema" if archive.schema else "archive.table")
        return target if isinstance(target, str) else Plan(source, cutoff, target)
    source = identified(session, source)
    directory = str(archive.directory)
    names = (session.server.database, relation.schema, relation.name)
    place = files.place(directory, *names)
    return files.fault(directory, *names) or Plan(source, cutoff, place=place, doubtful=files.doubtful(place))


def not_archived(lost: Sequence[tuple[str, str]], options: Options, table: str) -> str:
    """Why rows would be gone without a trace, or nothing. lost: tables whose rows go by themselves, and by which keys.

    table: the one that is purged.
    """
    if not options.archive or options.cascade or not lost:
        return ""
    other, key = lost[0]
    way = f"name {other} in with" if other != table else "set keep_referenced: true, so that each goes after those"
    return (f"archive: with its rows go those of {other} that refer to them ({key}, ON DELETE CASCADE), which would not be "
            f"archived: {way}, or set cascade: true if that is meant")  # fmt: skip


def start(session: Session, plan: Plan) -> tuple[IntoTable | IntoFiles, dict[str, Any]]:
    """What keeps the rows; and what became of files that were in doubt. Raises MaintenanceError."""
    if plan.target:
        return IntoTable(plan.target), {}
    if plan.place is None:
        raise ValueError("an archive has a table or a directory")
    settled = _settle(session, plan, plan.place) if plan.doubtful else {}
    columns = [column["name"] for column in plan.source.kept]
    return IntoFiles(
        files.Folder(plan.place, _manifest(plan), _script(session, plan)),
        columns,
        _encoding(plan),
        _settings(plan) if plan.source.watched else {},
    ), settled


def _settle(session: Session, plan: Plan, place: Path) -> dict[str, Any]:
    mine = plan.source.facts["server"]

    def status(manifest: dict[str, Any], transaction: str) -> str | None:
        """What the server says of a transaction, if it is the one that knows it: numbers begin anew elsewhere."""
        server = manifest.get("server") or {}
        if any(not mine[name] or server.get(name) != mine[name] for name in ("system_identifier", "timeline")):
            return None
        try:
            found = session.row(sql.SQL(STATUS).format(sql.Literal(transaction)))["status"]
        except SqlError:
            return None
        return None if found is None else str(found)

    try:
        settled = files.settle(place, status)
    except OSError as error:
        raise MaintenanceError(f"archive.directory: {error.strerror or error} ({place})") from None
    return {f"files_{name}": number for name, number in settled.items() if number}


def _settings(plan: Plan) -> dict[str, str]:
    types = " ".join(column["base"][0] for column in plan.source.kept)
    settings: dict[str, str] = plan.source.facts["settings"]
    return {name: value for name, value in settings.items() if OF_TYPES.get(name, "") in types}


def _encoding(plan: Plan) -> str:
    """Of the database, in which the files are written."""
    return str(plan.source.facts["server"]["encoding"])


def _manifest(plan: Plan) -> dict[str, Any]:
    source = plan.source
    return {
        "table": source.shown,
        "schema": source.schema,
        "name": source.name,
        "columns": [{"name": column["name"], "type": column["type"]} for column in source.kept],
        "key": source.key,
        "cutoff": plan.cutoff,
        **source.facts,
        "settings": _settings(plan),
    }


def _script(session: Session, plan: Plan) -> str:
    source = plan.source
    columns = [column["name"] for column in source.kept]
    table = qualified(source.schema, source.name)
    writing = Writing(_settings(plan), source.facts["search_path"], _encoding(plan))
    return session.text(script(source.shown, table, columns, source.key, writing))
