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
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import Contended, OptionError, SqlError
from .._postgres import policy
from .._postgres.capabilities import FLUSHED_STATISTICS
from .._postgres.driver import sql
from .._postgres.index_definition import Definition as IndexDefinition
from .._postgres.names import quote
from .._postgres.policy import Budget, with_lock_retries
from .._postgres.session import Session
from .._postgres.sqlstates import QUERY_CANCELED
from . import program as objects_program
from . import sql as objects_sql
from .changes import KEEP, REPLACE, Change, compare, drifts, left_behind, settled
from .definitions import MATERIALIZED_VIEW
from .messages import NOTHING, refused
from .places import Places
from .refusals import lasting, warns
from .scripts import Script
from .steps import future_index, refuse_twice, steps_of

# Not the lock of runs: an installation may take long and does not keep the hourly maintenance from its work.
LOCK = (
    "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('vtchat.maintenance.sql_object', 0)) AS locked"
)
# A change of any of these may change what a view built afterwards contains.
USED_BY_VIEWS = ("function", "procedure", "aggregate", "view", MATERIALIZED_VIEW, "type", "schema")
# Replacing these keeps readers or writers of them waiting until the transaction ends.
LOCKED_WHEN_REPLACED = ("view", MATERIALIZED_VIEW, "trigger")

EXTRA_INDEXES = """
SELECT format('%I.%I', n.nspname, t.relname) AS view, c.relname::text AS name
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
WHERE t.relkind = 'm' AND format('%I.%I', n.nspname, t.relname) = ANY ({views}) AND c.relname <> ALL ({wanted}::text[])
ORDER BY 1, 2
"""


@dataclass
class Installed:
    """What an installation has done or, in check mode, would do. contended: why nothing was done although something differs."""

    changes: list[Change]
    warnings: list[str] = field(default_factory=list)
    contended: str = ""


def install(
    session: Session,
    scripts: Sequence[Script],
    check: bool,
    recreate: bool = False,
    indexes: Sequence[IndexDefinition] | None = None,
    budget: Budget | None = None,
) -> Installed:
    """Apply the scripts, and say of each object what became of it; with ``check``, what would.

    recreate: what cannot be replaced is dropped and made anew, with the views that depend on it. indexes: those that
    there should be; they are not created here, except that check mode tries out those of new views. budget: for all of it.
    Raises OptionError (a script that cannot be handled), SqlError, and Contended where not even the objects are known;
    nothing is changed then.
    """
    if session.shared:
        raise OptionError(["objects cannot be installed through a transaction pooler: connect to the server itself"])
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
        self.session, self.scripts, self.recreate, self.budget = session, scripts, recreate, budget
        self.indexes = indexes
        self.places = Places(session, scripts)
        self.steps = [step for number, script in enumerate(scripts) for step in steps_of(number, script)]
        for at, step in enumerate(self.steps):
            step["at"] = at
        refuse_twice(scripts, self.steps)
        self.trial = f"vtchat.maintenance trial {secrets.token_hex(4)}"
        self.warnings: list[str] = []

    def run(self, check: bool) -> Installed:
        """All of it."""
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
        gone = [left_behind(name) for name in leftovers]
        beside = [at for at in found["builds"] if self.beside(at, changes, found["uses"][str(at)])]
        if check:
            return Installed(changes + gone + [_future_change(row) for row in found["future"]], self.warnings)
        contended = ""
        try:
            self.drop(leftovers)
            if any(change.operation != KEEP for change in changes):
                self.apply(beside)
        except Contended as error:
            contended = str(error)
        return Installed(changes + gone, self.warnings, contended)

    def lock(self) -> None:
        """Two installations at once would both find a change, and then fail on each other's rows."""
        end = time.monotonic() + min(policy.OTHERS_WORK, self.budget.left())
        while not self.session.row(LOCK)["locked"]:
            if time.monotonic() > end:
                raise Contended(f"another installation has been at work in this database for {policy.OTHERS_WORK:g} s")
            time.sleep(policy.LOOK_AGAIN)  # a waiting statement would hold back what VACUUM may remove
        if self.session.inherited and self.session.server.has(FLUSHED_STATISTICS):
            # What the last user of this backend has changed and not reported yet would be taken for ours.
            self.session.row("SELECT pg_catalog.pg_stat_force_next_flush()")

    def retried(self, mode: str) -> dict[str, Any]:
        """Compare or apply under the blocking policy."""
        return with_lock_retries(self.session, lambda: self.program(mode, self.steps), self.budget.left)

    def program(self, mode: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """Run the program on the server."""
        given = {
            "mode": mode,
            "queries": objects_sql.QUERIES,
            "steps": steps,
            "trial": self.trial,
            "on_conflict": "recreate" if self.recreate else "fail",
            "lock_ms": policy.BLOCKING * 1000,
            "indexes": [future_index(number, one) for number, one in enumerate(self.indexes or [])]
            if mode == "compare"
            else [],
        }
        # When the server finds an error in the body of a function, it looks for its text in the outermost statement, and would
        # report a position in there: so the outer text must not contain the script verbatim.
        # Letters stay letters: a database in SQL_ASCII has no characters that an escape of JSON could mean.
        encoded = base64.b64encode(json.dumps(given, ensure_ascii=False).encode()).decode()
        query = sql.SQL(objects_program.BEGIN).format(
            input=sql.Literal(encoded),
            program=sql.Literal(objects_program.PROGRAM),
            path=sql.Literal(self.session.server.path),
        )
        try:
            result: dict[str, Any] = self.session.row(query)["result"]
        except (SqlError, Contended) as error:
            if self.session.alive:
                self.session.execute("ROLLBACK")
            raise self.places.explained(error) from None
        return result

    def heed(self, warned: list[str], logged: dict[str, Any] | None) -> None:
        """A warning of the server says that something was not done, unless somebody raises it who wants to. Raises SqlError."""
        if (logged and logged["warns"]) or any(warns(script) for script in self.scripts):
            self.warnings += warned
        elif warned:
            number, line = self.places.search(None, lambda _failure, warnings: warned[0] in warnings)
            where = f"{self.places.place(number, line)}: " if number is not None else ""
            raise SqlError(f"{where}the server warns: {'; '.join(warned)}. Nothing was changed")

    def read(self, found: dict[str, Any]) -> list[Change]:
        """The changes that the program found. Raises OptionError for what cannot be done."""
        if found["refusal"]:
            raise OptionError([f"{self.scripts[int(found['refusal']['number'])].name}: {refused(found['refusal'])}"])
        drift = drifts(found["present"], found["asked"])
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
                self.session.set(statement_timeout=policy.CLEANING)
                self.drop(self.session.row(objects_sql.LEFTOVERS)["views"]["ours"])
            raise

    def beside(self, at: int, changes: Sequence[Change], uses: dict[str, Any]) -> bool:
        """Whether a view can be built before the other changes are made: when they cannot be what it is made of.

        Otherwise it is built in the transaction. Raises OptionError if that would keep others waiting.
        """
        earlier = [change for change in changes if change.step < at and change.operation != KEEP]
        locked = [c.object for c in earlier if c.kind in LOCKED_WHEN_REPLACED and c.operation == REPLACE]
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


def _future_change(row: dict[str, Any]) -> Change:
    """An index of a view that does not exist yet."""
    return Change(f"indexes[{row['number'] + 1}]", row["object"], "index", None, row["definition"] + "\n")


def _matters(change: Change, uses: dict[str, Any]) -> bool:
    """Whether a change of something may change what a view contains. uses: what it is made of."""
    if change.kind not in USED_BY_VIEWS or uses["functions"]:
        return change.kind in USED_BY_VIEWS
    if change.kind in ("view", MATERIALIZED_VIEW):
        return change.object in uses["relations"]
    return change.kind in ("type", "schema")
