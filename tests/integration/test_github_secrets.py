# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""github_secrets against a double that checks every request and answer against GitHub's own description of its API."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import github as _github
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import github_secrets
from tests.doubles import contract
from tests.doubles.certificate import certificate
from tests.doubles.github import GitHub
from tests.doubles.service import CUT, CUT_AFTER, SILENCE, Reply, Request
from tests.services import answer, impatient, reason
from tests.services import verdicts as outcomes

TOKEN = "github_pat_11ABCDEFG0_stand-in-token"
KEY = "an operator's key of more than 32 bytes"
APP = "example/app"
AWKWARD = "  p%40ss@w:o/r#d $HOME 'single' \"double\" \\n é 日本\r\nlast line \n"
ALWAYS = 1000


@pytest.fixture(scope="module")
def described() -> contract.Contract:
    return contract.load()


@pytest.fixture
def github(described: contract.Contract, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    double = GitHub(described, TOKEN)
    yield double
    double.close()


@pytest.fixture
def waits(github: GitHub) -> list[float]:
    """The seconds that the module would have waited, without waiting."""
    return github.pauses


def run(github: GitHub, check: bool = False, **options: Any) -> dict[str, Any]:
    where = {} if "organization" in options else {"repository": APP}
    given = {"api_url": github.url, "token": TOKEN, **where, **options}
    return answer(github_secrets, check, impatient(github.pauses), **given)


def writes(github: GitHub) -> list[str]:
    return [f"{one.method} {one.path}" for one in github.requests if one.method != "GET"]


WANTED: dict[str, Any] = {
    "secrets": {"DATABASE_URL": AWKWARD, "cron_secret_token": "t" * 48},
    "variables": {"FLY_APP_URL": "https://app.example.com"},
    "fingerprint_key": KEY,
}


def test_a_second_run_changes_nothing_and_names_its_basis(github: GitHub) -> None:
    first = run(github, **WANTED)
    assert first["changed"]
    assert outcomes(first) == dict.fromkeys(["DATABASE_URL", "CRON_SECRET_TOKEN", "FLY_APP_URL"], ("create", "done"))
    place = github.places[APP]
    assert place.values() == {"DATABASE_URL": AWKWARD, "CRON_SECRET_TOKEN": "t" * 48}
    assert place.values("variables")["FLY_APP_URL"] == "https://app.example.com"

    github.requests.clear()
    second = run(github, **WANTED)
    assert not second["changed"]
    assert second["totals"] == {"unchanged": 3}
    assert second["basis"] == "fingerprint"
    assert [action["basis"] for action in second["actions"]] == ["fingerprint", "fingerprint", "value"]
    assert second["unknown"] == []
    assert writes(github) == []


def test_no_fingerprint_holds_a_value_or_is_the_same_elsewhere(github: GitHub) -> None:
    run(github, **WANTED)
    run(github, **{**WANTED, "repository": "example/worker"})
    kept = [github.places[name].variables["MAINTENANCE_FP_DATABASE_URL"].value for name in (APP, "example/worker")]
    assert all(text.startswith("v1:") for text in kept)
    assert kept[0].split(":")[2] != kept[1].split(":")[2]


def test_check_mode_says_what_a_run_does_and_writes_nothing(github: GitHub) -> None:
    github.edit(APP, "FLY_APP_URL", "https://old.example.com", "variables")
    planned = run(github, check=True, **WANTED)
    assert writes(github) == []
    assert planned["changed"]
    assert planned["unknown"] == ["whether the token may write: GitHub says so only when it is tried"]
    done = run(github, **WANTED)
    assert [a["reason"] for a in planned["actions"]] == [a["reason"] for a in done["actions"]]
    assert {name: verb for name, (verb, _) in outcomes(planned).items()} == {
        name: verb for name, (verb, _) in outcomes(done).items()
    }
    assert {outcome for _, outcome in outcomes(planned).values()} == {"planned"}
    assert planned["diff"][0]["before"] == "variable FLY_APP_URL: https://old.example.com\n"
    assert AWKWARD not in str(planned)


@pytest.mark.parametrize("same_value", [True, False])
def test_what_was_edited_by_hand_is_found_and_repaired(github: GitHub, same_value: bool) -> None:
    run(github, **WANTED)
    github.edit(APP, "DATABASE_URL", AWKWARD if same_value else "edited")
    planned = run(github, check=True, **WANTED)
    repaired = run(github, **WANTED)
    assert reason(planned, "DATABASE_URL") == reason(repaired, "DATABASE_URL")
    assert "drift" in reason(repaired, "DATABASE_URL")
    assert outcomes(repaired)["CRON_SECRET_TOKEN"] == ("keep", "unchanged")
    assert github.places[APP].values()["DATABASE_URL"] == AWKWARD
    assert not run(github, **WANTED)["changed"]


def test_a_new_value_and_a_new_key_are_written_once(github: GitHub) -> None:
    run(github, **WANTED)
    rotated = {**WANTED, "secrets": {**WANTED["secrets"], "cron_secret_token": "n" * 48}}
    assert reason(run(github, **rotated), "CRON_SECRET_TOKEN") == "the value is another one"
    assert not run(github, **rotated)["changed"]
    other_key = {**rotated, "fingerprint_key": KEY[::-1]}
    assert reason(run(github, **other_key), "DATABASE_URL") == "its fingerprint was made with another key"
    assert not run(github, **other_key)["changed"]


def test_a_crash_before_the_fingerprint_is_repaired_by_the_next_run(github: GitHub, waits: list[float]) -> None:
    run(github, **WANTED)
    changed = {**WANTED, "secrets": {**WANTED["secrets"], "DATABASE_URL": "the second value"}}
    github.fail(500, {"message": "Server Error"}, method="PATCH", times=ALWAYS)
    broken = run(github, **changed)
    assert broken.get("failed")
    assert broken["changed"]
    assert "the next run repairs that" in reason(broken, "DATABASE_URL")
    github._faults.clear()
    # Whether the next run wants the new value or the old one again: it must not take the old fingerprint for true.
    repaired = run(github, **WANTED)
    assert outcomes(repaired)["DATABASE_URL"] == ("update", "done")
    assert github.places[APP].values()["DATABASE_URL"] == AWKWARD
    assert not run(github, **WANTED)["changed"]


@pytest.mark.parametrize("last", ["put_secret", "stamp", "put_variable"])
@pytest.mark.parametrize("store", ["variable", "file"])
@pytest.mark.parametrize("before", [True, False], ids=["update", "create"])
def test_a_run_that_is_killed_is_made_up_for(
    github: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last: str, store: str, before: bool
) -> None:
    """Killed right after the call named ``last``, whatever the next run wants."""
    file = {"fingerprint_file": str(tmp_path / "fingerprints.json")} if store == "file" else {}
    wanted: dict[str, Any] = {"secrets": {"A": "one", "B": "two"}, "fingerprint_key": KEY, **file}
    if before:
        run(github, **wanted)
    method = getattr(_github.GitHub, last)

    def dying(*arguments: Any) -> Any:
        method(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_github.GitHub, last, dying)
        if (store, last) != ("file", "put_variable"):
            with pytest.raises(KeyboardInterrupt):
                run(github, **{**wanted, "secrets": {"A": "new one", "B": "new two"}})
    result = run(github, **wanted)
    assert not result.get("failed")
    assert github.places[APP].values() == wanted["secrets"]
    assert not run(github, **wanted)["changed"]


def test_fingerprints_in_a_file(github: GitHub, tmp_path: Path) -> None:
    wanted = {**WANTED, "fingerprint_file": str(tmp_path / "fingerprints.json")}
    github.rights["variables"] = ""
    del wanted["variables"]
    assert run(github, **wanted)["changed"]
    file = tmp_path / "fingerprints.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not run(github, **wanted)["changed"]
    run(github, **{**wanted, "repository": "example/worker"})
    assert not run(github, **wanted)["changed"]
    github.edit(APP, "DATABASE_URL", "edited")
    assert "drift" in reason(run(github, **wanted), "DATABASE_URL")
    file.chmod(0o640)
    with pytest.raises(MaintenanceError, match="chmod 600"):
        run(github, **wanted)
    assert AWKWARD.strip() not in file.read_text()


def test_presence_leaves_what_is_there_and_says_that_nobody_looked(github: GitHub) -> None:
    github.edit(APP, "DATABASE_URL", "something else")
    result = run(github, secrets={"DATABASE_URL": "wanted", "OTHER": "new"}, basis="presence")
    assert outcomes(result) == {"DATABASE_URL": ("keep", "unchanged"), "OTHER": ("create", "done")}
    assert result["unknown"] == ["whether the value of DATABASE_URL is the wanted one"]
    assert github.places[APP].values() == {"DATABASE_URL": "something else", "OTHER": "new"}
    assert not github.places[APP].variables


def test_always_writes_and_says_why(github: GitHub) -> None:
    for _ in range(2):
        result = run(github, secrets={"DATABASE_URL": "wanted"})
        assert result["changed"]
        assert result["basis"] == "always"
    assert result["unknown"] == ["whether the value of DATABASE_URL is another one than before"]


def test_absent(github: GitHub) -> None:
    run(github, **WANTED)
    gone: dict[str, Any] = {"secrets": ["database_url", "NEVER_WAS"], "variables": ["FLY_APP_URL"], "state": "absent"}
    result = run(github, fingerprint_key=KEY, **gone)
    assert outcomes(result) == {
        "DATABASE_URL": ("delete", "done"),
        "NEVER_WAS": ("keep", "unchanged"),
        "FLY_APP_URL": ("delete", "done"),
    }
    place = github.places[APP]
    assert set(place.secrets) == {"CRON_SECRET_TOKEN"}
    assert set(place.variables) == {"MAINTENANCE_FP_CRON_SECRET_TOKEN"}
    assert not run(github, fingerprint_key=KEY, **gone)["changed"]


def test_a_fingerprint_whose_secret_was_deleted_by_hand_goes_too(github: GitHub) -> None:
    run(github, **WANTED)
    del github.places[APP].secrets["DATABASE_URL"]
    result = run(github, fingerprint_key=KEY, secrets=["DATABASE_URL"], state="absent")
    assert [action["kind"] for action in result["actions"]] == ["secret", "fingerprint"]
    assert "MAINTENANCE_FP_DATABASE_URL" not in github.places[APP].variables


def test_only_purge_removes_what_is_not_listed(github: GitHub) -> None:
    for collection in ("secrets", "variables"):
        github.edit(APP, "UNLISTED", "x", collection)
    assert "UNLISTED" not in outcomes(run(github, **WANTED))
    secrets_only = run(github, purge=["secrets"], **WANTED)
    assert outcomes(secrets_only)["UNLISTED"] == ("delete", "done")
    assert "UNLISTED" not in github.places[APP].secrets
    assert "UNLISTED" in github.places[APP].variables
    run(github, purge=["secrets", "variables"], **WANTED)
    assert set(github.places[APP].variables) == {
        "FLY_APP_URL", "MAINTENANCE_FP_CRON_SECRET_TOKEN", "MAINTENANCE_FP_DATABASE_URL",
    }  # fmt: skip
    assert not run(github, purge=["secrets", "variables"], **WANTED)["changed"]


def test_an_environment_is_created_if_asked_and_its_name_may_hold_a_slash(github: GitHub) -> None:
    wanted = {**WANTED, "environment": "Production/eu west"}
    with pytest.raises(MaintenanceError, match="example/app has no environment of the name Production/eu west"):
        run(github, **wanted)
    wanted["create_environment"] = True
    planned = run(github, check=True, **wanted)
    assert writes(github) == []
    done = run(github, **wanted)
    assert list(outcomes(planned)) == list(outcomes(done))
    assert done["actions"][0]["kind"] == "environment"
    place = github.places["example/app production/eu west"]
    assert place.values()["DATABASE_URL"] == AWKWARD
    github.requests.clear()
    assert not run(github, **wanted)["changed"]
    assert writes(github) == []
    assert not github.places[APP].secrets


def test_an_organization_with_selected_repositories(github: GitHub) -> None:
    wanted: dict[str, Any] = {"organization": "example", "fingerprint_key": KEY, "secrets": {"SHARED": "value"}}
    selected: dict[str, Any] = {"visibility": "selected", "selected_repositories": ["app"]}
    run(github, **wanted)
    assert github.places["example"].secrets["SHARED"].visibility == "private"
    changed = run(github, **wanted, **selected)
    assert reason(changed, "SHARED") == "its visibility is private, not selected"
    assert github.places["example"].secrets["SHARED"].ids == {101}
    assert not run(github, **wanted, **selected)["changed"]
    both = {**selected, "selected_repositories": ["app", "example/worker"], "variables": {"SEEN": "1"}}
    assert reason(run(github, **wanted, **both), "SHARED") == "other repositories are selected"
    assert github.places["example"].variables["SEEN"].ids == {101, 102}
    assert not run(github, **wanted, **both)["changed"]
    companion = github.places["example"].variables["MAINTENANCE_FP_SHARED"]
    assert (companion.visibility, companion.ids) == ("selected", set())
    with pytest.raises(MaintenanceError, match="the repository example/ap to this token"):
        run(github, **wanted, **{**selected, "selected_repositories": ["ap"]})


@pytest.mark.parametrize(("page", "number"), [(1, 3), (100, 31)])
def test_all_pages_are_read(github: GitHub, page: int, number: int) -> None:
    github.page = page
    wanted: dict[str, Any] = {
        "secrets": {"SECRET_A": "a", "SECRET_B": "b"},
        "variables": {f"VARIABLE_{one}": f"value {one}" for one in range(number)},
        "fingerprint_key": KEY,
    }
    run(github, **wanted)
    assert not run(github, **wanted)["changed"]


def test_a_mistyped_repository_a_missing_right_and_a_missing_secret_are_told_apart(github: GitHub) -> None:
    with pytest.raises(MaintenanceError, match=r"does not show the repository example/ap to this token: .*mistyped"):
        run(github, secrets=["X"], state="absent", repository="example/ap")
    with pytest.raises(MaintenanceError, match="does not show the organization exampel to this token"):
        run(github, secrets=["X"], state="absent", organization="exampel")
    assert outcomes(run(github, secrets=["X"], state="absent")) == {"X": ("keep", "unchanged")}
    github.rights = {"secrets": "read"}
    github.edit(APP, "X", "x")
    for hides in (False, True):
        github.hides = hides
        attempts: list[dict[str, Any]] = [{"secrets": ["X"], "state": "absent"}, {"secrets": {"X": "new"}}]
        for options in attempts:
            refused = run(github, **options)
            assert refused.get("failed")
            assert not refused["changed"]
            assert "may not" in reason(refused, "X")
            assert "secrets=write" in reason(refused, "X")
        with pytest.raises(
            MaintenanceError, match=r"the token may not .* GitHub asks for the permission variables=read"
        ):
            run(github, variables={"X": "x"})
        github.rights["actions"] = "read"
        refused = run(github, secrets={"X": "x"}, environment="production", create_environment=True)
        assert [action["outcome"] for action in refused["actions"]] == ["failed", "skipped"]
        assert "permission administration=write" in reason(refused, "production")
    assert github.places[APP].values() == {"X": "x"}


def test_a_wrong_token_and_a_renamed_repository(github: GitHub) -> None:
    with pytest.raises(MaintenanceError, match="does not accept the token, it is wrong, revoked or expired"):
        run(github, secrets={"X": "x"}, token="github_pat_wrong")
    github.moved.add(APP)
    with pytest.raises(MaintenanceError, match="renamed or moved"):
        run(github, secrets={"X": "x"})
    assert [request.path for request in github.seen(path="/elsewhere")] == []


def test_limits_are_checked_before_any_call(github: GitHub) -> None:
    faulty: list[tuple[dict[str, Any], str]] = [
        ({"secrets": {"X": "x" * (48 * 1024 + 1)}}, "secrets: X: the value has 49153 bytes"),
        ({"secrets": {"X": "é" * (24 * 1024 + 1)}}, "49154 bytes"),
        ({"secrets": {"1X": "x"}}, "secrets: name 1: a name consists of"),
        ({"secrets": {"X-Y": "x"}}, "name 1"),
        ({"secrets": {"X": "a", "x": "b"}}, "X is there twice, upper and lower case"),
        ({"secrets": {"github_token": "x"}}, "begins with GITHUB_"),
        ({"secrets": {"X": ""}}, "the value is empty"),
        ({"secrets": {"X": 123}}, "must be text, and it is int"),
        ({"secrets": {"X": None}}, "must be text, and it is NoneType"),
        ({"secrets": {"X": "\ud800"}}, "not text in UTF-8"),
        ({"secrets": ["hunter2"]}, "must be a mapping of names to values"),
        ({"secrets": {f"S{number}": "x" for number in range(101)}}, "there would be 101, and GitHub takes 100"),
        ({"variables": {"MAINTENANCE_FP_X": "x"}}, "is kept for fingerprints"),
        ({"secrets": {"X": "x"}, "basis": "fingerprint", "fingerprint_key": "short"}, "at least 32 bytes"),
        ({"secrets": {"X": "x"}, "purge": ["variables"]}, "purge: variables are to be purged and none are listed"),
        ({"secrets": {"X": "x"}, "repository": "app"}, "owner/name"),
        ({"secrets": {"X": "x"}, "visibility": "all"}, "are for organizations"),
        ({"secrets": {"X": "x"}, "token": "two\nlines"}, "token: .* line break"),
        ({"secrets": {"X": "x"}, "api_url": "http://api.example.com"}, "must begin with https://"),
        ({}, "secrets or variables are needed"),
    ]
    for options, message in faulty:
        with pytest.raises(OptionError, match=message):
            run(github, **options)
    assert run(github, secrets={"X": "x" * 48 * 1024})["changed"]
    assert all("SEEN" not in str(request) for request in github.requests)


def test_faulty_options_make_no_call(github: GitHub) -> None:
    with pytest.raises(OptionError) as caught:
        run(github, secrets={"X": "x" * 50000, "Y": 1}, variables={"1": "x"})
    assert len(caught.value.errors) == 3
    assert github.requests == []


def test_githubs_limit_of_numbers_is_seen_before_the_first_write(github: GitHub) -> None:
    for number in range(99):
        github.edit(APP, f"OLD_{number}", "x")
    with pytest.raises(OptionError, match="secrets: there would be 101, and GitHub takes 100 in one repository"):
        run(github, secrets={"A": "a", "B": "b"})
    assert writes(github) == []
    assert run(github, secrets={"A": "a"})["changed"]


def test_a_rate_limit_is_waited_for(github: GitHub, waits: list[float]) -> None:
    github.fail(429, {"message": "Too many"}, path="/secrets", headers={"Retry-After": "17"})
    secondary = {"message": "You have exceeded a secondary rate limit"}
    github.fail(403, secondary, method="PUT", headers={"Retry-After": "23"})
    github.fail(403, secondary, method="POST")
    result = run(github, **WANTED)
    assert result["changed"]
    assert not result.get("failed")
    assert waits == [17, 23, 60]
    assert len(result["warnings"]) == 3


def test_a_rate_limit_that_ends_too_late_is_told(github: GitHub, waits: list[float]) -> None:
    github.fail(429, {"message": "Too many"}, headers={"Retry-After": "3600"})
    with pytest.raises(MaintenanceError, match="come back in 3600 s"):
        run(github, **WANTED)
    assert waits == []


@pytest.mark.parametrize("kind", ["", CUT, CUT_AFTER])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
def test_lost_answers_and_server_errors_leave_no_wrong_state(
    github: GitHub, waits: list[float], kind: str, method: str
) -> None:
    """Every call once in trouble: what was carried out without an answer is settled as well."""
    run(github, **WANTED)
    github.edit(APP, "UNLISTED", "x")
    github.edit(APP, "FLY_APP_URL", "https://old.example.com", "variables")
    github.fail(502, {"message": "Server Error"}, kind=kind, method=method)
    wanted = {**WANTED, "variables": {**WANTED["variables"], "NEW": "1"}, "purge": ["secrets"]}
    wanted["secrets"] = {**WANTED["secrets"], "DATABASE_URL": "another"}
    result = run(github, **wanted)
    assert not result.get("failed")
    assert github.places[APP].values() == {"DATABASE_URL": "another", "CRON_SECRET_TOKEN": "t" * 48}
    assert github.places[APP].values("variables")["NEW"] == "1"
    assert not run(github, **wanted)["changed"]


def test_silence_ends(github: GitHub, waits: list[float]) -> None:
    github.fail(kind=SILENCE, method="GET")
    assert run(github, timeout=1, **WANTED)["changed"]


def test_a_service_that_stays_down_ends_the_run_with_a_whole_account(github: GitHub, waits: list[float]) -> None:
    github.fail(503, "<html>down</html>", method="PUT", path="DATABASE_URL", times=ALWAYS)
    result = run(github, **WANTED)
    assert result.get("failed")
    assert [action["outcome"] for action in result["actions"]] == ["failed", "skipped", "skipped"]
    assert "something that is not JSON" in reason(result, "DATABASE_URL")


def test_one_refused_name_does_not_stop_the_others(github: GitHub) -> None:
    github.fail(422, {"message": "Validation Failed"}, method="PUT", path="DATABASE_URL")
    result = run(github, **WANTED)
    assert result.get("failed")
    assert result["changed"]
    assert [action["outcome"] for action in result["actions"]] == ["failed", "done", "done"]
    assert "Validation Failed" in result["msg"]
    assert len(github.seen("PUT", "DATABASE_URL")) == 1


def test_a_key_that_changed_meanwhile_is_asked_for_again(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, handle = github._put, github.handle

    def rotating(request: Any) -> Any:
        reply = handle(request)
        if request.path.endswith("public-key") and len(github.seen(path="public-key")) == 1:
            github.places[APP].key_id = "rotated"
        return reply

    monkeypatch.setattr(github, "handle", rotating)
    assert answer is not None
    assert run(github, secrets={"X": "x"})["changed"]
    assert github.places[APP].values() == {"X": "x"}


def test_somebody_else_creates_the_variable_first(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    create = github._create

    def late(request: Any, entries: Any, shared: bool) -> Any:
        github.edit(APP, "FLY_APP_URL", "theirs", "variables")
        return create(request, entries, shared)

    monkeypatch.setattr(github, "_create", late)
    result = run(github, variables=WANTED["variables"])
    assert not result.get("failed")
    assert github.places[APP].values("variables") == WANTED["variables"]


def test_only_a_trusted_certificate_gets_the_token(github: GitHub, tmp_path: Path) -> None:
    trusted, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, key)
    github._server.socket = context.wrap_socket(github._server.socket, server_side=True)
    api_url = github.url.replace("http:", "https:")
    with pytest.raises(MaintenanceError, match="certificate is not trusted"):
        run(github, api_url=api_url, **WANTED)
    assert github.requests == []
    assert run(github, api_url=api_url, ca_path=str(trusted), **WANTED)["changed"]


def test_gh_leaves_the_same_state(github: GitHub, tmp_path: Path) -> None:
    """Debian's gh as a second opinion: the same names and values, readable by the same key, through the same calls."""
    gh = shutil.which("gh")
    if gh is None:
        assert not os.environ.get("CI"), "gh is missing"
        pytest.skip("needs gh")
    github.add_place("example/app production")
    values = {"DATABASE_URL": "postgresql://u:p%23@h/db?x=1#frag", "TOKEN_B": "t" * 48, "MULTI": "a\nb"}
    closed = "http://127.0.0.1:9"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GH_CONFIG_DIR": str(tmp_path),
        "GH_TOKEN": TOKEN,
        "GH_HOST": "github.localhost",  # for this one gh speaks plain HTTP, here to a proxy that is the double
        "http_proxy": github.url,
        "https_proxy": closed,
        "NO_PROXY": "",
    }
    for place in ([], ["--env", "production"]):
        for name, value in values.items():
            command = [gh, "secret", "set", name, "-R", f"github.localhost/{APP}", *place]
            done = subprocess.run(command, input=value, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    by_gh = {request.path.replace(APP, "*") for request in github.requests if request.method == "PUT"}
    theirs = {name: github.places[name].values() for name in (APP, "example/app production")}
    github.requests.clear()
    github.add_place("example/worker production")
    for environment_name in (None, "production"):
        assert run(github, repository="example/worker", environment=environment_name, secrets=values)["changed"]
    ours = {name: github.places[name].values() for name in ("example/worker", "example/worker production")}
    assert list(ours.values()) == list(theirs.values()) == [values, values]
    assert by_gh == {
        request.path.replace("example/worker", "*") for request in github.requests if request.method == "PUT"
    }


def test_pages_that_were_lost_are_no_basis_for_anything(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A", "B", "C"):
        github.edit(APP, name, "by hand")
    github.page = 2
    decorate = github.decorate

    def without_link(request: Request, reply: Reply) -> Reply:
        answer = decorate(request, reply)
        return Reply(answer.status, answer.body, {k: v for k, v in answer.headers.items() if k != "Link"})

    assert run(github, check=True, secrets={"C": "x"}, basis="presence")["totals"] == {"unchanged": 1}
    monkeypatch.setattr(github, "decorate", without_link)
    with pytest.raises(MaintenanceError, match="2 were listed and there are 3"):
        run(github, secrets={"C": "x"}, basis="presence")
    assert github.seen("PUT") == []


@pytest.mark.parametrize(
    ("status", "to"),
    [(302, "https://login.example.com/sso?back=TOKEN"), (303, "/login"), (307, "https://x.example.com/repositories/1")],
)
def test_a_page_to_log_in_is_not_a_new_name(github: GitHub, status: int, to: str) -> None:
    github.fail(status, "<html>", times=9, headers={"Location": to})
    with pytest.raises(MaintenanceError, match="a page to log in") as caught:
        run(github, secrets={"X": "x"})
    assert "renamed" not in str(caught.value)
    assert "TOKEN" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"repository": "./app"},
        {"repository": "../app"},
        {"repository": "example/."},
        {"repository": "example/.."},
        {"organization": ".."},
        {"organization": "."},
        {"environment": "."},
        {"environment": ".."},
        {"organization": "example", "visibility": "selected", "selected_repositories": [".."]},
        {"organization": "example", "visibility": "selected", "selected_repositories": ["example/."]},
    ],
)
def test_names_that_are_other_paths_are_refused(github: GitHub, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        run(github, secrets={"X": "x"}, **options)
    assert github.requests == []


def test_a_run_without_the_key_in_between_is_not_called_somebody_else_alone(github: GitHub) -> None:
    for key in (KEY, None):
        run(github, secrets={"A": "value"}, fingerprint_key=key)
    assert "by a run without the key" in reason(run(github, secrets={"A": "value"}, fingerprint_key=KEY), "A")


def test_what_a_killed_run_left_is_removed_by_the_next(github: GitHub, tmp_path: Path) -> None:
    kept = tmp_path / ".fingerprints.json"
    others = {tmp_path / name for name in (".fingerprints.yaml_bak", ".fingerprints.json.old", "x.tmp")}
    for other in others:
        other.touch()
    options: dict[str, Any] = {"secrets": {"A": "a"}, "fingerprint_key": KEY, "fingerprint_file": str(kept)}
    child = os.fork()
    if child == 0:
        os.replace = lambda *_paths: os._exit(9)
        run(github, **options)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(set(tmp_path.iterdir()) - others) == 1
    run(github, **options)
    assert set(tmp_path.iterdir()) == {kept, *others}
