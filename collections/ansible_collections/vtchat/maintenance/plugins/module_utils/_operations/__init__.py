# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What an operation is: the contract between the operations and the engine, and which operations there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Generic, Protocol, TypeVar, Union

from .._postgres.selection import Selection
from .._postgres.session import Session
from .._result import DONE, Finding
from .._spec import Spec

# The only list of operations: the name of the file here, of the step in a plan and of the module.
NAMES = ("amcheck", "analyze", "health_info", "index", "index_info", "purge", "refresh", "reindex", "vacuum")
# Those that plans of each hour have.
HOURLY = ("analyze", "purge", "refresh")
# Those of them that are READ_ONLY. Asking each would load all of them.
READING = ("amcheck", "health_info", "index_info")

Options = TypeVar("Options")
Facts = TypeVar("Facts")
Payload = TypeVar("Payload")


@dataclass(frozen=True)
class Effect:
    """What an action does to a table. rows: how many it changes there, None where nobody knows.

    rewritten: the table gets another file, with the same rows. gone: it is dropped. analyzed: afterwards its statistics
    are those of its rows.
    """

    rows: int | None = 0
    rewritten: bool = False
    gone: bool = False
    analyzed: bool = False

    def __add__(self, other: Effect) -> Effect:
        known = self.rows is not None and other.rows is not None
        rows = (self.rows or 0) + (other.rows or 0) if known else None
        analyzed = other.analyzed or (self.analyzed and other.rows == 0)
        return Effect(rows, self.rewritten or other.rewritten, self.gone or other.gone, analyzed)


@dataclass(frozen=True)
class Difference:
    """What --diff shows of one target, as text: before and after. Empty where there is nothing."""

    before: str
    after: str


@dataclass(frozen=True)
class Action(Generic[Payload]):
    """Something that is to be executed.

    target      the object's name, schema-qualified and quoted where SQL needs it, for people
    reason      why this was decided, one short sentence without the target's name
    payload     what execute() needs from decide(); never printed, never stored
    numbers     what decided, JSON-ready (rows, thresholds, sizes in bytes, durations in seconds)
    statements  the SQL that execute() will send, as text for people; batches are listed once
    effects     table oid -> what the action does there, for the steps after it in check mode
    rows        rows that it will affect, None where that is not known or means nothing
    difference  what will be different afterwards
    last        it is executed after all others of its step, also where several are executed at once
    size        bytes that decide how long it takes, None where they are not known; the engine predicts durations by them
    divisible   it can stop anywhere and go on in the next run, whatever else its operation does (see DIVISIBLE)
    """

    target: str
    reason: str
    payload: Payload
    numbers: dict[str, Any] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    effects: dict[int, Effect] = field(default_factory=dict)
    rows: int | None = None
    difference: Difference | None = None
    last: bool = False
    size: int | None = None
    divisible: bool = False

    @property
    def verdict(self) -> str | None:
        """None: it is not known yet what will become of it."""
        return None


@dataclass(frozen=True)
class Verdict:
    """A decision that is final: nothing is to be executed.

    verdict  UNCHANGED, SKIPPED, CONTENDED, DEFERRED or FAILED
    state    to be kept for the next run under (operation, target); None keeps what is stored
    """

    target: str
    reason: str
    verdict: str
    numbers: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None

    @property
    def statements(self) -> tuple[str, ...]:
        """Nothing is sent."""
        return ()


@dataclass
class Outcome:
    """What became of one action.

    status      DONE, UNCHANGED (it was looked at once more, or done, and nothing is different), CONTENDED, DEFERRED or FAILED
    reason      replaces the action's reason when set
    changed     whether data, structure or statistics changed
    rows        rows affected, None where rows mean nothing
    numbers     measured afterwards, JSON-ready; merged over the action's numbers
    state       to be kept for the next run under (operation, target); None keeps what is stored
    difference  what is different now, where the action could not know it
    findings    what is known now; each takes the place of what was decided about the same subject
    """

    status: str = DONE
    reason: str = ""
    changed: bool = False
    rows: int | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None
    difference: Difference | None = None
    findings: tuple[Finding, ...] = ()


@dataclass
class Context:
    """What the engine lends an operation while it decides and executes.

    check        check mode: decide only
    state        target -> what was stored for this operation last time
    forecast     table oid -> what earlier steps of this plan are about to do there (check mode only; in a real run they
                 have done it already)
    seconds_left seconds of the budget that are left now
    progress     called as progress(target, what to say, seconds so far) by long actions; cheap to call often
    observe      a block during which another session looks now and then how far the server is, and what it says is shown:
                 ``with context.observe(target, look)``, look(session) -> text
    warn         what is worth knowing although nothing failed
    write        a file on the machine that asks for it, as write(path, text); in check mode it is left as it is
    history      whether state will be remembered; False says why through history_note
    plan         the name of the plan that is under way
    earlier      whether the findings of earlier runs can be read, in maintenance.finding
    """

    check: bool
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    forecast: dict[int, Effect] = field(default_factory=dict)
    seconds_left: Callable[[], float] = lambda: float("inf")
    progress: Callable[[str, str, float], None] = lambda target, said, seconds: None
    observe: Callable[[str, Callable[[Session], str]], AbstractContextManager[None]] = lambda target, look: (
        nullcontext()
    )
    warn: Callable[[str], None] = lambda text: None
    write: Callable[[str, str], None] = lambda path, text: None
    history: bool = True
    history_note: str = ""
    earlier: bool = False
    plan: str = ""


@dataclass(frozen=True)
class Need:
    """A right that a step needs on an object of its.

    need     rows (select, update, delete), referring (the same of rows that refer to them), insert, maintain, own, or history;
             read (select), or holders, to read the tables whose rows hold those of this one by a foreign key;
             or measure, to read how full tables and indexes are, which is about no name, and which can be done without; or
             execute, to call the functions of that name of an extension
    kinds    letters of pg_class.relkind that the object may have
    column   what must be readable, for rows
    creates  whether something is created beside the object, in its schema
    becomes  whether that is to be the owner's, whom the role must be able to become for it
    patterns what is meant instead of one name: all that they choose
    extension  whose functions are to be called
    """

    name: str
    need: str
    kinds: str
    column: str = ""
    creates: bool = False
    patterns: Selection | None = None
    extension: str = ""
    becomes: bool = False


Decision = Union[Action[Payload], Verdict]


class Operation(Protocol[Options, Facts, Payload]):
    """One file or folder here. The engine asks it, and knows none by name."""

    # Options with their rules; they are those of the step and, with the connection's and the run's, those of the module.
    SPEC: Spec
    # It can stop anywhere and go on in the next run: some time is enough, however long the last one took.
    DIVISIBLE: bool
    # It writes nothing: it takes no run lock, and may look at a standby.
    READ_ONLY: bool
    # What became of the rows that it affects, as totals say it ("33 333 rows purged"); empty where they are not added up.
    COUNTED_AS: str

    def read(self, given: Mapping[str, Any]) -> Options:
        """The options in the form in which they are used, from values of the right types. Raises OptionError with all faults."""

    def names(self, options: Options) -> Sequence[str]:
        """The objects that the options name, as texts of SQL. None: it is about whatever it finds."""

    def needs(self, options: Options) -> Sequence[Need]:
        """The rights that a role must have for this step."""

    def jobs(self, options: Options) -> int:
        """How many actions of the step may run at once, each over a session of its own."""

    def facts(self, session: Session, options: Options, context: Context) -> Facts:
        """What is. Raises OptionError, SqlError, Contended."""

    def decide(self, facts: Facts, options: Options, context: Context) -> Sequence[Decision[Payload] | Finding]:
        """What is to be done, most urgent first, and what is worth knowing. Pure."""

    def execute(self, session: Session, action: Action[Payload], context: Context) -> Outcome:
        """Do it, and verify that it was done. Raises SqlError, Contended."""


def chosen(selection: Selection, need: str, kinds: str) -> list[Need]:
    """The need of all that patterns choose; none where there are no patterns."""
    return [Need("", need, kinds, patterns=selection)] if selection.include else []


class _Operations(Mapping[str, Operation[Any, Any, Any]]):
    """The operations by name, each loaded when it is asked for: Ansible compiles our source anew in every run."""

    def __getitem__(self, name: str) -> Operation[Any, Any, Any]:
        if name not in NAMES:
            raise KeyError(name)
        operation: Operation[Any, Any, Any] = import_module(f".{name}", __package__)
        return operation

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


OPERATIONS = _Operations()


def reading() -> list[str]:
    """The operations that write nothing."""
    return list(READING)


if TYPE_CHECKING:
    # Ansible puts into a module's archive what is imported anywhere in the source. And each is held to the contract here.
    from . import amcheck, analyze, health_info, index, index_info, purge, refresh, reindex, vacuum

    _CHECKED: tuple[Operation[Any, Any, Any], ...] = (
        amcheck,
        analyze,
        health_info,
        index,
        index_info,
        purge,
        refresh,
        reindex,
        vacuum,
    )
