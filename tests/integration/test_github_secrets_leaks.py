# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that github_secrets is given in confidence comes out again, however it ends and however much Ansible is told to say."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.modules import github_secrets
from tests import runs
from tests.doubles import contract
from tests.doubles.github import GitHub
from tests.leaks import leaks
from tests.services import printed

MODULE = "vtchat.maintenance.github_secrets"
TOKEN = "github_pat_11TOKENzq7"
KEY = "KEYzq7-an-operator's-key-of-more-than-32-bytes"
URL = "postgresql://app:PASSzq7%40x@db.example.com/app?x=a#FRAGzq7"
AWKWARD = "  TEXTzq7 %40@# $HOME 'single' \"double\" \\n é 日本\nLINEzq7 two\r\n"
# What every secret here contains and nothing else does.
MARK = "zq7"
SECRETS_GIVEN = (MARK, TOKEN, KEY, URL, AWKWARD, "PASSzq7%40x", "PASSzq7@x", "app:PASSzq7%40x")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    double = GitHub(contract.load(), TOKEN)
    double.add_place("example/app production")
    yield double
    double.close()


def task(name: str, **options: Any) -> dict[str, Any]:
    keywords: dict[str, Any] = {name: options.pop(name) for name in ("loop", "check_mode") if name in options}
    given: dict[str, Any] = {
        "repository": "example/app",
        "token": "{{ token }}",
        "api_url": "{{ api }}",
        "fingerprint_key": "{{ key }}",
        "patience": 0,
        **options,
    }
    return {
        "name": name,
        MODULE: given,
        "ignore_errors": True,
        "register": "result",
        **keywords,
    }


SECRETS = {"DATABASE_URL": "{{ url }}", "TEXT": "{{ awkward }}"}
SHOW = {"name": "Show", "ansible.builtin.debug": {"var": "result"}}
OUTCOMES = [
    task("Succeeds", secrets=SECRETS, variables={"SEEN": "1"}),
    SHOW,
    task("Succeeds again", secrets=SECRETS),
    task("In a loop", secrets=SECRETS, environment="{{ item }}", loop=["production", "staging"]),
    SHOW,
    task("With a file", secrets=SECRETS, fingerprint_file="fingerprints.json"),
    task("GitHub repeats what it was sent", secrets={**SECRETS, "ECHO": "{{ url }}"}, basis="always"),
    SHOW,
    # A password that somebody also put where nothing is hidden, while the URL with it is among the secrets.
    task("The same in the open", secrets=SECRETS, variables={"COPY": "{{ url | regex_search('PASS[^@]*') }}"}),
    SHOW,
    task("Absent already", secrets=["ONLY_NAMED_HERE"], state="absent"),
    task("Gone", secrets=["DATABASE_URL"], state="absent"),
]
# What check mode does otherwise: it decides and writes nothing.
CHECKED = ("Succeeds", "In a loop", "With a file", "The same in the open", "Gone")
FAULTS = [
    task("A text in place of a mapping", secrets="{{ url }}"),
    SHOW,
    task("A mapping too deep", secrets={"DATABASE_URL": {"value": "{{ url }}", "more": ["{{ awkward }}"]}}),
    task("An unknown option", secrets=SECRETS, value="{{ url }}"),
    task("Nobody listens", secrets=SECRETS, api_url="http://127.0.0.1:9"),
]
# By what is said of it, and where a secret would be in what the module itself prints.
WRONG: dict[str, dict[str, Any]] = {
    "must be a mapping of names to values": {"secrets": URL},
    "secrets: it must be a mapping": {"secrets": [URL, AWKWARD]},
    "it must be a mapping of names": {"secrets": [{"name": "DATABASE_URL", "value": URL}]},
    "the value must be text, and it is dict": {"secrets": {"DATABASE_URL": {"value": URL, "more": [AWKWARD]}}},
    "name 1: a name consists of": {"secrets": {URL: "DATABASE_URL"}},
    "name 1: a name consists": {"secrets": [URL, "ONLY_NAMED_HERE"], "state": "absent"},
    "a name consists of letters": {"secrets": {"NO-NAME": URL}},
    "secrets: LONG: the value has": {"secrets": {"LONG": AWKWARD * 2000}},
    "line break": {"secrets": {"A": URL}, "token": f"{TOKEN}\n{URL}"},
    "does not accept the token": {"secrets": {"A": URL}, "token": f"{TOKEN}x"},
    "value": {"secrets": {"A": URL}, "value": AWKWARD},
    "does not show": {"secrets": {"A": URL}, "repository": "example/nowhere"},
    "connection was refused": {"secrets": {"A": URL}, "api_url": "http://127.0.0.1:9"},
    "must begin with https": {"secrets": {"A": URL}, "api_url": "http://api.example.invalid"},
}


def play(github: GitHub, directory: Path, tasks: list[dict[str, Any]], *arguments: str) -> list[str]:
    raw = [URL, AWKWARD, TOKEN, "PASSzq7@x", base64.b64encode(URL.encode()).decode()]
    github.fail(422, {"message": f"no: {raw}", "errors": [{"message": raw[3]}]}, method="PUT", path="ECHO")
    variables = {"token": TOKEN, "key": KEY, "url": URL, "awkward": AWKWARD, "api": github.url}
    variables["ansible_python_interpreter"] = "{{ ansible_playbook_python }}"
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    done = runs.playbook(directory, plays, variables, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"ok={len(tasks)}" in done.stdout, done.stdout[-1000:]
    return [done.stdout, done.stderr]


def test_nothing_comes_out(github: GitHub, tmp_path: Path) -> None:
    """However it ends; in check mode, on a repository where nobody does it afterwards, as well."""
    checked = [
        {**one, "check_mode": True, MODULE: {**one[MODULE], "repository": "example/worker"}}
        for one in OUTCOMES
        if one["name"] in CHECKED
    ]
    outputs = play(github, tmp_path, [*checked, SHOW, *OUTCOMES, *FAULTS], "-vvvv", "--diff")
    assert leaks(tmp_path, SECRETS_GIVEN, *outputs) == []
    assert github.places["example/app"].values() == {"TEXT": AWKWARD}
    assert github.places["example/worker"].secrets == {}
    # The names are no secrets: they must be readable.
    for name in ("target: DATABASE_URL", "target: ONLY_NAMED_HERE"):
        assert name in outputs[0]


@pytest.mark.parametrize("said", WRONG)
def test_nothing_comes_out_of_wrong_options(
    github: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, said: str
) -> None:
    options = {
        "repository": "example/app",
        "token": TOKEN,
        "api_url": github.url,
        "fingerprint_key": KEY,
        "patience": 0,
    }
    shown = printed(github_secrets.main, monkeypatch, capsys, **{**options, **WRONG[said]})
    assert said in shown
    assert leaks(tmp_path, SECRETS_GIVEN, shown) == []
    assert github.places["example/app"].secrets == {}


def test_a_planted_leak_is_found(github: GitHub, tmp_path: Path) -> None:
    planted = ["{{ url }}", "{{ url | urlencode }}", "{{ awkward | b64encode }}", "PASSzq7@x"]
    output, _errors = play(
        github, tmp_path, [{"name": "Leak", "ansible.builtin.debug": {"msg": text}} for text in planted], "-v"
    )
    pieces = output.split("TASK [Leak]")[1:]
    assert [bool(leaks(tmp_path, SECRETS_GIVEN, piece)) for piece in pieces] == [True] * len(planted)
