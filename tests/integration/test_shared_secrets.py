# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""shared_secrets against doubles of both sides: whatever fails in between, the next run leaves both with the same value."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import http, shared_secrets
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.github_decide import PREFIX
from ansible_collections.vtchat.maintenance.plugins.modules import fly_secrets as fly_module
from ansible_collections.vtchat.maintenance.plugins.modules import shared_secrets as shared_module
from tests.doubles import contract
from tests.doubles.fly import App, Fly
from tests.doubles.github import GitHub, Place
from tests.doubles.service import CUT, CUT_AFTER, Reply, Request
from tests.leaks import leaks
from tests.services import answer, printed

GITHUB_TOKEN, FLY_TOKEN = "github_pat_11TOKEN", "fm2_lJPECtoken"
KEY = "k" * 32
NAME = "CRON_SECRET_TOKEN"
NOBODY = "http://127.0.0.1:9"


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Sides:
    """Both services. ``requests`` counts what changes something, on either side, in the order of time."""

    github: GitHub
    fly: Fly

    @property
    def place(self) -> Place:
        return self.github.places["example/app"]

    @property
    def app(self) -> App:
        return self.fly.apps["shop"]

    def values(self, name: str = NAME) -> tuple[str | None, str | None]:
        """On Fly, and on GitHub."""
        return self.app.values.get(name), self.place.values().get(name)

    @property
    def same(self) -> str:
        on_fly, on_github = self.values()
        assert on_fly
        assert on_fly == on_github
        return on_fly

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "secrets": {NAME: ""},
            "repository": "example/app",
            "app": "shop",
            "patience": 0,
            "timeout": 60,
        }
        given |= {"github_token": GITHUB_TOKEN, "github_api_url": self.github.url}
        given |= {"fly_token": FLY_TOKEN, "fly_api_url": self.fly.url, **options}
        result = answer(shared_secrets, check, **given)
        shown = json.dumps(result, ensure_ascii=False)
        values = [*self.app.values.values(), *self.place.values().values()]
        assert [value for value in values if len(value) > 7 and value in shown] == []
        return result


@pytest.fixture
def sides() -> Iterator[Sides]:
    github, fly = GitHub(contract.load(), GITHUB_TOKEN), Fly()
    fly.add_app("shop", FLY_TOKEN)
    yield Sides(github, fly)
    github.close()
    fly.close()


def bases(result: dict[str, Any]) -> set[str]:
    return {action["basis"] for action in result["actions"] if action["kind"] == "secret"}


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {action["platform"]: action["outcome"] for action in result["actions"] if action["kind"] == "secret"}


@pytest.mark.parametrize("value", ["x" * 40 + "\n", " " + "x" * 40, "x" * 40 + "\r\n"])
def test_a_value_that_no_header_can_carry_is_refused(sides: Sides, value: str) -> None:
    with pytest.raises(OptionError, match="line break"):
        sides.run(secrets={NAME: value})
    assert sides.github.requests == sides.fly.requests == []


KEYS = pytest.mark.parametrize("key", [KEY, None], ids=["key", "no key"])


@KEYS
@pytest.mark.parametrize("in_file", [False, True], ids=["variable", "file"])
def test_made_once_and_then_left_alone(sides: Sides, tmp_path: Path, key: str | None, in_file: bool) -> None:
    options: dict[str, Any] = {
        "fingerprint_key": key,
        "fingerprint_file": str(tmp_path / "records") if in_file else None,
    }
    planned = sides.run(check=True, **options)
    assert outcomes(planned) == {"Fly": "planned", "GitHub": "planned"}
    assert sides.values() == (None, None)
    assert sides.place.variables == {}
    assert outcomes(sides.run(**options)) == {"Fly": "done", "GitHub": "done"}
    assert len(sides.same) == 64
    assert (PREFIX + NAME in sides.place.variables) == (not in_file)
    again = sides.run(**options)
    assert not again["changed"]
    assert bases(again) == {"record"}
    assert again["unknown"] == []


@KEYS
def test_rotation_makes_another_one(sides: Sides, key: str | None) -> None:
    sides.run(fingerprint_key=key)
    before = sides.same
    assert sides.run(check=True, rotate=True, fingerprint_key=key)["changed"]
    assert sides.same == before
    assert sides.run(rotate=True, fingerprint_key=key)["changed"]
    assert sides.same != before
    assert not sides.run(fingerprint_key=key)["changed"]


@pytest.mark.parametrize("side", ["Fly", "GitHub"])
@pytest.mark.parametrize("how", ["changed", "gone"])
@KEYS
def test_what_was_done_by_hand_is_found(sides: Sides, side: str, how: str, key: str | None) -> None:
    sides.run(fingerprint_key=key)
    before = sides.same
    sides.fly.advance(60)
    if how == "changed" and side == "Fly":
        sides.fly.set_by_hand("shop", NAME, "by hand")
    elif how == "changed":
        sides.github.edit("example/app", NAME, "by hand")
    else:
        del (sides.app.secrets if side == "Fly" else sides.place.secrets)[NAME]
    result = sides.run(fingerprint_key=key)
    expected = f"drift: somebody else wrote it on {side}" if how == "changed" else f"it is missing on {side}"
    assert result["actions"][0]["reason"] == expected
    assert sides.same not in (before, "by hand")
    assert not sides.run(fingerprint_key=key)["changed"]


def test_the_same_value_written_again_on_fly_is_no_drift_where_it_can_be_told(sides: Sides) -> None:
    sides.run(fingerprint_key=KEY)
    sides.fly.advance(60)
    sides.fly.set_by_hand("shop", NAME, sides.same)
    assert not sides.run(fingerprint_key=KEY)["changed"]


@pytest.mark.parametrize("another", [KEY, None, "another key of thirty-two bytes!!"])
@KEYS
def test_another_key_is_no_reason_for_another_value(sides: Sides, key: str | None, another: str | None) -> None:
    sides.run(fingerprint_key=key)
    assert not sides.run(fingerprint_key=another)["changed"]


def test_a_value_that_is_given(sides: Sides) -> None:
    given: dict[str, Any] = {"secrets": {NAME: "x" * 32}, "fingerprint_key": KEY}
    sides.run(**given)
    assert sides.same == "x" * 32
    again = sides.run(**given)
    assert (again["changed"], bases(again)) == (False, {"fingerprint"})
    assert sides.run(secrets={NAME: "y" * 32}, fingerprint_key=KEY)["changed"]
    assert sides.same == "y" * 32
    blind = sides.run(secrets={NAME: "y" * 32})
    assert (blind["changed"], bases(blind)) == (True, {"always"})


def test_what_both_had_before_is_left_alone_and_said(sides: Sides) -> None:
    sides.fly.set_by_hand("shop", NAME, "one")
    sides.github.edit("example/app", NAME, "another")
    result = sides.run()
    assert (result["changed"], bases(result)) == (False, {"presence"})
    assert "rotate" in result["unknown"][0]
    sides.run(rotate=True)
    assert len(sides.same) == 64


def _stopping(client: http.Client, stopper: Stopper, *given: Any, **more: Any) -> Any:
    return stopper.request(client, *given, **more)


class Stopper:
    """Ends the run at one of its requests, before or after it is carried out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, after: bool) -> None:
        self.left, self.after, self.stopped = at, after, False
        self._request = http.Client.request
        monkeypatch.setattr(http.Client, "request", partialmethod(_stopping, self))

    def request(self, client: http.Client, *given: Any, **more: Any) -> Any:
        self.left -= 1
        if self.left < 0 and not self.stopped:
            self.stopped = True
            if self.after:
                self._request(client, *given, **more)
            raise Killed
        return self._request(client, *given, **more)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("history", ["nothing", "ours", "by hand"])
def test_killed_at_any_request_and_repaired_by_the_next_run(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, history: str, after: bool
) -> None:
    key = KEY if after else None
    for at in range(99):
        for service in (sides.app.secrets, sides.place.secrets, sides.place.variables):
            service.clear()
        sides.fly.advance(60)
        if history == "ours":
            sides.run(fingerprint_key=key)
        elif history == "by hand":
            sides.fly.set_by_hand("shop", NAME, "same")
            sides.github.edit("example/app", NAME, "same")
        with monkeypatch.context() as patch:
            stopper = Stopper(patch, at, after)
            with contextlib.suppress(Killed):
                sides.run(rotate=history != "nothing", fingerprint_key=key)
        sides.fly.advance(60)
        sides.run(fingerprint_key=key)
        assert sides.same, at
        assert not sides.run(fingerprint_key=key)["changed"], at
        if not stopper.stopped:
            assert at > 6
            return


@pytest.mark.parametrize("rotating", [False, True], ids=["first", "rotation"])
@KEYS
def test_github_fails(sides: Sides, rotating: bool, key: str | None) -> None:
    if rotating:
        sides.run(fingerprint_key=key)
    before = sides.values()
    sides.github.fail(422, {"message": "no"}, method="PUT", path="/" + NAME, times=9)
    result = sides.run(rotate=rotating, fingerprint_key=key)
    assert result.get("failed")
    fly, github = result["actions"]
    assert "GitHub has not got the new value" in github["reason"]
    assert sides.values()[1] == before[1]
    if rotating:
        assert "running machines go on with theirs" in fly["reason"]
        assert fly["changed"]
    else:
        assert "it was taken away again" in fly["reason"]
        assert sides.values() == before
    assert "the next run sets it on both" in result["msg"]
    sides.github._faults.clear()
    sides.run(fingerprint_key=key)
    assert sides.same not in before
    assert not sides.run(fingerprint_key=key)["changed"]


def test_github_fails_without_an_answer(sides: Sides) -> None:
    sides.run()
    sides.github.fail(kind=CUT_AFTER, method="PUT", path="/" + NAME, times=9)
    result = sides.run(rotate=True)
    assert "whether GitHub has the new value is not known" in result["actions"][1]["reason"]
    sides.github._faults.clear()
    assert sides.run()["actions"][0]["reason"] == "a run that was to set it did not end"
    assert sides.same


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429])
def test_fly_refuses_and_nothing_is_changed(sides: Sides, status: int) -> None:
    sides.run()
    before = sides.same, dict(sides.place.values("variables"))
    sides.fly.fail(status, {"error": "no"}, method="POST", times=9)
    result = sides.run(rotate=True)
    assert (result.get("failed"), result["changed"]) == (True, False)
    assert "neither side was changed" in result["msg"]
    assert (sides.same, sides.place.values("variables")) == before
    sides.fly._faults.clear()
    assert not sides.run()["changed"]


@pytest.mark.parametrize("kind", [CUT, CUT_AFTER])
def test_fly_does_not_answer(sides: Sides, kind: str) -> None:
    sides.run()
    before = sides.same
    sides.fly.fail(kind=kind, method="POST", times=9)
    result = sides.run(rotate=True)
    assert "whether Fly has it is not known, GitHub was not touched" in result["msg"]
    assert sides.values()[1] == before
    sides.fly._faults.clear()
    sides.run()
    assert sides.same != before


def test_nothing_is_changed_where_nothing_can_be_recorded(sides: Sides) -> None:
    sides.github.rights["variables"] = "read"
    with pytest.raises(MaintenanceError, match="no secret was changed") as caught:
        sides.run()
    assert "variables" in str(caught.value)
    assert sides.values() == (None, None)
    assert sides.fly.seen("POST") == []


def test_the_last_record_fails(sides: Sides) -> None:
    sides.run()
    handle = sides.github.handle

    def refuse(request: Request) -> Any:
        late = request.path.endswith(PREFIX + NAME) and "pending" not in str(request.body)
        return handle(request) if not late else type(handle(Request("GET", request.path, {}, request.headers, b"")))(
            500, {"message": "no"}
        )  # fmt: skip

    sides.github.handle = refuse  # type: ignore[method-assign]
    result = sides.run(rotate=True)
    assert "both sides have it, but that could not be recorded" in result["msg"]
    sides.github.handle = handle  # type: ignore[method-assign]
    before = sides.same
    assert sides.run()["changed"]
    assert sides.same != before


def test_several_names_are_one_write_on_fly(sides: Sides) -> None:
    names = {NAME: "", "OTHER_TOKEN": "z" * 40}
    sides.run(secrets=names, fingerprint_key=KEY)
    assert len(sides.fly.seen("POST")) == 1
    assert sides.values("OTHER_TOKEN") == ("z" * 40, "z" * 40)
    before = sides.same
    # The second name fails on GitHub: the first one is complete, and stays.
    sides.github.fail(422, {"message": "no"}, method="PUT", path="/OTHER_TOKEN", times=9)
    result = sides.run(secrets={**names, "OTHER_TOKEN": "y" * 40}, fingerprint_key=KEY)
    assert [one["outcome"] for one in result["actions"]] == ["unchanged", "unchanged", "failed", "failed"]
    sides.github._faults.clear()
    sides.run(secrets={**names, "OTHER_TOKEN": "y" * 40}, fingerprint_key=KEY)
    assert sides.values("OTHER_TOKEN") == ("y" * 40, "y" * 40)
    assert sides.same == before


def test_deploy_comes_after_both_sides(sides: Sides) -> None:
    sides.run()
    machine = sides.fly.add_machine("shop")
    sides.github.fail(422, {"message": "no"}, method="PUT", path="/" + NAME, times=9)
    sides.run(rotate=True, deploy=True)
    assert machine.updates == []
    sides.github._faults.clear()
    result = sides.run(deploy=True)
    assert machine.runs[NAME] == sides.same
    assert result["staged"] is False
    assert not sides.run(deploy=True)["changed"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"secrets": {NAME: "short"}}, "the value has 5 characters; at least 32 are needed"),
        ({"secrets": {"lower": ""}}, "secrets: LOWER must be in upper case"),
        ({"secrets": {"GITHUB_X": ""}}, "reserved"),
        ({"secrets": {NAME: "x" * 49153}}, "the limit is 49152"),
        ({"secrets": {NAME: 12}}, "the value must be text"),
        ({"secrets": {NAME: "x" * 40 + "\0"}}, "null byte"),
        ({"secrets": "x" * 40}, "it must be a mapping"),
        ({"secrets": {}}, "it must be a mapping"),
        ({"secrets": {NAME: "x" * 40}, "rotate": True}, "has a value given"),
        ({"repository": "nowhere"}, "owner/name"),
        ({"app": "no/app"}, "app: the name"),
        ({"app": "my_app"}, "app: the name"),
        ({"fingerprint_key": "short"}, "at least 32 bytes"),
        ({"fly_token": ","}, "fly_token: it is empty"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_faults_are_told_before_any_call(sides: Sides, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionError) as caught:
        sides.run(**options)
    assert fault in str(caught.value)
    assert sides.github.requests == sides.fly.requests == []


def test_a_record_of_another_form_is_no_proof(sides: Sides) -> None:
    sides.run()
    before = sides.same
    for text in ("v1:a:b:2026-01-01T00:00:01Z", "nonsense"):
        sides.place.variables[PREFIX + NAME].value = text
        assert sides.run()["changed"]
        assert sides.same != before


URL = "postgresql://app:PASSzq7%40x@db.example.com/app?x=a#FRAGzq7"
GIVEN = {NAME: "TOKENzq7 with 'quotes' and \\ and é" + "x" * 20}
# By name: the module, its secrets, options of its own, and what is said.
QUOTED: dict[str, tuple[Any, dict[str, str], dict[str, Any], str]] = {
    "fly": (fly_module, {"DATABASE_URL": URL}, {}, "no: "),
    "shared": (shared_module, GIVEN, {}, "no: "),
    "made": (shared_module, {NAME: ""}, {}, "no: "),
    "fly, nobody listens": (fly_module, {"DATABASE_URL": URL}, {"api_url": NOBODY}, "refused"),
    "shared, nobody listens": (shared_module, GIVEN, {"fly_api_url": NOBODY}, "refused"),
    "short": (shared_module, {NAME: "zq7" + "x" * 28}, {}, "the value has 31 characters; at least 32 are needed"),
}


@pytest.mark.parametrize("reading", [False, True], ids=["writes", "all"])
@pytest.mark.parametrize("name", QUOTED)
def test_nothing_comes_out_of_a_service_that_quotes(
    sides: Sides,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    reading: bool,
) -> None:
    """Fly repeats all that it was sent, a token that was just made included."""
    module, values, more, said = QUOTED[name]
    handle = sides.fly.handle

    def echo(request: Request) -> Reply:
        if request.method == "GET" and not reading:
            return handle(request)
        return Reply(422, {"error": f"no: {request.raw.decode()} {request.body} {request.headers}"})

    monkeypatch.setattr(sides.fly, "handle", echo)
    options: dict[str, Any] = {"app": "shop", "secrets": values, "timeout": 60, "patience": 0, "fingerprint_key": KEY}
    if module is fly_module:
        options |= {"token": FLY_TOKEN, "api_url": sides.fly.url, "fingerprint_file": str(tmp_path / "kept")}
    else:
        options |= {"repository": "example/app", "github_token": GITHUB_TOKEN, "github_api_url": sides.github.url}
        options |= {"fly_token": FLY_TOKEN, "fly_api_url": sides.fly.url}
    shown = printed(module.main, monkeypatch, capsys, **{**options, **more})
    assert said in shown
    made = [value for one in sides.fly.seen("POST") for value in one.body["values"].values()]
    assert leaks(tmp_path, ["zq7", URL, KEY, FLY_TOKEN, GITHUB_TOKEN, *values.values(), *made], shown) == []
    assert sides.values() == (None, None)
