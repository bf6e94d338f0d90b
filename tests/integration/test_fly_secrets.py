# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""fly_secrets against a double of the Machines API: one write, verdicts with a basis, machines that become healthy one by one."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import hide
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import fly_deploy, fly_secrets, record_file
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.http import Waiting
from tests.doubles.fly import App, Fly, Machine
from tests.doubles.service import CUT, CUT_AFTER, SILENCE
from tests.leaks import leaks
from tests.runs import playbook
from tests.services import answer, impatient, verdicts

TOKEN = "fm2_lJPECAAAAAAAA%sgood" % ("x" * 40)
KEY = "k" * 32
URL = "postgresql://app:p%40ss#wörd'\"@db.example.com/app?sslmode=require"
AWKWARD = " leading, 'quotes', \"more\", # a hash\n%40 and ünïcode €\ttab\nand an end\n"


@pytest.fixture
def fly() -> Iterator[Fly]:
    double = Fly()
    double.add_app("shop", TOKEN, "oauth-token-of-somebody")
    double.add_app("other", "fm2_othertoken")
    yield double
    double.close()


@pytest.fixture
def app(fly: Fly) -> App:
    return fly.apps["shop"]


@pytest.fixture
def pauses(fly: Fly) -> list[float]:
    """The pauses that were made; none of them is waited for."""
    return fly.pauses


def run(fly: Fly, check: bool = False, waiting: Waiting | None = None, **options: Any) -> dict[str, Any]:
    given = {"app": "shop", "token": TOKEN, "api_url": fly.url, "timeout": 60, **options}
    return answer(fly_secrets, check, waiting or impatient(fly.pauses), **given)


def with_file(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"fingerprint_key": KEY, "fingerprint_file": str(tmp_path / "fingerprints.json"), **more}


# Secrets


def test_one_request_sets_and_unsets_all(fly: Fly, app: App) -> None:
    fly.set_by_hand("shop", "OLD", "x")
    result = run(fly, secrets={"DATABASE_URL": URL, "AWKWARD": AWKWARD, "lower": "y"}, unset=["OLD", "NEVER"])
    assert app.values == {"DATABASE_URL": URL, "AWKWARD": AWKWARD, "lower": "y"}
    assert len(fly.seen("POST")) == 1
    assert verdicts(result) == {
        "DATABASE_URL": ("create", "done"),
        "AWKWARD": ("create", "done"),
        "lower": ("create", "done"),
        "OLD": ("delete", "done"),
        "NEVER": ("keep", "unchanged"),
    }
    assert (result["changed"], result["version"], result["staged"], result["turns"]) == (True, 2, True, 2)


def test_fingerprint_second_run_sends_nothing(fly: Fly, app: App, tmp_path: Path) -> None:
    options = with_file(tmp_path, secrets={"A": URL, "B": AWKWARD})
    assert run(fly, **options)["changed"]
    again = run(fly, **options)
    assert not again["changed"]
    assert again["basis"] == "fingerprint"
    assert {one["basis"] for one in again["actions"]} == {"fingerprint"}
    assert again["turns"] == 1
    assert app.version == 1
    assert again["version"] is None
    kept = Path(options["fingerprint_file"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not any(form in kept.read_text("utf-8") for form in hide((URL, AWKWARD, KEY)).everywhere)


def test_fingerprint_finds_what_was_edited_by_hand(fly: Fly, app: App, tmp_path: Path) -> None:
    options = with_file(tmp_path, secrets={"A": "right", "B": "right as well"})
    run(fly, **options)
    fly.set_by_hand("shop", "A", "wrong")
    for check in (True, False):
        result = run(fly, check, **options)
        assert verdicts(result)["A"] == ("update", "planned" if check else "done")
        assert verdicts(result)["B"] == ("keep", "unchanged")
        assert "drift" in result["actions"][0]["reason"]
    assert app.values["A"] == "right"
    assert list(fly.seen("POST")[-1].body["values"]) == ["A"]
    assert not run(fly, **options)["changed"]


def test_fingerprint_a_value_written_again_by_hand_is_no_drift(fly: Fly, tmp_path: Path) -> None:
    options = with_file(tmp_path, secrets={"A": "right"})
    run(fly, **options)
    fly.advance(60)
    fly.set_by_hand("shop", "A", "right")
    assert not run(fly, **options)["changed"]


@pytest.mark.parametrize(
    "change", [{"secrets": {"A": "new"}}, {"fingerprint_key": "another key of thirty-two bytes!!"}]
)
def test_fingerprint_another_value_or_key_is_written(fly: Fly, tmp_path: Path, change: dict[str, Any]) -> None:
    options = with_file(tmp_path, secrets={"A": "old"})
    run(fly, **options)
    result = run(fly, **{**options, **change})
    assert result["changed"] == ("secrets" in change)  # the digest tells that only the key is new
    assert len(fly.seen("POST")) == 2
    assert not run(fly, **{**options, **change})["changed"]


def test_fingerprint_of_another_app_is_worth_nothing(fly: Fly, tmp_path: Path) -> None:
    options = with_file(tmp_path, secrets={"A": "same"})
    run(fly, **options)
    fly.set_by_hand("other", "A", "same")
    run(fly, **{**options, "app": "other", "token": "fm2_othertoken"})
    assert len(fly.seen("POST", "/other/secrets")) == 1


def test_fingerprint_lost_in_a_crash_is_made_up_for(fly: Fly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = with_file(tmp_path, secrets={"A": "v"})

    def crash(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record_file.FileRecords, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            run(fly, **options)
    assert fly.apps["shop"].values == {"A": "v"}
    result = run(fly, **options)
    assert result["actions"][0]["basis"] == "digest"
    assert not result["changed"]
    assert run(fly, **options)["turns"] == 1


def test_fingerprint_that_cannot_be_kept_fails_and_says_so(
    fly: Fly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise MaintenanceError("fingerprint_file: cannot write: no space left")

    monkeypatch.setattr(record_file.FileRecords, "save", full)
    result = run(fly, **with_file(tmp_path, secrets={"A": "v"}))
    assert result.get("failed")
    assert result["changed"]
    assert "but its fingerprint was not" in result["msg"]


def test_a_file_that_others_may_open_is_refused(fly: Fly, tmp_path: Path) -> None:
    options = with_file(tmp_path, secrets={"A": "v"})
    run(fly, **options)
    Path(options["fingerprint_file"]).chmod(0o644)
    with pytest.raises(MaintenanceError, match="chmod 600"):
        run(fly, **options)


def test_always_the_digest_tells_whether_it_was_there(fly: Fly) -> None:
    assert run(fly, secrets={"A": "v"})["basis"] == "always"
    again = run(fly, secrets={"A": "v"})
    assert not again["changed"]
    assert again["actions"][0]["basis"] == "digest"
    assert len(fly.seen("POST")) == 2
    assert run(fly, secrets={"A": "w"})["changed"]


def test_always_with_digests_that_mean_nothing_everything_counts_as_changed(fly: Fly) -> None:
    fly.salted = True
    run(fly, secrets={"A": "v"})
    assert run(fly, secrets={"A": "v"})["changed"]


def test_presence_leaves_values_and_says_so(fly: Fly, app: App) -> None:
    fly.set_by_hand("shop", "A", "theirs")
    result = run(fly, secrets={"A": "ours", "B": "new"}, basis="presence")
    assert app.values == {"A": "theirs", "B": "new"}
    assert result["unknown"] == ["whether the value of A is the wanted one"]
    assert not run(fly, secrets={"A": "ours", "B": "new"}, basis="presence")["changed"]


@pytest.mark.parametrize("secrets", [["A", "NEVER"], {"A": "v", "NEVER": None}])
def test_absent(fly: Fly, app: App, tmp_path: Path, secrets: Any) -> None:
    run(fly, **with_file(tmp_path, secrets={"A": "v", "B": "w"}))
    for check in (True, False):
        result = run(fly, check, **with_file(tmp_path, secrets=secrets, state="absent"))
        assert verdicts(result) == {"A": ("delete", "planned" if check else "done"), "NEVER": ("keep", "unchanged")}
    assert app.values == {"B": "w"}
    assert "A" not in Path(tmp_path / "fingerprints.json").read_text("utf-8").replace("fly", "").split('"')
    assert not run(fly, **with_file(tmp_path, secrets=secrets, state="absent"))["changed"]


def test_check_mode_writes_nothing_and_predicts_the_run(fly: Fly, app: App, tmp_path: Path) -> None:
    fly.set_by_hand("shop", "B", "x")
    options = with_file(tmp_path, secrets={"A": "v", "B": "w"}, unset=["C"])
    predicted = run(fly, check=True, **options)
    assert app.values == {"B": "x"}
    assert not (tmp_path / "fingerprints.json").exists()
    assert not fly.seen("POST")
    done = run(fly, **options)
    assert [(one["target"], one["operation"], one["changed"]) for one in predicted["actions"]] == [
        (one["target"], one["operation"], one["changed"]) for one in done["actions"]
    ]
    assert predicted["changed"]
    assert predicted["unknown"]


@pytest.mark.parametrize("listing", ["nothing", "what was written"])
def test_an_answer_that_does_not_list_all_is_completed(fly: Fly, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    listed = fly._listed

    def sparse(app: App) -> list[dict[str, str]]:
        return listed(app) if fly.requests[-1].method == "GET" else listed(app)[: 0 if listing == "nothing" else 1]

    monkeypatch.setattr(fly, "_listed", sparse)
    result = run(fly, secrets={"A": "v", "B": "w"})
    assert result["totals"] == {"done": 2}
    assert fly.seen("GET")[-1].query == {"min_version": "1"}


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secrets": {"1A": "v"}}, "secrets: name 1: a name consists of"),
        ({"secrets": {"A": "v" * (64 * 1024 + 1)}}, "the limit is 65536"),
        ({"secrets": {"A": ""}}, "the value is empty"),
        ({"secrets": {"A": 5}}, "must be text"),
        ({"secrets": {"A": "a\0b"}}, "null byte"),
        ({"secrets": "A=b"}, "must be a mapping"),
        ({"secrets": {"A": "v"}, "unset": ["A"]}, "unset: A is among secrets as well"),
        ({"secrets": {"A": "v"}, "basis": "fingerprint"}, "fingerprint_key: the basis fingerprint needs a key"),
        ({"secrets": {"A": "v"}, "fingerprint_key": KEY}, "fingerprint_file: the basis fingerprint needs one"),
        ({"secrets": {"A": "v"}, "fingerprint_file": "f"}, "fingerprint_file: it needs a fingerprint_key"),
        ({"secrets": {"A": "v"}, "token": " , "}, "token: it is empty"),
        ({"secrets": {"A": "v"}, "token": "a\nb"}, "token: it is empty or holds"),
        ({"secrets": {"A": "v"}, "app": "../x"}, "app: the name of an app"),
        ({"secrets": {"A": "v"}, "app": "my_app"}, "app: the name of an app"),
        ({"secrets": {"A": "v"}, "api_url": "http://api.example.com"}, "api_url: it must begin with https://"),
        ({}, "secrets, unset or deploy is needed"),
    ],
)
def test_faulty_options_are_found_before_any_call(fly: Fly, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        run(fly, **options)
    assert fly.requests == []


@pytest.mark.parametrize(
    ("token", "header"),
    [
        (TOKEN, f"FlyV1 {TOKEN}"),
        (f"FlyV1 {TOKEN}", f"FlyV1 {TOKEN}"),
        (f"FlyV1 {TOKEN}, fm1a_discharge,oauth", f"FlyV1 {TOKEN},fm1a_discharge"),
        ("oauth-token-of-somebody", "Bearer oauth-token-of-somebody"),
        ("Bearer oauth-token-of-somebody", "Bearer oauth-token-of-somebody"),
    ],
)
def test_each_kind_of_token_goes_with_its_scheme(fly: Fly, token: str, header: str) -> None:
    run(fly, secrets={"A": "v"}, token=token)
    assert {request.headers["authorization"] for request in fly.requests} == {header}


# Faults of the service


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "fm2_unknown"}, "refuses the token"),
        ({"token": "fm2_othertoken"}, "needs to be a deploy token of the app shop"),
        ({"app": "shopp"}, "there is no app shopp"),
    ],
)
def test_refusals_are_told_apart(fly: Fly, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MaintenanceError, match=words) as caught:
        run(fly, secrets={"A": "v"}, **options)
    assert "Fly's request id: 01REQUEST0001-fra" in str(caught.value)
    assert len(fly.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refused_write_fails_all_names_with_its_words(fly: Fly, app: App, status: int) -> None:
    fly.fail(status, {"error": f"not {URL}", "status": "unknown"}, method="POST")
    result = run(fly, secrets={"A": URL, "B": "v"}, deploy=True)
    assert {outcome for _verb, outcome in verdicts(result).values()} == {"failed"}
    assert str(status) in result["msg"]
    assert "request id" in result["msg"]
    assert not result["changed"]
    assert app.values == {}
    assert not fly.seen("GET", "/machines")


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "body": {"error": "x"}},
        {"status": 503, "body": "<html>"},
        {"status": 429, "body": {"error": "x"}, "headers": {"Retry-After": "2"}},
        {"kind": CUT},
        {"kind": CUT_AFTER},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_passes_is_waited_for(fly: Fly, app: App, pauses: list[float], fault: dict[str, Any], method: str) -> None:
    fly.fail(method=method, times=2, **fault)
    result = run(fly, secrets={"A": "v"})
    assert result["totals"] == {"done": 1}
    assert app.values == {"A": "v"}
    assert len(pauses) == 2
    assert "headers" not in fault or pauses == [2.0, 2.0]


def test_what_does_not_pass_is_given_up(fly: Fly, pauses: list[float]) -> None:
    fly.fail(503, {}, method="POST", times=100)
    assert run(fly, secrets={"A": "v"}).get("failed")
    assert len(fly.seen("POST")) == 5


def test_silence_is_given_up(fly: Fly) -> None:
    fly.fail(kind=SILENCE, method="POST", times=100)
    result = run(fly, secrets={"A": URL}, timeout=0.2)
    assert result.get("failed")
    assert "no answer in time" in result["msg"]
    assert "may have been carried out" in result["msg"]


@pytest.mark.parametrize("body", ["<html>", [1], {"secrets": [1]}, {"secrets": "x"}])
def test_nonsense_is_no_list_of_secrets(fly: Fly, body: Any) -> None:
    fly.fail(200, body, method="GET")
    with pytest.raises(MaintenanceError):
        run(fly, secrets={"A": "v"})
    assert not fly.seen("POST")


def test_a_write_without_a_version_is_not_believed(fly: Fly) -> None:
    fly.fail(200, {"secrets": []}, method="POST")
    assert "whether they were written is not known" in run(fly, secrets={"A": "v"})["msg"]


# Machines


def machine_verdicts(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["operation"], one["outcome"]) for one in result["actions"] if one["kind"] == "machine"]


def test_deploy_updates_machines_and_waits_for_their_health(fly: Fly, app: App) -> None:
    first = fly.add_machine("shop", checks={"http": "passing"}, starting=2, checking=3)
    second = fly.add_machine("shop", checks={"http": "passing"})
    configs = [json.loads(json.dumps(machine.config)) for machine in (first, second)]
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "done")] * 2
    assert not result["staged"]
    for machine, config in zip((first, second), configs):
        assert machine.runs == {"A": "v"}
        assert (machine.state, machine.checks) == ("started", {"http": "passing"})
        assert machine.updates[0]["min_secrets_version"] == result["version"]
        assert "skip_launch" not in machine.updates[0]
        mark = machine.config["metadata"].pop(fly_deploy.MARK)
        assert len(mark) == 32
        assert machine.config == config
    # The second one was not touched before the first was healthy.
    paths = [(one.method, one.path.rpartition("/")[2]) for one in fly.requests]
    assert paths.index(("POST", second.id)) > max(i for i, path in enumerate(paths) if path == ("GET", first.id))


@pytest.mark.parametrize("basis", ["fingerprint", "presence", "always"])
def test_deploy_second_run_changes_nothing(fly: Fly, tmp_path: Path, basis: str) -> None:
    machine = fly.add_machine("shop")
    options = with_file(tmp_path, secrets={"A": "v"}, deploy=True, basis=basis)
    run(fly, **options)
    for _ in range(2):
        fly.advance(60)
        again = run(fly, **options)
        assert not again["changed"], again
        assert machine_verdicts(again) == [("keep", "unchanged")]
    assert len(machine.updates) == 1
    assert not run(fly, check=True, **{**options, "basis": "presence"})["changed"]


@pytest.mark.parametrize("how", ["set", "unset", "by hand"])
def test_deploy_brings_up_what_an_earlier_run_staged(fly: Fly, app: App, how: str) -> None:
    machine = fly.add_machine("shop")
    run(fly, secrets={"A": "v", "B": "w"}, deploy=True)
    fly.advance(60)
    if how == "by hand":
        fly.set_by_hand("shop", "A", "new")
    else:
        run(fly, secrets={"A": "new"} if how == "set" else {}, unset=["B"] if how == "unset" else [])
    assert machine.runs == {"A": "v", "B": "w"}
    predicted = run(fly, check=True, deploy=True)
    assert machine_verdicts(predicted) == [("deploy", "planned")]
    assert machine.runs == {"A": "v", "B": "w"}
    result = run(fly, deploy=True)
    assert result["changed"]
    assert machine.runs == app.values
    assert not run(fly, deploy=True)["changed"]


def test_deploy_without_a_mark_goes_by_time(fly: Fly) -> None:
    fly.set_by_hand("shop", "A", "v")
    fly.advance(5)
    machine = fly.add_machine("shop")  # as `fly deploy` leaves it
    assert not run(fly, deploy=True)["changed"]
    fly.advance(5)
    fly.set_by_hand("shop", "B", "w")
    assert run(fly, deploy=True)["changed"]
    assert machine.runs == {"A": "v", "B": "w"}


def test_deploy_with_versions_that_tell_no_time_updates(fly: Fly) -> None:
    fly.set_by_hand("shop", "A", "v")
    fly.advance(5)
    machine = fly.add_machine("shop")
    machine.version = "7"
    assert run(fly, deploy=True)["changed"]


@pytest.mark.parametrize("state", ["stopped", "suspended", "created"])
def test_deploy_leaves_stopped_machines_stopped(fly: Fly, state: str) -> None:
    machine = fly.add_machine("shop", state)
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "done")]
    assert machine.updates[0]["skip_launch"] is True
    assert machine.state == "stopped"
    assert machine.runs == {"A": "v"}


def test_deploy_leaves_other_machines_alone(fly: Fly) -> None:
    others = [
        fly.add_machine("shop", metadata={"fly_process_group": "fly_app_release_command"}),
        fly.add_machine("shop", metadata={"fly_process_group": "fly_app_console"}),
        fly.add_machine("shop", "destroyed"),
    ]
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == []
    assert not any(machine.updates for machine in others)


def test_deploy_never_updates_from_half_a_configuration(fly: Fly) -> None:
    lost = fly.add_machine("shop", host_status="unreachable")
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "failed")]
    assert lost.updates == []


@pytest.mark.parametrize("trouble", [{"ends": "failed"}, {"checking": -1}, {"ends": "stopped"}])
def test_deploy_stops_at_the_first_machine_that_does_not_become_healthy(fly: Fly, trouble: dict[str, Any]) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 5
        return now[0]

    waiting = impatient(clock=tick)
    sick = fly.add_machine("shop", checks={"http": "passing"}, **trouble)
    sound = fly.add_machine("shop", checks={"http": "passing"})
    result = run(fly, waiting=waiting, secrets={"A": "bad"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "failed"), ("deploy", "skipped")]
    assert result.get("failed")
    assert "check http is warning" in result["msg"] or "it is " in result["msg"]
    assert "as the app answered" not in json.dumps(result)
    # The next run does not spread it either.
    if sick.state != "stopped":  # which is what stopped machines are
        again = run(fly, waiting=waiting, deploy=True)
        assert machine_verdicts(again) == [("keep", "failed"), ("deploy", "skipped")]
        assert sound.updates == []
    # A better value does.
    sick.ends, sick.checking = "started", 1
    good = run(fly, secrets={"A": "good"}, deploy=True)
    assert machine_verdicts(good) == [("deploy", "done")] * 2
    assert (sick.runs, sound.runs) == ({"A": "good"}, {"A": "good"})


@pytest.mark.parametrize("kind", [CUT, CUT_AFTER])
def test_deploy_an_answer_that_was_lost_is_looked_up_not_repeated(fly: Fly, kind: str) -> None:
    machine = fly.add_machine("shop")
    fly.fail(kind=kind, method="POST", path=machine.id)
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "done" if kind == CUT_AFTER else "failed")]
    assert len(fly.seen("POST", machine.id)) == 1
    assert not run(fly, deploy=True).get("failed")
    assert machine.runs == {"A": "v"}


def test_deploy_never_overwrites_somebody_elses_update(fly: Fly, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = fly.add_machine("shop")
    update = fly._update

    def meanwhile(app: App, target: Machine, body: dict[str, Any]) -> Any:
        machine.version = fly.ulid()
        return update(app, target, body)

    monkeypatch.setattr(fly, "_update", meanwhile)
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert machine_verdicts(result) == [("deploy", "failed")]
    assert "run again" in result["msg"]
    assert machine.updates == []


def test_deploy_when_machines_cannot_be_listed_the_secrets_stay_staged(fly: Fly) -> None:
    machine = fly.add_machine("shop")
    fly.advance(5)
    fly.fail(403, {"error": "no"}, path="/machines")
    result = run(fly, secrets={"A": "v"}, deploy=True)
    assert "the next run deploys them" in result["msg"]
    assert result["changed"]
    assert run(fly, deploy=True)["changed"]
    assert machine.runs == {"A": "v"}


# As a module


def as_module(app: str, passes: bool = True, **changes: Any) -> list[dict[str, Any]]:
    """A task about an app of its own, what it left, and whether it should have passed."""
    options: dict[str, Any] = {
        "app": app,
        "api_url": "{{ url }}",
        "token": f"{{{{ tokens['{app}'] }}}}",
        "secrets": "{{ secrets }}",
        "fingerprint_key": "{{ key }}",
        "fingerprint_file": "fingerprints.json",
        "deploy": True,
        "timeout": 60,
        "patience": 60 if passes else 3,
    }
    keywords: dict[str, Any] = {name: changes.pop(name) for name in ("loop", "check_mode") if name in changes}
    task = {"name": app, "vtchat.maintenance.fly_secrets": {**options, **changes}, **keywords}
    expected = {"that": f"done is {'not ' if passes else ''}failed"}
    return [
        {**task, "register": "done", "ignore_errors": True},
        {"ansible.builtin.debug": {"var": "done"}},
        {"ansible.builtin.assert": expected},
    ]


MODES = {
    "success": as_module("success"),
    "check": as_module("check", check_mode=True),
    "loop": as_module("loop", secrets="{{ {item: secrets[item]} }}", loop=["DATABASE_URL", "AWKWARD"]),
    "type": as_module("type", passes=False, secrets="{{ secrets.DATABASE_URL }}"),
    "refused": as_module("refused", passes=False),
    "unreachable": as_module("unreachable", passes=False, api_url="http://127.0.0.1:9"),
    "token": as_module("token", passes=False, token="{{ tokens.token }}x"),
    "name": as_module("name", passes=False, secrets="{{ {secrets.DATABASE_URL: 'x'} }}"),
    "absent": as_module("absent", secrets=["OLD_TOKEN"], state="absent", deploy=False),
}


def play(fly: Fly, directory: Path, tasks: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """The output of tasks about these apps, and the secrets that they were given."""
    values = {"DATABASE_URL": URL, "AWKWARD": AWKWARD}
    tokens = {app: f"{TOKEN}{app}" for app in MODES}
    for app, token in tokens.items():
        fly.add_app(app, token)
    fly.add_machine("success", checks={"http": "passing"})
    fly.set_by_hand("absent", "OLD_TOKEN", "v")
    fly.fail(422, {"error": f"bad value {URL} {AWKWARD}"}, method="POST", path="/refused/secrets")
    variables = {"url": fly.url, "tokens": tokens, "key": KEY, "secrets": values}
    variables["ansible_python_interpreter"] = sys.executable
    plays = [{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}]
    ran = playbook(directory, plays, variables, "-vvvv", "--diff")
    assert ran.returncode == 0, ran.stdout
    return ran.stdout + ran.stderr, [KEY, *tokens.values(), *values.values()]


def test_as_a_module_nothing_shows_a_value(fly: Fly, tmp_path: Path) -> None:
    output, secrets = play(fly, tmp_path, [task for tasks in MODES.values() for task in tasks])
    assert leaks(tmp_path, secrets, output) == []
    everything = {"DATABASE_URL": URL, "AWKWARD": AWKWARD}
    written = {name: fly.apps[name].values for name in MODES if fly.apps[name].values}
    assert written == {"success": everything, "loop": everything}
    assert "secret DATABASE_URL: (the value of this run)" in output
    # Names are no secrets: people must be able to read them.
    assert "target: OLD_TOKEN" in output


def test_a_leak_would_be_found(fly: Fly, tmp_path: Path) -> None:
    url = "secrets.DATABASE_URL"
    planted = [f"{{{{ {url} }}}}", f"{{{{ {url} | b64encode }}}}", f"{{{{ {url} | urlencode }}}}", "p%40ss#wörd'\""]
    output, secrets = play(
        fly, tmp_path, [{"name": "Leak", "ansible.builtin.debug": {"msg": text}} for text in planted]
    )
    pieces = output.split("TASK [Leak]")[1:]
    assert [bool(leaks(tmp_path, [*secrets, "p%40ss#wörd'\""], piece)) for piece in pieces] == [True] * len(planted)
