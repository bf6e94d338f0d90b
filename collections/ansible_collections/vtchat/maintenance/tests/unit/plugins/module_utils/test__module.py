# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module shows: nothing of options that it does not know, warnings like results, and Ansible is told of secrets."""

from __future__ import annotations

import base64
import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge, _module
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import NOTHING, Hidden, hide
from ansible_collections.vtchat.maintenance.plugins.module_utils._module import Module
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import Result
from ansible_collections.vtchat.maintenance.plugins.module_utils._spec import Spec

# plan and the like are done by action plugins alone.
MODULES = sorted(
    path.stem
    for path in (Path(_module.__file__).parents[1] / "modules").glob("*.py")
    if "def main" in path.read_text("utf-8")
)
SPEC: dict[str, Any] = {"token": {"type": "str", "no_log": True, "aliases": ["key"]}, "name": {"type": "str"}}


def module(monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any] = SPEC, **parameters: Any) -> Module:
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(basic, "_load_params", lambda: {"_ansible_check_mode": False, **parameters})
    # Tracebacks repeat the source, which is this test.
    monkeypatch.setattr(basic, "_PARSED_MODULE_ARGS", {"_ansible_tracebacks_for": []}, raising=False)
    return Module(argument_spec=spec)


def test_values_of_unknown_options_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module(monkeypatch, name="n", key="KEYzq7", tokne="TOKNEzq7", secret={"A": ["Bzq7"]})
    shown = capsys.readouterr().out
    assert "tokne" in shown
    assert not any(value in shown for value in ("KEYzq7", "TOKNEzq7", "Bzq7"))


@pytest.mark.parametrize("name", MODULES)
def test_no_module_shows_values_of_unknown_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    main = import_module(f"ansible_collections.vtchat.maintenance.plugins.modules.{name}").main
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    mistyped = {"tokne": "TOKNEzq7", "secret": {"NAME": ["Bzq7"]}, "dns": "postgresql://u:PASSzq7@h/d"}
    monkeypatch.setattr(basic, "_load_params", lambda: {"_ansible_verbosity": 4, **mistyped})
    monkeypatch.setattr(basic, "_PARSED_MODULE_ARGS", {"_ansible_tracebacks_for": []}, raising=False)
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    assert "tokne" in shown
    assert "zq7" not in shown


def test_warnings_are_masked_and_cannot_speak_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warned: list[str] = []
    made = module(monkeypatch, name="n", token="TOKENzq7")
    # Where Ansible puts a warning depends on what else this process has loaded.
    monkeypatch.setattr(made, "warn", warned.append)
    made.hide(hide(["PASSzq7"]))
    with pytest.raises(SystemExit):
        made.finish({"changed": False, "warnings": ["TOKENzq7 \x1b[2J\nPASSzq7 \u202e"], "msg": "PASSzq7"})
    assert "zq7" not in capsys.readouterr().out
    assert warned == ["******** \\x1b[2J\\n******** \\u202e"]


@pytest.mark.parametrize("name", ["github_secrets", "fly_secrets", "shared_secrets"])
def test_a_missing_token_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for variable in ("GH_TOKEN", "GITHUB_TOKEN", "FLY_API_TOKEN", "FLY_ACCESS_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    spec = import_module(f"{_module.__package__}._services.{name}").SPEC.options
    with pytest.raises(SystemExit):
        module(monkeypatch, spec)
    message = json.loads(capsys.readouterr().out)["msg"]
    assert ("as GH_TOKEN or GITHUB_TOKEN" in message) is (name != "fly_secrets")
    assert ("as FLY_API_TOKEN or FLY_ACCESS_TOKEN" in message) is (name != "github_secrets")


def test_ansible_is_told_of_secrets_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    double = ModuleType("ansible.module_utils.secrets")
    double.register_secrets = told.extend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ansible.module_utils.secrets", double)
    module(monkeypatch, name="n", token="a").hide(hide(["PASSzq7", "", "abc"]))
    assert "PASSzq7" in told
    assert not any(len(text) < 4 for text in told)
    told.clear()
    # Here and in the module alike: the connection's secrets, and no ordinary word, which would be masked in all output.
    for password, registered in (("Pa55w%40rd", True), ("postgres", False)):
        dsn = f"postgresql://u:{password}@127.0.0.1:1/d"
        options = _edge.validated("history_info", {"dsn": dsn, "connect_deadline": 0})
        assert _edge.perform(options, check=False)["failed"]
        assert ("Pa55w@rd" in told) is registered
        assert "postgres" not in told
        told.clear()


def test_older_releases_of_ansible_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible.module_utils.secrets", None)
    _module.register({"PASSzq7"})


def test_a_fault_of_ours_is_a_message_without_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        SPEC = Spec(SPEC)

        def hidden(self, parameters: Any) -> Hidden:
            return NOTHING

        def read(self, parameters: Any, hidden: Hidden) -> Any:
            raise KeyError("PASSzq7")

        def perform(self, request: Any, check: bool) -> Result:
            raise NotImplementedError

    monkeypatch.setattr(_module, "Module", lambda argument_spec, **_more: module(monkeypatch, argument_spec, name="n"))
    with pytest.raises(SystemExit):
        _module.serve("broken", Broken())
    shown = json.loads(capsys.readouterr().out)
    assert "a fault of the module: KeyError in test__module.py" in shown["msg"]
    assert (shown["status"], shown["plan"], shown["actions"]) == ("failed", "broken", [])
    assert "zq7" not in str(shown)


def test_every_spelling_of_an_option_that_is_secret_is_masked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever a module says, also where its options are wrong; a password in a connection string too."""
    token = "postgresql://app:p%40ss%22word@h/d"
    spelt = [token.encode().hex(), base64.b64encode(b'p@ss"word').decode(), 'p@ss\\"word', "p%40ss%22word"]
    with pytest.raises(SystemExit):
        module(monkeypatch, name="n", token=token).finish({"changed": False, "said": spelt})
    assert json.loads(capsys.readouterr().out)["said"] == ["********"] * len(spelt)
    with pytest.raises(SystemExit):
        module(monkeypatch, name="n", token=token, unknown=1).fail_json(msg=", ".join(spelt))
    assert "word" not in capsys.readouterr().out
