# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Detaching and dropping one partition, step by step: whatever ends it in between, the next run goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...._errors import Contended, SqlError
from ...._postgres.driver import sql
from ...._postgres.policy import BLOCKING, CLEANING, with_lock_retries
from ...._postgres.session import Session
from ...._postgres.sqlstates import LOCK_NOT_AVAILABLE, QUERY_CANCELED
from ...._postgres.waits import EVERYBODY, RESERVE, Wait
from ...._result import CONTENDED, DEFERRED, DONE, FAILED, UNCHANGED
from ... import Context, Outcome
from . import queries
from .actions import DETACH, DROP, KEEP, UNMARK, Removal

WON = "won_bytes"  # disk space that the server has given back
# Whom a detach waits for, but for maintenance: autovacuum gives way to it, once it asks for the lock itself.
USERS = tuple(mode for mode in EVERYBODY if mode != "ShareUpdateExclusiveLock")
LAST = "it is the last partition now, and stays: set premake, so that others come first"


class Work:
    """One partition under way."""

    def __init__(self, session: Session, todo: Removal, context: Context) -> None:
        self.session, self.todo, self.context = session, todo, context
        self.done: list[str] = []
        self.tries = 0
        self.waited = 0.0

    def perform(self) -> Outcome:
        """All that is left to do. Raises SqlError where the connection is lost."""
        try:
            outcome = self._perform()
        except (Contended, SqlError) as error:
            if not self.session.alive:
                raise
            outcome = self._ended(error)
        outcome.changed = bool(self.done)
        if self.waited >= 0.001:
            outcome.numbers["seconds_waited"] = round(self.waited, 3)
        return outcome

    def _perform(self) -> Outcome:
        now = self._now()
        if not now["exists"]:
            return Outcome(UNCHANGED, "it is gone already, or has another name")
        if self.todo.kind in (DROP, KEEP):
            return self._left(now)
        if not now["attached"]:
            return Outcome(UNCHANGED, "somebody has detached it meanwhile, and it stays as a table of its own")
        if self.todo.kind == UNMARK:
            self._unmark(now["comment"])
            return Outcome(DONE)
        if now["bound"] != self.todo.part.bound:
            return Outcome(FAILED, "its bounds have been changed meanwhile: nothing is done")
        if now["other_pending"] or now["before"]:
            other = f"{now['other_pending']} is being detached, and only one can be at a time"
            before = f"rows of {now['before']} refer to it, and that has not gone before it"
            return Outcome(CONTENDED, before if now["before"] else other)
        if self.todo.kind == DETACH and not now["pending"]:
            if not now["others"]:
                return Outcome(UNCHANGED, LAST)
            self._detach(now)
        else:
            self._finalize()
        return self._drop() if self.todo.drop else Outcome(DONE)

    def _left(self, now: dict[str, Any]) -> Outcome:
        """A table that was detached in an earlier run in order to be dropped."""
        if now["attached"]:
            return Outcome(UNCHANGED, "it has been attached again")
        if not (now["comment"] or "").endswith(self.todo.mark):
            return Outcome(UNCHANGED, "its comment was changed meanwhile, and it stays as a table of its own")
        if self.todo.kind == DROP:
            return self._drop()
        self._unmark(now["comment"])
        return Outcome(DONE)

    def _now(self) -> dict[str, Any]:
        part = self.todo.part
        return self.session.row(
            sql.SQL(queries.NOW).format(
                parent=sql.Literal(self.todo.parent.oid),
                oid=sql.Literal(part.oid),
                schema=sql.Literal(part.schema),
                name=sql.Literal(part.name),
                after=sql.Literal(sorted(self.todo.after)),
            )
        )

    def _detach(self, now: dict[str, Any]) -> None:
        """DETACH under the policy that fits. A plain one is dropped in the same transaction."""
        if self.todo.unmark:
            self._unmark(now["comment"])
        if not self.todo.concurrently:
            drop = [self.todo.drop_table()] if self.todo.drop else []
            self._briefly(sql.SQL(";\n").join([self.todo.detach(), *drop]))
            self.done += ["detached", *(["dropped"] if self.todo.drop else [])]
            return
        # Before anything is marked: a transaction that stays open would leave the partition half detached.
        self._wait(self.todo.parent.oid, snapshots=False)
        self._wait(self.todo.part.oid, snapshots=False)
        if self.todo.drop:
            self._mark(now["comment"])
        try:
            self._again(self._begin)
        except (Contended, SqlError):
            self._unmark_if_attached()
            raise
        if "detached" not in self.done:
            self._finalize()

    def _begin(self) -> None:
        """DETACH CONCURRENTLY; or nothing where an earlier try has begun it, and somebody came just then."""
        self.tries += 1
        if self.tries == 1 or not self._now()["pending"]:
            self._alone(self.todo.detach("CONCURRENTLY"))
            self.done.append("detached")

    def _finalize(self) -> None:
        """Finish what was interrupted. It waits for all older snapshots, whatever table they are about."""
        self._wait(self.todo.part.oid, snapshots=True)
        comment = self._now()["comment"]
        if self.todo.drop:
            self._mark(comment)
        elif self.todo.unmark:
            self._unmark(comment)
        self._again(lambda: self._alone(self.todo.detach("FINALIZE")))
        self.done.append("detached")

    def _drop(self) -> Outcome:
        if "dropped" not in self.done:
            self._briefly(self.todo.drop_table())
            self.done.append("dropped")
        return Outcome(DONE)

    def _briefly(self, query: sql.Composable) -> None:
        """Short waits for locks, and again."""
        self.todo.patience.briefly(self.session, query, self.context, self.todo.wait)

    def _again(self, attempt: Callable[[], None]) -> None:
        """Try it a few times, as long as there is patience left. Raises Contended."""
        with_lock_retries(
            self.session, attempt, lambda: min(self.context.seconds_left(), max(0.001, self.todo.patience.left))
        )

    def _alone(self, query: sql.Composed) -> None:
        """DETACH CONCURRENTLY and FINALIZE: whoever comes later is waited for by the server, and waits behind nobody else.

        Where foreign keys are, it locks other tables as well: then not longer than any other lock that blocks.
        """
        left = max(RESERVE, self.context.seconds_left())
        wait = self.todo.wait
        if wait >= BLOCKING:
            wait = max(BLOCKING, min(self.todo.patience.left, left - RESERVE))
        self.session.set(statement_timeout=left, lock_timeout=wait)
        began = time.monotonic()
        try:
            if self.session.shared:  # where limits hold for one message only; and FINALIZE may share one
                self.session.execute(query, users_path=True)
                return
            with self.session.users_path():
                self.session.execute(query, alone=True)
        finally:
            self.todo.patience.left -= time.monotonic() - began

    def _wait(self, table: int, snapshots: bool) -> None:
        """Wait for those whom the server would wait for. Raises Contended."""
        end = time.monotonic() + max(0.0, self.todo.patience.left)
        began = time.monotonic()
        try:
            Wait(table, USERS, snapshots=snapshots).over(
                self.session,
                lambda: min(self.context.seconds_left(), end - time.monotonic() + RESERVE),
                time.sleep,
            )
        finally:
            took = time.monotonic() - began
            self.waited += took
            self.todo.patience.left -= took

    def _mark(self, comment: str | None) -> None:
        """Say in its comment that it is to be dropped, so that whoever finds it knows, and the next run as well."""
        if not (comment or "").endswith(self.todo.mark):
            self._briefly(self.todo.comment("\n".join([*([comment] if comment else []), self.todo.mark])))

    def _unmark(self, comment: str | None) -> None:
        """It is not to be dropped after all."""
        if (comment or "").endswith(self.todo.mark):
            self._briefly(self._unmarked(comment))
            self.done.append("kept")

    def _unmarked(self, comment: str | None) -> sql.Composed:
        """What takes the mark away from the comment."""
        text = (comment or "").removesuffix(self.todo.mark).removesuffix("\n")
        return self.todo.comment(text or None)

    def _unmark_if_attached(self) -> None:
        """Nothing was begun: nothing is to be known of it. If this fails, its bounds decide once more the next time."""
        if not self.todo.drop or not self.session.alive:
            return
        with suppress(Contended, SqlError):
            self.session.set(statement_timeout=CLEANING, lock_timeout=RESERVE)
            now = self._now()
            if now["exists"] and now["attached"] and not now["pending"]:
                self.session.execute(self._unmarked(now["comment"]), users_path=True)

    def _ended(self, error: Contended | SqlError) -> Outcome:
        """What an error means: how far it came, and how it goes on."""
        where = self._where()
        if isinstance(error, Contended):
            return Outcome(CONTENDED, f"{error}{self._holder(error)}{where}")
        if error.sqlstate == QUERY_CANCELED and self.context.seconds_left() < RESERVE:
            return Outcome(DEFERRED, f"the budget ended while it was detached{where}")
        return Outcome(FAILED, f"{str(error).rstrip('.')}{where}")

    def _holder(self, error: Contended) -> str:
        """Who still has the lock that was waited for in vain, as a sentence goes on; "" where nobody has any more."""
        if error.sqlstate == LOCK_NOT_AVAILABLE:
            for table in (self.todo.parent.oid, self.todo.part.oid):
                for who in Wait(table, EVERYBODY).blockers(self.session).values():
                    return f": {who} is in the way"
        return ""

    def _where(self) -> str:
        """How far it came, as a sentence goes on."""
        if "detached" in self.done and self.todo.drop:
            return "; it is detached, and the next run drops it"
        with suppress(Contended, SqlError):
            self.session.set(statement_timeout=CLEANING, lock_timeout=RESERVE)
            now = self._now()
            if now["exists"] and now["attached"] and now["pending"]:
                self.done.append("begun")
                return "; it is half detached, nobody sees its rows in the table any more, and the next run finishes it"
        return "; nothing was done" if self.todo.kind == DETACH else ""


def execute(session: Session, todo: Removal, context: Context, bytes_: int | None) -> Outcome:
    """One partition: detached, finished, dropped or kept."""
    work = Work(session, todo, context)
    outcome = work.perform()
    if "dropped" in work.done and bytes_ is not None:
        outcome.numbers[WON] = bytes_
    return outcome
