# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""refresh: what is decided from given facts, and how long it waits for them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context, Effect, refresh
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh import fingerprint, sessions
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh.fingerprint import View
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh.sessions import Look
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.catalog import Relation

READ_AT = 1_800_000_000.0  # 2027-01-15 08:00 UTC
OPTIONS: dict[str, Any] = {"view": "v", "views": None, "concurrently": "auto", "max_age": 0, "force": False}


def view(name: str = "v", oid: int = 20000, reads: tuple[int, ...] = (20900,), **changes: Any) -> View:
    relation = Relation(oid, "public", name, "m", "owner", True)
    given: dict[str, Any] = {
        "populated": True,
        "unique_index": True,
        "names": {below: f"public.t{below}" for below in reads},
        "fingerprint": {
            "view": oid,
            "definition": "1",
            "database": 5,
            "since": {"began": ["1", "2", "", ""], "loaded": "1", "settings": ["", 0, 0, 0]},
            "relations": [[below, "form", below, 10, 0, 0] for below in reads],
        },
        "contents": [20000, 1, 1],
        "now": READ_AT + 3600,
    }
    return View(target=relation.display, relation=relation, **{**given, **changes})


def stored(*views: View) -> dict[str, Any]:
    common = {"format": refresh.STATE_FORMAT, "open": ["3/9"], "read_at": READ_AT, "seconds": 1, "doubt": ""}
    return {v.target: {"fingerprint": v.fingerprint, "contents": v.contents, **common} for v in views}


def decide(*views: View, state: dict[str, Any] | None = None, unproven: str = "", **options: Any) -> list[Any]:
    forecast = options.pop("forecast", {})
    history_note = options.pop("history_note", "")
    state = stored(*views) if state is None else state
    context = Context(check=True, state=state, forecast=forecast, history_note=history_note)
    return list(refresh.decide(refresh.Facts(list(views), unproven), refresh.read({**OPTIONS, **options}), context))


def test_unchanged() -> None:
    [action] = decide(view())
    assert (action.verdict, action.reason) == (
        "unchanged",
        "nothing has changed since the refresh of 2027-01-15 08:00 UTC",
    )
    assert action.statements == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"view": view(populated=False)},
         "it is not populated; plain, which blocks readers: the first refresh cannot be concurrent"),
        ({"force": True}, "force is set"),
        ({"view": view(obstacle="its definition calls now()")}, "its definition calls now()"),
        ({"state": {}}, "no earlier refresh is known"),
        ({"state": {}, "history_note": "history is off"}, "no earlier refresh is known (history is off)"),
        ({"state": {"public.v": {"seconds": 1}}}, "no earlier refresh is known"),
        ({"state": {"public.v": {"fingerprint": {}, "format": 99}}}, "no earlier refresh is known"),
        ({"state": {"public.v": {**stored(view())["public.v"], "format": 1}}}, "no earlier refresh is known"),
        ({"state": {"public.v": {**stored(view())["public.v"], "doubt": "it calls now()"}}},
         "nothing could be proved at the last refresh (it calls now())"),
        ({"forecast": {20900: Effect(5)}}, "public.t20900 is about to change"),
        ({"view": view(contents=[20001, 1, 1]), "state": stored(view())}, "it has been refreshed or rewritten by somebody else"),
        ({"view": view(reads=(20900, 20901)), "state": stored(view())}, "it reads public.t20901 since the last refresh"),
        ({"max_age": 1800}, "the last refresh is 1 h old (max_age: 30 min)"),
        ({"unproven": "session 5 was busy"}, "session 5 was busy"),
        ({"view": view(unique_index=False), "force": True},
         "force is set; plain, which blocks readers: no unique index on plain columns"),
        ({"concurrently": "never", "force": True}, "force is set"),
    ],
)  # fmt: skip
def test_due(changes: dict[str, Any], reason: str) -> None:
    [action] = decide(changes.pop("view", view()), **changes)
    assert (action.verdict, action.reason) == (None, reason)
    assert action.effects == {20000: Effect(None, rewritten=action.numbers["method"] == "plain")}


@pytest.mark.parametrize(
    ("given", "concurrently", "method"),
    [
        (view(), "auto", "concurrently"),
        (view(), "require", "concurrently"),
        (view(), "never", "plain"),
        (view(unique_index=False), "auto", "plain"),
        (view(populated=False), "require", "plain"),
        (view(populated=False, unique_index=False), "require", "plain"),
    ],
)
def test_method(given: View, concurrently: str, method: str) -> None:
    [action] = decide(given, force=True, concurrently=concurrently)
    assert action.numbers == {"method": method}
    assert ("CONCURRENTLY" in action.statements[0]) == (method == "concurrently") == action.payload.concurrently


def test_required_but_impossible() -> None:
    [action] = decide(view(unique_index=False), concurrently="require")
    assert action.verdict == "failed"
    assert "CREATE UNIQUE INDEX ON public.v" in action.reason


def test_max_age_not_reached() -> None:
    assert decide(view(), max_age=3600)[0].verdict == "unchanged"


def test_order_and_what_a_refresh_makes_due() -> None:
    top = view("top", 20003, reads=(20002,))
    middle = view("middle", 20002, reads=(20001, 20900))
    base = view("base", 20001, reads=(20901,))
    other = view("other", 20004)
    actions = decide(top, other, middle, base, state={**stored(top, other, middle, base)}, forecast={20901: Effect(1)})
    assert [action.target for action in actions] == ["public.other", "public.base", "public.middle", "public.top"]
    assert [action.verdict for action in actions] == ["unchanged", None, None, None]
    assert actions[1].reason == "public.t20901 is about to change"
    assert actions[2].reason == "public.t20001 is refreshed before it"
    assert actions[3].reason == "public.t20002 is refreshed before it"


def test_a_view_that_cannot_be_refreshed_makes_nothing_due() -> None:
    top, base = view("top", 20003, reads=(20001,)), view("base", 20001, fault="role x may not refresh it: GRANT …")
    assert [(action.target, action.verdict) for action in decide(top, base)] == [
        ("public.base", "failed"),
        ("public.top", "unchanged"),
    ]


def test_the_same_view_twice_and_names_that_nothing_has() -> None:
    missing = [View(target=name, relation=None, fault=f"there is no {name}") for name in ("a", "b")]
    actions = decide(view(), missing[0], view(), missing[1])
    assert [(action.target, action.verdict) for action in actions] == [
        ("public.v", "unchanged"),
        ("a", "failed"),
        ("b", "failed"),
    ]


def test_option_faults() -> None:
    with pytest.raises(OptionError) as caught:
        refresh.read({**OPTIONS, "view": None, "views": [], "max_age": -1})
    assert caught.value.errors == ["views: is empty", "max_age: must be 0 (no limit) or a number of seconds"]


class Server:
    """A server with one other session; time passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, other: Callable[[float], dict[str, Any] | None]) -> None:
        self.other = other
        self.now = READ_AT + 3600
        self.start = self.now
        self.view = view()
        self.reads = self.looks = 0
        monkeypatch.setattr(fingerprint, "read", self.read)
        monkeypatch.setattr(sessions, "look", self.look)

    def read(self, session: Any, names: list[str]) -> tuple[list[View], Look]:
        self.reads += 1
        return [self.view], self._look()

    def look(self, session: Any) -> Look:
        self.looks += 1
        return self._look()

    def _look(self) -> Look:
        found = self.other(self.now - self.start)
        return Look([{"pid": 7, **found}] if found else [], self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def facts(self, **changes: Any) -> refresh.Facts:
        options = refresh.read({**OPTIONS, **{key: value for key, value in changes.items() if key in OPTIONS}})
        state = changes.get("state", stored(self.view))
        left = changes.get("seconds_left", 600.0)
        context = Context(check=True, state=state, seconds_left=lambda: left - (self.now - self.start))
        return refresh.facts(SimpleNamespace(inherited=False), options, context, self.sleep)  # type: ignore[arg-type]

    @property
    def waited(self) -> float:
        return self.now - self.start


def someone(state: str | None, since: float | None = None, transaction: str | None = None) -> dict[str, Any]:
    kind = "client backend" if state else None
    return {"type": kind, "state": state, "since": since, "asked": since, "transaction": transaction, "sending": None}


IN_TRANSACTION = someone("idle in transaction", READ_AT, "3/10")
IN_AN_OLD_ONE = someone("idle in transaction", READ_AT, "3/9")
HIDDEN = someone(None)


def idle(since: float) -> dict[str, Any]:
    return someone("idle", since)


def test_nobody_else_or_nobody_who_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (None, idle(READ_AT + 3500), IN_AN_OLD_ONE):
        server = Server(monkeypatch, lambda _seconds, other=other: other)  # type: ignore[misc]
        assert server.facts() == refresh.Facts([server.view])
        assert (server.reads, server.looks, server.waited) == (1, 0, 0)


def test_no_waiting_for_a_view_that_is_due_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda _seconds: IN_TRANSACTION)
    assert server.facts(force=True).unproven == ""
    assert server.facts(state={}).unproven == ""
    assert server.waited == 0


def test_the_counters_are_read_again_after_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda seconds: idle(READ_AT + 3600 - 3))
    late = view(contents=[1, 2, 3])

    def look(session: Any) -> Look:
        server.view = late
        return server.look(session)

    monkeypatch.setattr(sessions, "look", look)
    assert server.facts().views == [late]
    assert server.reads == 2
    assert 8 <= server.waited <= 9.5


def test_idle_anew_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is never idle for ten seconds: waiting costs more than it can prove."""
    server = Server(monkeypatch, lambda seconds: idle(READ_AT + 3600 + seconds - 0.1))
    assert "session 7 was busy for the 1.3 s that we waited" in server.facts().unproven
    assert server.looks == 1


def test_where_a_refresh_takes_long_one_minute_proves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda seconds: idle(READ_AT + 3600 + seconds - 0.1))
    state = stored(server.view)
    state["public.v"]["seconds"] = 600
    assert server.facts(state=state).unproven == ""
    assert 61 < server.waited < 71


def test_hidden_sessions_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda _seconds: HIDDEN)
    assert "session 7 does not show its state (GRANT pg_read_all_stats to our role)" in server.facts().unproven


def test_one_that_does_not_come_out_of_its_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda _seconds: IN_TRANSACTION)
    assert server.facts().unproven == (
        "session 7 was in a transaction for the 11 s that we waited, and may have changed rows that are not counted yet"
    )
    assert server.reads == 1


def test_no_time_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda _seconds: HIDDEN)
    assert "and there is no time to wait" in server.facts(seconds_left=1).unproven
    assert server.waited == 0


def test_rights_that_the_owner_lacks_are_told_in_check_mode() -> None:
    lacking = view(
        missing=("GRANT SELECT ON TABLE public.t TO owner",), missing_concurrently=("GRANT USAGE ON SCHEMA s TO owner",)
    )
    [action] = decide(lacking, force=True)
    assert (action.verdict, action.reason) == (
        "failed",
        "the owner of the view, role owner, needs rights too: "
        "GRANT SELECT ON TABLE public.t TO owner; GRANT USAGE ON SCHEMA s TO owner",
    )
    [action] = decide(lacking, force=True, concurrently="never")
    assert action.reason.endswith("GRANT SELECT ON TABLE public.t TO owner")
    assert decide(lacking)[0].verdict == "unchanged"
