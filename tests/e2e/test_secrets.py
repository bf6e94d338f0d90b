# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""playbooks/secrets.yml against doubles of GitHub and Fly, as somebody runs it who rotates a token."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import runs
from tests.doubles import contract
from tests.doubles.fly import Fly, Machine
from tests.doubles.github import GitHub
from tests.doubles.service import Reply, Request
from tests.leaks import leaks as find_leaks

ROOT = Path(__file__).resolve().parents[2]
GITHUB_TOKEN = "github_pat_11TOKENzq7"
FLY_TOKEN = "fm2_lJPECTOKENzq7" + "x" * 40
KEY = "KEYzq7-an-operator's-key-of-more-than-32-bytes"
URL = "postgresql://app:PASSzq7%40x@db.example.com/app?x=a#FRAGzq7"
AWKWARD = "TEXTzq7 %40@# $HOME 'single' \"double\" \\n é 日本\nLINEzq7 two, with {{ braces }} as well"
MARK = "zq7"


@dataclass
class Places:
    """Both services, and the command that is run against them."""

    github: GitHub
    fly: Fly
    directory: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        known |= {
            "HOME": str(self.directory),
            **runs.settings(self.directory),
            "GITHUB_REPOSITORY": "example/app",
            "GITHUB_API_URL": self.github.url,
            "GH_TOKEN": GITHUB_TOKEN,
            "FLY_API_TOKEN": FLY_TOKEN,
            "FLY_APP": "shop",
            "DATABASE_URL": URL,
            "MAINTENANCE_FINGERPRINT_KEY": KEY,
            **environment,
        }
        command = [
            runs.PROGRAM,
            *(
                "-i",
                environment.pop("INVENTORY", "inventories/production"),
                "-e",
                f"fly_secrets_api_url={self.fly.url}",
            ),
            *(*arguments, "playbooks/secrets.yml"),
        ]
        return subprocess.run(
            command, cwd=ROOT, env={name: value for name, value in known.items() if value},
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    def failed(self, *arguments: str, **environment: str) -> str:
        """The output with single spaces: Ansible wraps its lines."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 2, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    @property
    def tokens(self) -> tuple[str | None, str | None]:
        """The token on Fly, and on GitHub."""
        on_fly = self.fly.apps["shop"].values.get("CRON_SECRET_TOKEN")
        return on_fly, self.github.places["example/app"].values().get("CRON_SECRET_TOKEN")

    @property
    def token(self) -> str:
        """The token, which must be the same on both sides."""
        on_fly, on_github = self.tokens
        assert on_fly
        assert on_fly == on_github
        return on_fly


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    github, fly = GitHub(contract.load(), GITHUB_TOKEN), Fly()
    fly.add_app("shop", FLY_TOKEN)
    yield Places(github, fly, tmp_path)
    github.close()
    fly.close()


def test_what_is_missing_is_named_all_at_once_before_anything_is_written(places: Places) -> None:
    output = places.failed(GH_TOKEN="", FLY_API_TOKEN="", DATABASE_URL="", GITHUB_REPOSITORY="")
    for name in ("GITHUB_REPOSITORY", "DATABASE_URL", "GH_TOKEN", "FLY_API_TOKEN"):
        assert f"set {name}" in output, output
    quoted = places.failed(FLY_API_TOKEN="", DATABASE_URL=f'"{URL}"')
    assert "set FLY_API_TOKEN" in quoted
    assert "set DATABASE_URL without the quotation marks" in quoted
    assert places.github.requests == places.fly.requests == []


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


def test_a_missing_value_is_told_before_anything_is_set(places: Places) -> None:
    assert "set DATABASE_URL" in places.failed(DATABASE_URL="")
    assert places.tokens == (None, None)
    assert places.github.places["example/app"].values() == {}


def test_an_inventory_without_secrets(places: Places) -> None:
    assert "Use -i inventories/production" in places.failed(INVENTORY="inventories/demo")
    assert places.github.requests == places.fly.requests == []


# Nothing comes out of it


def leaks(places: Places, *outputs: str) -> list[str]:
    """Where a secret, or a spelling of one, is to be read. ``made``: all values that Fly was ever sent."""
    made = {
        value for request in places.fly.seen("POST", "/secrets") for value in request.body["values"].values() if value
    }
    given = {GITHUB_TOKEN, FLY_TOKEN, KEY, URL, AWKWARD, MARK, "PASSzq7%40x", "PASSzq7@x", "app:PASSzq7%40x"}
    return find_leaks(places.directory, made | given, *outputs)


def both(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    return done.stdout, done.stderr


def echo(request: Request) -> Reply:
    """A service that quotes."""
    return Reply(422, {"error": f"no: {request.raw.decode()} {request.body} {request.headers}"})


# One story: each run finds what the one before it left, and says as much as Ansible can


@dataclass
class Story:
    """Runs of the playbook, one after the other. ``outputs``: all that they printed."""

    places: Places
    outputs: list[str] = field(default_factory=list)

    def run(self, *arguments: str, fails: bool = False, **environment: str) -> str:
        """The output with single spaces."""
        done = self.places.run("-vvvv", "--diff", *arguments, **environment)
        assert done.returncode == (2 if fails else 0), done.stdout + done.stderr
        self.outputs += both(done)
        return " ".join(done.stdout.split())

    def entries(self) -> list[dict[str, Any]]:
        """What became of each secret and machine in the last run."""
        runs = json.loads((self.places.directory / "summary.json").read_text(encoding="utf-8"))["runs"]
        return [{**action, "plan": run["plan"]} for run in runs for action in run["actions"]]

    def outcomes(self) -> set[str]:
        return {entry["outcome"] for entry in self.entries()}


def first_runs(story: Story) -> None:
    """The first run sets all, the second one changes nothing and says why."""
    places = story.places
    story.run("--check", APP_DATABASE_URL=URL)
    assert places.tokens == (None, None)
    assert story.outcomes() == {"planned"}
    first = story.run(APP_DATABASE_URL=URL)
    assert len(places.token) == 64
    assert places.github.places["example/app"].values() == {
        "FLY_APP_URL": "https://vtchat.io.vn",
        "DATABASE_URL": URL,
        "CRON_SECRET_TOKEN": places.token,
    }
    assert places.fly.apps["shop"].values == {"CRON_SECRET_TOKEN": places.token, "DATABASE_URL": URL}
    told = {(one["plan"], one["target"]): one["reason"] for one in story.entries()}
    assert told["github_secrets", "DATABASE_URL"] == told["fly_secrets", "DATABASE_URL"] == "it is not there yet"
    assert told["shared_secrets", "CRON_SECRET_TOKEN on Fly"] == "it is on neither side"
    # And for people, by the summary.
    assert "CRON_SECRET_TOKEN on GitHub" in first
    writes = [len(places.github.seen("PUT")), len(places.fly.seen("POST"))]
    token = places.token
    second = story.run(APP_DATABASE_URL=URL)
    assert changed(second) == 0
    assert {one["basis"] for one in story.entries()} == {"record", "fingerprint"}
    assert "and nobody has written since (basis: record)" in second
    assert "and nobody has written since (basis: fingerprint)" in second
    assert [len(places.github.seen("PUT")), len(places.fly.seen("POST"))] == writes
    assert places.token == token
    for form in (token, base64.b64encode(token.encode()).decode()):
        assert leaks(places, f"a leak of {form} would be found")


def edited_by_hand(story: Story) -> None:
    """Values edited by hand are found."""
    places, token = story.places, story.places.token
    places.github.edit("example/app", "DATABASE_URL", "by hand")
    for name in ("DATABASE_URL", "CRON_SECRET_TOKEN"):
        places.fly.set_by_hand("shop", name, "by hand")
    story.run(APP_DATABASE_URL=URL)
    drifted = [one["target"] for one in story.entries() if "drift" in one["reason"]]
    assert drifted == ["DATABASE_URL"] * 2 + ["CRON_SECRET_TOKEN on Fly", "CRON_SECRET_TOKEN on GitHub"]
    assert places.github.places["example/app"].values()["DATABASE_URL"] == URL
    assert places.fly.apps["shop"].values["DATABASE_URL"] == URL
    assert places.token not in (token, "by hand")


def rotated_and_deployed(story: Story) -> Machine:
    """A new value, and machines that run with it."""
    places, token = story.places, story.places.token
    machine = places.fly.add_machine("shop")
    story.run("--check", "-e", "rotate=true", "-e", "deploy=true")
    assert places.token == machine.runs["CRON_SECRET_TOKEN"] == token
    story.run("-e", "rotate=true", "-e", "deploy=true")
    assert places.token == machine.runs["CRON_SECRET_TOKEN"] != token
    assert len(machine.updates) == 1
    return machine


def sides_that_refuse(story: Story) -> None:
    """The second side fails and the next run repairs; the first side refuses, and neither is changed."""
    places, token = story.places, story.places.token
    places.github.fail(422, {"message": f"no: {GITHUB_TOKEN}"}, method="PUT", path="/CRON_SECRET_TOKEN", times=9)
    output = story.run("-e", "rotate=true", fails=True)
    assert "GitHub has not got the new value; the next run sets it on both" in output
    on_fly, on_github = places.tokens
    assert on_github == token != on_fly
    places.github._faults.clear()
    assert "a run that was to set it did not end" in story.run()
    assert places.token not in (token, on_fly)
    # Fly refuses, and repeats all that it was sent, a token that was just made included.
    token, handle = places.token, places.fly.handle

    def echo_writes(request: Request) -> Reply:
        return handle(request) if request.method == "GET" else echo(request)

    places.fly.handle = echo_writes  # type: ignore[method-assign]
    output = story.run("-e", "rotate=true", fails=True)
    assert "neither side was changed" in output
    assert "no: " in output
    assert places.token == token
    places.fly.handle = handle  # type: ignore[method-assign]


def given_by_somebody(story: Story, machine: Machine) -> None:
    """A value of one's own is set; nobody gives it any more, and what is there stays."""
    places = story.places
    story.run("-e", "deploy=true", CRON_SECRET_TOKEN=AWKWARD)
    assert places.token == machine.runs["CRON_SECRET_TOKEN"] == AWKWARD
    updates = len(machine.updates)
    assert changed(story.run("-e", "deploy=true")) == 0
    assert (places.token, len(machine.updates)) == (AWKWARD, updates)


@pytest.mark.slow
def test_a_token_from_its_first_day_to_its_last(places: Places) -> None:
    story = Story(places)
    first_runs(story)
    edited_by_hand(story)
    machine = rotated_and_deployed(story)
    sides_that_refuse(story)
    given_by_somebody(story, machine)
    assert leaks(places, *story.outputs) == []
    made = {request.body["values"].get("CRON_SECRET_TOKEN") for request in places.fly.seen("POST", "/secrets")}
    assert len(made) > 4


# The roles


def role(name: str, side: str, loop: list[str] | None = None, **options: Any) -> list[dict[str, Any]]:
    """A role, and what is left of it in facts and results."""
    settings = {
        "github_secrets": {"repository": "example/app", "token": "{{ github_token }}", "api_url": "{{ github_url }}"},
        "fly_secrets": {"app": "shop", "token": "{{ fly_token }}", "api_url": "{{ fly_url }}"},
    }[side]
    settings = {**settings, "fingerprint_key": "{{ key }}", "fingerprint_file": "fingerprints.json", **options}
    task = {
        "name": name,
        "ansible.builtin.include_role": {"name": side},
        "vars": {f"{side}_{option}": value for option, value in settings.items()},
        **({"loop": loop} if loop else {}),
    }
    shown = {"name": "Show", "ansible.builtin.debug": {"var": f"{side}_result"}}
    return [{"name": name, "block": [task, shown], "rescue": [{**shown, "name": "Failed"}]}]


GOOD = {"DATABASE_URL": "{{ url }}", "TEXT": "{{ awkward }}"}
ROLES = [
    task
    for side in ("github_secrets", "fly_secrets")
    for task in [
        *role("Succeeds", side, secrets=GOOD),
        *role("Succeeds again", side, secrets=GOOD),
        *role("By a loop over names", side, ["DATABASE_URL", "TEXT"], secrets="{{ {item: awkward} }}"),
        *role("A text in place of a mapping", side, secrets="{{ url }}"),
        *role("A list in place of a mapping", side, secrets=["{{ url }}", {"a": "{{ awkward }}"}]),
        *role("A mapping too deep", side, secrets={"A": {"value": "{{ url }}"}}),
        *role("A value as a name", side, secrets="{{ {url: awkward} }}"),
        *role("A key that is a list", side, secrets=GOOD, fingerprint_key=["{{ key }}"]),
        *role("Another token", side, secrets=GOOD, token="{{ key }}"),
        *role("Nobody listens", side, secrets={"NEW": "{{ awkward }}"}, api_url="http://127.0.0.1:9"),
        *role("A wrong choice", side, secrets=GOOD, state="there"),
        *role("Gone", side, secrets=["DATABASE_URL"], state="absent"),
    ]
]
ROLES += role("A token that is a mapping", "github_secrets", secrets=GOOD, token={"token": "{{ key }}"})


def play(places: Places, tasks: list[dict[str, Any]], *arguments: str) -> tuple[str, str]:
    variables: dict[str, Any] = {"github_token": GITHUB_TOKEN, "fly_token": FLY_TOKEN, "key": KEY, "url": URL}
    variables |= {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    variables |= {"awkward": {"__ansible_unsafe": AWKWARD}}  # its braces are no template
    variables |= {"github_url": places.github.url, "fly_url": places.fly.url}
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    done = runs.playbook(places.directory, plays, variables, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    return both(done)


def test_nothing_comes_out_of_the_roles(places: Places) -> None:
    # Check mode is the modules' own; their tests say more of it.
    checked = [{**task, "check_mode": True} for task in ROLES if task["name"] == "Succeeds"]
    outputs = play(places, [*checked, *ROLES], "-vvvv", "--diff")
    assert leaks(places, *outputs) == []
    assert outputs[0].count("TASK [Failed]") == 15
    assert "target: DATABASE_URL" in outputs[0]
    assert places.github.places["example/app"].values() == {"TEXT": AWKWARD}


def test_a_planted_leak_is_found(places: Places) -> None:
    planted = ["{{ url }}", "{{ url | urlencode }}", "{{ awkward | b64encode }}", "PASSzq7@x"]
    tasks = [{"name": "Leak", "ansible.builtin.debug": {"msg": text}} for text in planted]
    output, _errors = play(places, tasks, "-v")
    pieces = output.split("TASK [Leak]")[1:]
    assert len(pieces) == len(planted)
    assert all(leaks(places, piece) for piece in pieces)
