# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Installing database objects from SQL, idempotent by the server's own canonical form.

1. compare: the server tries all scripts out in one statement, says which objects they touch and what these are before and
   after, and undoes it. A materialized view is compared with an empty twin.
2. build: a materialized view that is missing or different is built under another name and filled, with its indexes.
3. apply: the scripts are run again in one transaction that consists of one statement; views built before are renamed.

In check mode only the first is done. The rest only when something differs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _objects_sql
from ._driver import sql
from ._errors import Contended, MaintenanceError, OptionError, SqlError
from ._index_definition import Definition as IndexDefinition
from ._policy import BLOCKING, Budget, with_lock_retries
from ._scripts import (
    Definition,
    Script,
    defines,
    line_of,
    mark,
    marked,
    read_definition,
    replaced_views,
    statements,
    tokens,
    wanted_schemas,
)
from ._session import Session
from ._sql import Name, quote

CREATED = "created"
REPLACED = "replaced"
DROPPED = "dropped"
UNCHANGED = "unchanged"

SCRIPT, MATERIALIZED_VIEW = "script", "materialized view"
TRIAL = "vtchat.maintenance: trial"
# Not the lock of runs: an installation may take long and does not keep the hourly maintenance from its work.
LOCK = (
    "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('vtchat.maintenance.sql_object', 0)) AS locked"
)
LOCK_WAIT = 30.0  # seconds that one installation waits for another
QUERY_CANCELED = "57014"
# A change of any of these may change what a view built afterwards contains.
USED_BY_VIEWS = ("function", "procedure", "aggregate", "view", MATERIALIZED_VIEW, "type", "schema")
# Replacing these keeps readers or writers of them waiting until the transaction ends.
LOCKED_WHEN_REPLACED = ("view", MATERIALIZED_VIEW, "trigger")


@dataclass(frozen=True)
class Change:
    """One object that a script defines. before and after: canonical text, None where there is no such object.

    drift: what it has that no script asks for.
    """

    script: str
    object: str
    kind: str
    before: str | None
    after: str | None
    drift: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        if self.before == self.after:
            return UNCHANGED
        if self.before is None:
            return CREATED
        return DROPPED if self.after is None else REPLACED


def install(
    session: Session,
    scripts: Sequence[Script],
    check: bool,
    recreate: bool = False,
    indexes: Sequence[IndexDefinition] | None = None,
    budget: Budget | None = None,
) -> list[Change]:
    """Apply the scripts, and say of each object what became of it; with ``check``, what would.

    recreate: what cannot be replaced is dropped and made anew, with the views that depend on it. indexes: those that
    there should be; they are not created here, except that check mode tries out those of new views. budget: for all of it.
    Raises OptionError (a script that cannot be handled), SqlError, Contended; nothing is changed then.
    """
    return _Installation(session, scripts, recreate, budget or Budget(600), indexes).run(check)


class _Installation:
    """All scripts of a call."""

    def __init__(
        self,
        session: Session,
        scripts: Sequence[Script],
        recreate: bool,
        budget: Budget,
        indexes: Sequence[IndexDefinition] | None,
    ) -> None:
        if session.shared:
            raise OptionError(
                ["objects cannot be installed through a transaction pooler: connect to the server itself"]
            )
        self.session, self.scripts, self.recreate, self.budget = session, scripts, recreate, budget
        self.indexes = indexes
        self.steps = [_step(number, script) for number, script in enumerate(scripts)]

    def run(self, check: bool) -> list[Change]:
        self.lock()
        found = self.retried("compare")
        changes, leftovers = self.read(found), found["leftovers"]
        gone = [
            Change("", name, MATERIALIZED_VIEW, "-- left by an interrupted installation\n", None) for name in leftovers
        ]
        if check:
            return changes + gone + [_future_index(row) for row in found["future"]]
        self.drop(leftovers)
        if any(change.result != UNCHANGED for change in changes):
            self.apply(found["builds"], changes)
        return changes + gone

    def lock(self) -> None:
        """Two installations at once would both find a change, and then fail on each other's rows."""
        end = time.monotonic() + min(LOCK_WAIT, self.budget.left())
        while not self.session.row(LOCK)["locked"]:
            if time.monotonic() > end:
                raise Contended(
                    f"another installation has been at work in this database for {LOCK_WAIT:g} s; nothing was done"
                )
            time.sleep(0.2)  # a waiting statement would hold back what VACUUM may remove

    def retried(self, mode: str) -> dict[str, Any]:
        """Compare or apply under the blocking policy."""
        return with_lock_retries(self.session, lambda: self.program(mode, self.steps), self.budget.left)

    def program(self, mode: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """Run the program on the server."""
        given = {
            "mode": mode,
            "queries": _objects_sql.QUERIES,
            "steps": steps,
            "trial": TRIAL,
            "on_conflict": "recreate" if self.recreate else "fail",
            "lock_ms": BLOCKING * 1000,
            "indexes": [_future(number, one) for number, one in enumerate(self.indexes or [])]
            if mode == "compare"
            else [],
        }
        # The server, when it finds an error in the body of a function, looks for its position in the text of the outermost
        # statement, and would report it as one in there: so that text must not be readable.
        encoded = base64.b64encode(json.dumps(given).encode()).decode()
        query = sql.SQL(_objects_sql.BEGIN).format(
            input=sql.Literal(encoded),
            program=sql.Literal(_objects_sql.PROGRAM),
            path=sql.Literal(self.session.server.path),
        )
        try:
            result: dict[str, Any] = self.session.row(query)["result"]
        except (SqlError, Contended) as error:
            if self.session.alive:
                self.session.execute("ROLLBACK")
            raise self.explained(error) from None
        return result

    def explained(self, error: SqlError | Contended) -> MaintenanceError:
        """The error with the file and the line that it is about."""
        number = marked(getattr(error, "query", ""), error.context)
        if isinstance(error, Contended):
            return error if number is None else Contended(f"{self.scripts[number].name}: {error}", error.context)
        line = 0 if number is None else line_of(self.scripts[number].sql, error)
        if not line and error.sqlstate != QUERY_CANCELED:
            number, line = self.search(error, number)
        if number is None:
            return error
        where = f"{self.scripts[number].name}:{line}" if line else self.scripts[number].name
        return SqlError(f"{where}: {error}{_hint(error)}{_dependent(error, self.scripts[number])}", error.sqlstate)

    def search(self, error: SqlError, number: int | None) -> tuple[int | None, int]:
        """Where the server does not say which statement it means: the first one that fails in the same way, alone.

        All statements are run one by one and undone; whether they were told apart rightly shows in the same error.
        """
        try:
            self.session.execute("BEGIN; SET LOCAL lock_timeout = '100ms'; SAVEPOINT one")
            for n, script in enumerate(self.scripts):
                for line, text in statements(script.sql):
                    failure = self.failure_of(text)
                    if failure == error.sqlstate and number in (None, n):
                        return n, line
        except (SqlError, Contended):
            pass  # the error that is to be explained counts
        finally:
            if self.session.alive:
                self.session.execute("ROLLBACK")
        return number, 0

    def failure_of(self, text: str) -> str:
        """The SQLSTATE of the error that a statement of a script ends with, "" without."""
        block = "DO $$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode({}, 'base64'), 'UTF8'); END $$"
        encoded = base64.b64encode(text.encode()).decode()
        try:
            self.session.execute(sql.SQL(block + "; SAVEPOINT one").format(sql.Literal(encoded)))
        except SqlError as error:
            self.session.execute("ROLLBACK TO SAVEPOINT one")
            return error.sqlstate
        return ""

    def read(self, found: dict[str, Any]) -> list[Change]:
        """The changes that the program found. Raises OptionError for what cannot be done."""
        if found["refusal"]:
            raise OptionError([f"{self.scripts[int(found['refusal']['number'])].name}: {_refusal(found['refusal'])}"])
        drift = _drift(found["present"], found["asked"])
        changes = []
        for number, script in enumerate(self.scripts):
            pairs = [pair for pair in found["objects"] if pair["number"] == number]
            changes += compare(script.name, pairs, drift)
            if not pairs and not defines(script.sql) and any(True for _token in tokens(script.sql)):
                nothing = "it defines no function, view, trigger, type, schema, comment or privilege: there is nothing to compare"
                raise OptionError([f"{script.name}: {nothing}"])
        if self.indexes is not None:
            self.add_indexes(changes, [definition.name for definition in self.indexes])
        return changes

    def add_indexes(self, changes: list[Change], wanted: Sequence[str]) -> None:
        """Tell of indexes of materialized views that nobody asks for."""
        views = {change.object: change for change in changes if change.kind == MATERIALIZED_VIEW and change.before}
        if views:
            query = sql.SQL(EXTRA_INDEXES).format(views=sql.Literal(list(views)), wanted=sql.Literal(list(wanted)))
            for row in self.session.rows(query):
                views[row["view"]].drift.append(f"index {quote(row['name'])}")

    def drop(self, views: Sequence[str]) -> None:
        """Remove what interrupted installations have left; nobody but us knows these views."""
        for view in views:
            self.session.execute(sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {}").format(sql.SQL(view)))

    def apply(self, builds: Sequence[int], changes: Sequence[Change]) -> None:
        """Build what takes long beside the old, then do everything else at once."""
        built = False
        try:
            for number in builds:
                if self.beside(number, changes):
                    built = True
                    self.build(number)
            self.retried("apply")
        except BaseException:
            if built and self.session.alive:
                self.session.set(statement_timeout=30.0)
                self.drop(self.session.row(_objects_sql.LEFTOVERS)["views"])
            raise

    def beside(self, number: int, changes: Sequence[Change]) -> bool:
        """Whether a view can be built before the other changes are made: when they cannot be what it is made of.

        Otherwise it is built in the transaction. Raises OptionError if that would keep others waiting.
        """
        names = [script.name for script in self.scripts[:number]]
        earlier = [change for change in changes if change.script in names and change.result != UNCHANGED]
        locked = [c.object for c in earlier if c.kind in LOCKED_WHEN_REPLACED and c.result == REPLACED]
        if not any(change.kind in USED_BY_VIEWS for change in earlier):
            return True
        if locked:
            raise OptionError([f"{self.scripts[number].name}: while this view is being built, readers of {', '.join(locked)} "
                               "would wait, which an earlier script replaces: install these in a task of their own"])  # fmt: skip
        return False

    def build(self, number: int) -> None:
        """Build a materialized view under another name, with the indexes of the old one, and fill it."""
        self.session.end_with_client()
        try:
            with_lock_retries(self.session, lambda: self.program("build", [self.steps[number]]), self.budget.left)
        except SqlError as error:
            if error.sqlstate == QUERY_CANCELED:
                raise SqlError(f"{error}: building it took longer than the budget left", error.sqlstate) from None
            raise
        self.steps[number]["ready"] = True


EXTRA_INDEXES = """
SELECT format('%I.%I', n.nspname, t.relname) AS view, c.relname::text AS name
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
WHERE t.relkind = 'm' AND format('%I.%I', n.nspname, t.relname) = ANY ({views}) AND c.relname <> ALL ({wanted}::text[])
ORDER BY 1, 2
"""


def _future(number: int, definition: IndexDefinition) -> dict[str, Any]:
    """An index for the program."""
    table, unique = _quoted(definition.table), "UNIQUE " if definition.unique else ""
    text = f"CREATE {unique}INDEX {_quoted(Name(None, definition.name))} ON {table} {definition.tail}"
    return {"number": number, "name": definition.name, "table": table, "sql": text}


def _future_index(row: dict[str, Any]) -> Change:
    return Change(f"indexes[{row['number'] + 1}]", row["object"], "index", None, row["definition"] + "\n")


def _step(number: int, script: Script) -> dict[str, Any]:
    """A script for the program."""
    try:
        definition = read_definition(script.sql)
    except OptionError as error:
        raise OptionError([f"{script.name}: {error}"]) from None
    marker = mark(number)
    common = {
        "number": number,
        "views": [_quoted(name) for name in replaced_views(script.sql)],
        "schemas": wanted_schemas(script.sql),
    }
    if definition is None:
        return {**common, "kind": SCRIPT, "text": marker + script.sql}
    lines = definition.head.count("\n") + definition.body.count("\n")
    return {
        **common,
        "kind": definition.kind,
        "schema": definition.name.schema,
        "name": definition.name.name,
        "built": _working_name(definition),
        "comment": f"vtchat.maintenance: built to take the place of {definition.name}; if it is still there, the next "
        "installation removes it",
        "head": marker + definition.head,
        "body": definition.body,
        "with": "" if definition.populate else " WITH NO DATA",
        "tail": definition.rest,
        # On the lines where it stands in the script, see line_of; and the other way round.
        "rest": marker + "\n" * lines + definition.rest,
        "pad": "\n" * definition.rest.count("\n"),
        "ready": False,
    }


def _quoted(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (name.schema, name.name) if part is not None)


def _working_name(definition: Definition) -> str:
    """The name of a view while it is being built. Another view's build in the same schema has another one."""
    return "vtchat.maintenance new " + hashlib.sha256(definition.name.name.encode()).hexdigest()[:8]


def _hint(error: SqlError) -> str:
    """What the server's message does not say."""
    text = str(error)
    if error.sqlstate == "42601" and 'near "\\"' in text:
        return ". Commands of psql, which begin with a backslash, are not SQL"
    if "CONCURRENTLY" in text:
        return ". Everything here is one transaction; the module index creates and removes indexes concurrently"
    if error.sqlstate in ("42723", "42P07", "42710", "42701", "42P06"):
        return ". A script has to be one that can be run again: CREATE OR REPLACE, IF NOT EXISTS"
    if "transaction commands" in text:
        return ". All scripts are one transaction, which begins and ends by itself"
    return ""


def _dependent(error: SqlError, script: Script) -> str:
    """The view that cannot be made anew, if the error is in one of these."""
    created = re.search(r"\*/(CREATE VIEW .*?)\s+(?:WITH \(|AS )", error.query or error.context, re.DOTALL)
    if created is None or created[1] in script.sql:
        return ""
    return f". This is about a view that depends on what is to be replaced: {created[1]}"


def _refusal(refusal: dict[str, Any]) -> str:
    """Why a script cannot be installed."""
    if not refusal.get("conflict"):
        return str(refusal["message"])
    dependents = [*refusal["others"], *refusal["views"]]
    text = f"{refusal['object']} cannot be replaced: {refusal['message']}"
    if dependents:
        text += f"; these depend on it: {', '.join(dependents)}"
    if refusal["others"]:
        first = ", ".join(refusal["others"])
        return f"{text}. Of these only views can be made anew: drop {first} first, and create them afterwards"
    return f"{text}. With on_conflict: recreate it is dropped and made anew, with the views that depend on it"


def _drift(present: list[dict[str, Any]], asked: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """By kind and name: privileges and comments that an object has and no script gives it."""
    wanted = {(row["kind"], row["object"]): row for row in asked}
    found = {}
    for row in present:
        key = (row["kind"], row["object"])
        if key not in wanted:
            continue
        extra = []
        for what, one in (("privileges", "privilege"), ("comments", "comment")):
            known = wanted[key][what] or []
            extra += [f"{one} {text}" for text in row[what] or [] if not _covered(text, known, one)]
        found[key] = extra
    return found


def _covered(text: str, known: list[str], what: str) -> bool:
    """Whether a privilege or comment is asked for; a comment with another text is a change and not drift."""
    if what == "privilege":
        return text in known
    column = text.partition(": ")[0] if ": " in text else ""
    return any((other.partition(": ")[0] if ": " in other else "") == column for other in known) or text in known


def compare(
    script: str, pairs: list[dict[str, Any]], drift: dict[tuple[str, str], list[str]] | None = None
) -> list[Change]:
    """Objects as they were and as they would be, from rows of DESCRIBE. Raises OptionError for what cannot be compared."""
    changes = []
    for pair in pairs:
        was, will = pair["before"], pair["after"]
        row = will or was
        kind, name = row["kind"], row["object"]
        definitions = [one["definition"] if one else None for one in (was, will)]
        if kind == "index":
            if definitions[0] != definitions[1]:
                raise OptionError([f"{script}: {name}: indexes are what the module index is for"])
        elif definitions == [None, None] or (kind.endswith("table") and definitions[0] != definitions[1]):
            raise OptionError([f"{script}: {name}: objects of this kind cannot be defined here; use a migration"])
        before, after = (canonical(one) if one else None for one in (was, will))
        changes.append(Change(script, name, kind, before, after, list((drift or {}).get((kind, name), []))))
    return changes


def canonical(row: dict[str, Any]) -> str:
    """All of an object that is compared, as text."""
    lines = [row["definition"].rstrip()]
    if row["owner"]:
        lines.append(f"-- owner: {row['owner']}")
    for what, label in (("privileges", "privileges"), ("comments", "comment"), ("labels", "security label")):
        if row.get(what):
            lines.append(f"-- {label}: " + (", " if what == "privileges" else "\n-- ").join(row[what]))
    return "\n".join(lines) + "\n"
