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
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import Contended, MaintenanceError, OptionError, SqlError
from .._postgres.driver import sql
from .._postgres.index_definition import Definition as IndexDefinition
from .._postgres.names import Name, quote
from .._postgres.policy import BLOCKING, Budget, with_lock_retries
from .._postgres.session import Session
from . import program as _objects_program
from . import sql as _objects_sql
from .advice import keeping
from .definitions import MATERIALIZED_VIEW, replaced_views, unless_they_exist
from .parts import Part, parts
from .refusals import lasting, warns
from .scripts import Script, mark, marked

CREATED = "created"
REPLACED = "replaced"
DROPPED = "dropped"
UNCHANGED = "unchanged"

SCRIPT = "script"
# Not the lock of runs: an installation may take long and does not keep the hourly maintenance from its work.
LOCK = (
    "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('vtchat.maintenance.sql_object', 0)) AS locked"
)
LOCK_WAIT = 30.0  # seconds that one installation waits for another
QUERY_CANCELED = "57014"
NOTHING = "it defines no function, view, trigger, type, schema, comment or privilege that would stay: there is nothing to compare"
_ABOUT = re.compile(r"/\* of (.*?) \*/")
_IN_FUNCTION = re.compile(r'function "?(?!inline_code_block)\w')
# What outcome_of() runs, runs as scripts do.
_SEARCH = """
SELECT pg_catalog.set_config('lock_timeout', '100ms', true), pg_catalog.set_config('client_min_messages', 'warning', true),
       pg_catalog.set_config('search_path', {path}, true);
SAVEPOINT one
"""
# A change of any of these may change what a view built afterwards contains.
USED_BY_VIEWS = ("function", "procedure", "aggregate", "view", MATERIALIZED_VIEW, "type", "schema")
# Replacing these keeps readers or writers of them waiting until the transaction ends.
LOCKED_WHEN_REPLACED = ("view", MATERIALIZED_VIEW, "trigger")


@dataclass(frozen=True)
class Change:
    """One object that a script defines. before and after: canonical text, None where there is no such object.

    drift: what it has that no script asks for. step: the part of the call, from 0, that it is about.
    """

    script: str
    object: str
    kind: str
    before: str | None
    after: str | None
    drift: list[str] = field(default_factory=list)
    step: int = 0

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
) -> tuple[list[Change], list[str]]:
    """Apply the scripts, and say of each object what became of it, and what to warn of; with ``check``, what would.

    recreate: what cannot be replaced is dropped and made anew, with the views that depend on it. indexes: those that
    there should be; they are not created here, except that check mode tries out those of new views. budget: for all of it.
    Raises OptionError (a script that cannot be handled), SqlError, Contended; nothing is changed then.
    """
    installation = _Installation(session, scripts, recreate, budget or Budget(600), indexes)
    return installation.run(check), installation.warnings


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
        self.steps = [step for number, script in enumerate(scripts) for step in _steps(number, script)]
        for at, step in enumerate(self.steps):
            step["at"] = at
        _refuse_twice(scripts, self.steps)
        self.trial = f"vtchat.maintenance trial {secrets.token_hex(4)}"
        self.warnings: list[str] = []

    def run(self, check: bool) -> list[Change]:
        self.lock()
        found = self.retried("compare")
        warned = list(dict.fromkeys(text for text in self.session.notices if not text.startswith("INFO")))
        changes, leftovers = self.read(found), found["leftovers"]["ours"]
        self.heed(warned, found["logged"])
        self.warnings += [
            f"materialized view {one['name']} was left by an interrupted installation of role {one['owner']}: "
            "drop it as that role"
            for one in found["leftovers"]["others"]
        ]
        gone = [
            Change("", name, MATERIALIZED_VIEW, "-- left by an interrupted installation\n", None) for name in leftovers
        ]
        beside = [at for at in found["builds"] if self.beside(at, changes, found["uses"][str(at)])]
        if check:
            return changes + gone + [_future_index(row) for row in found["future"]]
        self.drop(leftovers)
        if any(change.result != UNCHANGED for change in changes):
            self.apply(beside)
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
        if self.session.inherited and self.session.server.version_num >= 150000:
            # What the last user of this backend has changed and not reported yet would be taken for ours.
            self.session.row("SELECT pg_catalog.pg_stat_force_next_flush()")

    def retried(self, mode: str) -> dict[str, Any]:
        """Compare or apply under the blocking policy."""
        return with_lock_retries(self.session, lambda: self.program(mode, self.steps), self.budget.left)

    def program(self, mode: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """Run the program on the server."""
        given = {
            "mode": mode,
            "queries": _objects_sql.QUERIES,
            "steps": steps,
            "trial": self.trial,
            "on_conflict": "recreate" if self.recreate else "fail",
            "lock_ms": BLOCKING * 1000,
            "indexes": [_future(number, one) for number, one in enumerate(self.indexes or [])]
            if mode == "compare"
            else [],
        }
        # The server, when it finds an error in the body of a function, looks for its position in the text of the outermost
        # statement, and would report it as one in there: so that text must not be readable.
        # Letters stay letters: a database in SQL_ASCII has no characters that an escape of JSON could mean.
        encoded = base64.b64encode(json.dumps(given, ensure_ascii=False).encode()).decode()
        query = sql.SQL(_objects_program.BEGIN).format(
            input=sql.Literal(encoded),
            program=sql.Literal(_objects_program.PROGRAM),
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
        """The error with the file and the line, or the object of ours, that it is about."""
        number = marked(getattr(error, "query", ""), error.context)
        about = _ABOUT.search(error.context)
        if number is not None and about is not None:
            text = f"{self.scripts[number].name}: {about[1]}: {error}"
            return Contended(text, error.context) if isinstance(error, Contended) else SqlError(text, error.sqlstate)
        if isinstance(error, Contended):
            return error if number is None else Contended(f"{self.scripts[number].name}: {error}", error.context)
        line = 0 if number is None else self.scripts[number].line_of(error)
        if not line and error.sqlstate != QUERY_CANCELED:
            number, line = self.search(number, lambda failure, _warnings: failure == error.sqlstate)
        if number is None:
            return error
        return SqlError(
            f"{self.place(number, line)}: {error}{_hint(error)}{_dependent(error, self.scripts[number])}",
            error.sqlstate,
        )

    def place(self, number: int, line: int) -> str:
        """Script and line, for people."""
        return f"{self.scripts[number].name}:{line}" if line else self.scripts[number].name

    def heed(self, warned: list[str], logged: dict[str, Any] | None) -> None:
        """A warning of the server says that something was not done, unless somebody raises it who wants to. Raises SqlError."""
        if (logged and logged["warns"]) or any(warns(script) for script in self.scripts):
            self.warnings += warned
        elif warned:
            number, line = self.search(None, lambda _failure, warnings: warned[0] in warnings)
            where = f"{self.place(number, line)}: " if number is not None else ""
            raise SqlError(f"{where}the server warns: {'; '.join(warned)}. Nothing was changed")

    def search(self, number: int | None, meant: Callable[[str, list[str]], bool]) -> tuple[int | None, int]:
        """Where the server does not say which statement it means: the first one that fails or warns in the same way, alone.

        All statements are run one by one and undone; a wrong split would lead to another error.
        """
        try:
            self.session.execute("BEGIN", alone=True)
            path = sql.Literal(self.session.server.path)
            self.session.execute(sql.SQL(_SEARCH).format(path=path))
            for n, script in enumerate(self.scripts):
                for statement in script.statements:
                    if meant(*self.outcome_of(statement.text)) and number in (None, n):
                        return n, statement.line
        except (SqlError, Contended, OptionError):
            pass  # the error that is to be explained counts
        finally:
            if self.session.alive:
                self.session.execute("ROLLBACK", alone=True)
        return number, 0

    def outcome_of(self, text: str) -> tuple[str, list[str]]:
        """The SQLSTATE of the error that a statement of a script ends with, "" without, and warnings."""
        block = "DO $$ BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode({}, 'base64'), 'UTF8'); END $$"
        encoded = base64.b64encode(text.encode()).decode()
        try:
            self.session.execute(sql.SQL(block + "; SAVEPOINT one").format(sql.Literal(encoded)))
        except SqlError as error:
            self.session.execute("ROLLBACK TO SAVEPOINT one")
            return error.sqlstate, []
        return "", self.session.notices

    def read(self, found: dict[str, Any]) -> list[Change]:
        """The changes that the program found. Raises OptionError for what cannot be done."""
        if found["refusal"]:
            raise OptionError([f"{self.scripts[int(found['refusal']['number'])].name}: {_refusal(found['refusal'])}"])
        drift = _drift(found["present"], found["asked"])
        changes = []
        for number, script in enumerate(self.scripts):
            pairs = [pair for pair in found["objects"] if pair["number"] == number]
            changes += compare(script.name, pairs, drift)
            if not pairs and script.tokens and not lasting(script):
                raise OptionError([f"{script.name}: {NOTHING}"])
        changes = settled(changes)
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
            self.session.execute(sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {}").format(sql.SQL(view)), users_path=True)

    def apply(self, beside: Sequence[int]) -> None:
        """Build what takes long beside the old, then do everything else at once."""
        built = False
        try:
            for at in beside:
                built = True
                self.build(at)
            self.retried("apply")
        except BaseException:
            if built and self.session.alive:
                self.session.set(statement_timeout=30.0)
                self.drop(self.session.row(_objects_sql.LEFTOVERS)["views"]["ours"])
            raise

    def beside(self, at: int, changes: Sequence[Change], uses: dict[str, Any]) -> bool:
        """Whether a view can be built before the other changes are made: when they cannot be what it is made of.

        Otherwise it is built in the transaction. Raises OptionError if that would keep others waiting.
        """
        earlier = [change for change in changes if change.step < at and change.result != UNCHANGED]
        locked = [c.object for c in earlier if c.kind in LOCKED_WHEN_REPLACED and c.result == REPLACED]
        if not any(_matters(change, uses) for change in earlier):
            return True
        if locked:
            script = self.scripts[self.steps[at]["number"]].name
            raise OptionError([f"{script}: while this view is being built, readers of {', '.join(locked)} "
                               "would wait, which an earlier script replaces: install these in a task of their own"])  # fmt: skip
        return False

    def build(self, at: int) -> None:
        """Build a materialized view under another name, with the indexes of the old one, and fill it."""
        self.session.end_with_client()
        try:
            with_lock_retries(self.session, lambda: self.program("build", [self.steps[at]]), self.budget.left)
        except SqlError as error:
            if error.sqlstate == QUERY_CANCELED:
                raise SqlError(f"{error}: building it took longer than the budget left", error.sqlstate) from None
            raise
        self.steps[at]["ready"] = True


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


def _steps(number: int, script: Script) -> list[dict[str, Any]]:
    """A script for the program: one step for each definition in it, or one for all."""
    try:
        return [_step(number, part) for part in parts(script, _objects_program.LIMITS)]
    except OptionError as error:
        raise OptionError([f"{script.name}: {message}" for message in error.errors]) from None


def _step(number: int, part: Part) -> dict[str, Any]:
    marker, definition = mark(number), part.definition
    common = {
        "number": number,
        "views": [_quoted(name) for name in replaced_views(part.statements)],
        "schemas": unless_they_exist(part.statements, "schema"),
        "extensions": unless_they_exist(part.statements, "extension"),
        "prelude": part.prelude,
    }
    if definition is None:
        return {**common, "kind": SCRIPT, "text": marker + part.text}
    return {
        **common,
        "kind": definition.kind,
        "catalog": definition.catalog or None,
        "schema": definition.name.schema,
        "name": definition.name.name,
        # Nobody can have taken it, and the next installation knows it by its beginning.
        "built": f"vtchat.maintenance new {secrets.token_hex(4)}",
        "comment": f"vtchat.maintenance: built to take the place of {definition.name}; if it is still there, the next "
        "installation removes it",
        "head": marker + part.before + definition.head,
        "body": definition.body,
        "with": "" if definition.populate else " WITH NO DATA",
        "tail": part.tail,
        "rest": marker + part.text,
        "pad": "\n" * part.tail.count("\n"),
        "ready": False,
    }


def _refuse_twice(scripts: Sequence[Script], steps: Sequence[dict[str, Any]]) -> None:
    """What has no OR REPLACE cannot be one thing and then another. Raises OptionError."""
    known: dict[tuple[str, ...], int] = {}
    for step in steps:
        if step["kind"] != SCRIPT:
            name = (step["kind"], step["schema"] or "", step["name"])
            if name in known:
                first, second = scripts[known[name]].name, scripts[step["number"]].name
                where = "twice" if first == second else f"in {first} too"
                raise OptionError([f"{second}: the {name[0]} {step['name']} is defined {where}"])
            known[name] = step["number"]


def _matters(change: Change, uses: dict[str, Any]) -> bool:
    """Whether a change of something may change what a view contains. uses: what it is made of."""
    if change.kind not in USED_BY_VIEWS or uses["functions"]:
        return change.kind in USED_BY_VIEWS
    if change.kind in ("view", MATERIALIZED_VIEW):
        return change.object in uses["relations"]
    return change.kind in ("type", "schema")


def _quoted(name: Name) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (name.schema, name.name) if part is not None)


def _hint(error: SqlError) -> str:
    """What the server's message does not say."""
    text = str(error)
    if error.sqlstate == "42601" and 'near "\\"' in text:
        return ". Commands of psql, which begin with a backslash, are not SQL"
    if "CONCURRENTLY" in text:
        return ". Everything here is one transaction; the module index creates and removes indexes concurrently"
    if error.sqlstate in ("42723", "42P07", "42710", "42701", "42P06"):
        return ". A script has to be one that can be run again: CREATE OR REPLACE, IF NOT EXISTS"
    if error.sqlstate in ("42883", "42P01", "42704") and _IN_FUNCTION.search(error.context):
        return (
            ". From PostgreSQL 17 on materialized views and indexes are built with search_path = pg_catalog, pg_temp: "
            "qualify the names in the function, or give it a SET search_path"
        )
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
    if refusal.get("place"):
        return _undefinable(refusal)
    if not refusal.get("conflict"):
        return str(refusal["message"])
    dependents = [*refusal["others"], *refusal["views"]]
    text = f"{refusal['object']} cannot be replaced: {refusal['message']}"
    if dependents:
        text += f"; these depend on it: {', '.join(dependents)}"
    advice = keeping(refusal["object"], *refusal["parts"]) if refusal.get("parts") else ""
    if advice:
        return f"{text}. What keeps the data: {advice}"
    if refusal["others"]:
        first = ", ".join(refusal["others"])
        return f"{text}. Of these only views can be made anew: drop {first} first, and create them afterwards"
    return f"{text}. With on_conflict: recreate it is dropped and made anew, with the views that depend on it"


def _undefinable(refusal: dict[str, Any]) -> str:
    """What would change about an object that no script may define, and where that belongs."""
    lines = [
        set("\n".join((one or {}).get(key) or "" for key in ("definition", "settings")).split("\n"))
        for one in (refusal["before"], refusal["after"])
    ]
    what = "; ".join(sorted(lines[1] - lines[0]) or sorted(lines[0] - lines[1]))
    told = f" ({what})" if refusal["before"] and refusal["after"] and what else ""
    kind = "" if refusal["kind"] in refusal["object"] else f"{refusal['kind']} "
    return f"{kind}{refusal['object']}: objects of this kind cannot be defined here{told}; {refusal['place']}"


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
    """Objects as they were and as they would be, from rows of DESCRIBE."""
    changes = []
    for pair in pairs:
        was, will = pair["before"], pair["after"]
        row = will or was
        kind, name = row["kind"], row["object"]
        before, after = (canonical(one) if one else None for one in (was, will))
        changes.append(Change(script, name, kind, before, after, list((drift or {}).get((kind, name), [])),
                              pair.get("at", 0)))  # fmt: skip
    return changes


def settled(changes: list[Change]) -> list[Change]:
    """What several parts change in turn, and leave as it was, is unchanged."""
    found: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        found.setdefault((change.kind, change.object), []).append(change)
    alike = {key for key, several in found.items() if several[0].before == several[-1].after}
    return [
        replace(
            change,
            before=found[change.kind, change.object][0].before,
            after=found[change.kind, change.object][0].before,
        )
        if (change.kind, change.object) in alike
        else change
        for change in changes
    ]


def canonical(row: dict[str, Any]) -> str:
    """All of an object that is compared, as text."""
    lines = [
        (row["definition"] or row["kind"]).rstrip(),
        *(f"-- {line}" for line in (row.get("settings") or "").splitlines()),
    ]
    if row["owner"]:
        lines.append(f"-- owner: {row['owner']}")
    for what, label in (("privileges", "privileges"), ("comments", "comment"), ("labels", "security label")):
        if row.get(what):
            lines.append(f"-- {label}: " + (", " if what == "privileges" else "\n-- ").join(row[what]))
    return "\n".join(lines) + "\n"
