# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Options that several services have, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import env_fallback

from .._spec import Spec
from .http import Network

NETWORK = Spec(
    {
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 30},
        "patience": {"type": "int", "default": 120},
    }
)
FINGERPRINTS = Spec(
    {
        "fingerprint_key": {"type": "str", "no_log": True},
        "fingerprint_file": {"type": "path", "no_log": False},
    }
)
BASIS = Spec({"basis": {"type": "str", "choices": ["fingerprint", "presence", "always"]}})
STATE = Spec({"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}})
DEPLOYMENT = Spec({"deploy": {"type": "bool", "default": False}, "wait_timeout": {"type": "float", "default": 300.0}})
# Raw, because Ansible's own complaint about a wrong type would repeat the value.
SECRETS: dict[str, Any] = {"type": "raw", "no_log": True}
GITHUB_API: dict[str, Any] = {
    "type": "str",
    "default": "https://api.github.com",
    "fallback": (env_fallback, ["GITHUB_API_URL"]),
}
FLY_API: dict[str, Any] = {"type": "str", "default": "https://api.machines.dev"}


def token(*variables: str) -> dict[str, Any]:
    """A token that may come from one of these variables of the environment."""
    return {"type": "str", "no_log": True, "required": True, "fallback": (env_fallback, list(variables))}


GITHUB_TOKEN = token("GH_TOKEN", "GITHUB_TOKEN")
FLY_TOKEN = token("FLY_API_TOKEN", "FLY_ACCESS_TOKEN")


def network(parameters: Mapping[str, Any]) -> Network:
    """How the service is to be reached."""
    return Network(parameters["ca_path"] or "", parameters["timeout"], parameters["patience"])


def seconds_faults(parameters: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options that are seconds."""
    faults = [f"{name}: it must be more than 0 seconds" for name in ("timeout", "wait_timeout")
              if not parameters.get(name, 1) > 0]  # fmt: skip
    return faults + (["patience: it must not be less than 0 seconds"] if parameters["patience"] < 0 else [])


def difference(target: str, before: list[str], after: list[str]) -> list[dict[str, str]]:
    """What --diff shows of one target, from lines; nothing where nothing changes."""
    if not before and not after:
        return []
    return [{"before_header": target, "after_header": target, "before": "".join(before), "after": "".join(after)}]
