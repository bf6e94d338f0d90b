# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GitHub's own description of its API, fetched when a test needs it, and checks of requests and answers against it.

The description comes from the npm package of GitHub's Octokit project. It is not part of this repository; the few paths that
matter are kept in .cache, from where a second run takes them without a network.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PACKAGE = "@octokit/openapi@23.0.2"
MEMBER = "package/generated/api.github.com.json"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "openapi"
_NAME = "urn:github"
_BASIC_ERROR = {"$ref": "#/components/schemas/basic-error"}
_WANTED = re.compile(
    r"/(repos/\{owner\}/\{repo\}|orgs/\{org\})(/environments/\{environment_name\})?((/actions)?/(secrets|variables)(/.*)?)?"
    r"|/repos/\{owner\}/\{repo\}/issues(/\{issue_number\}(/comments)?)?"
    r"|/repos/\{owner\}/\{repo\}/actions/workflows(/\{workflow_id\}(/(enable|dispatches|runs))?)?"
)
_EXAMPLES = (
    "full-repository-default-response",
    "organization-full",
    "public-repository-paginated",
    "issue",
    "issue-comment",
    "workflow",
    "workflow-run-paginated",
)


class Contract:
    """What GitHub says that it takes and gives. Every method raises AssertionError with what is wrong."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths: dict[str, dict[str, Any]] = document["paths"]
        self._components: dict[str, Any] = document["components"]
        self._validators: dict[int, Draft202012Validator] = {}
        self._registry: Registry[Any] = Registry().with_resource(_NAME, DRAFT202012.create_resource(document))
        self._patterns = [(re.compile(re.sub(r"\{\w+\}", "([^/]+)", path)), path) for path in sorted(self._paths)]

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """The path as the description writes it, and what it says about the method. Fixed words win over parameters."""
        matches = [name for pattern, name in self._patterns if pattern.fullmatch(path)]
        names = sorted(
            (name for name in matches if method.lower() in self._paths[name]), key=lambda name: name.count("{")
        )
        assert names, f"GitHub's description has no {method} {path}"
        return names[0], self._paths[names[0]][method.lower()]

    def check_request(self, method: str, path: str, query: dict[str, str], body: Any) -> str:
        """The path as the description writes it."""
        name, operation = self.operation(method, path)
        parameters = [self._resolved(one) for one in operation.get("parameters", ())]
        known = {one["name"]: one for one in parameters if one["in"] == "query"}
        for key, value in query.items():
            assert key in known, f"{method} {name} has no parameter {key}"
            assert known[key]["schema"]["type"] != "integer" or value.isdigit(), f"{key}={value} is not a number"
            assert value in known[key]["schema"].get("enum", [value]), (
                f"{key}={value} is not one of the values of {name}"
            )
            most = re.search(r"max (\d+)", known[key].get("description", ""))
            assert not most or int(value) <= int(most[1]), f"{key}={value} is more than {most and most[1]}"
        described = operation.get("requestBody")
        assert body is None or described, f"{method} {name} takes no body"
        if described and (body is not None or described.get("required")):
            schema = described["content"]["application/json"]["schema"]
            unknown = set(body or ()) - set(schema.get("properties", ()))
            assert not unknown, f"{method} {name} does not know {unknown}"
            self._check(schema, body, f"the body of {method} {name}")
        return name

    def check_answer(self, method: str, path: str, status: int, body: Any) -> None:
        name, operation = self.operation(method, path)
        described = operation["responses"].get(str(status))
        if described is None:
            assert status >= 300, f"{method} {name} never answers {status}"
            self._check(_BASIC_ERROR, body, f"the error of {method} {name}")
            return
        content = self._resolved(described).get("content", {}).get("application/json")
        assert (body is None) == (content is None), f"{method} {name}: {status} with body {body!r}"
        if content is not None:
            self._check(content["schema"], body, f"the answer {status} of {method} {name}")

    def example(self, name: str) -> dict[str, Any]:
        """A new copy of one of the description's examples."""
        value: dict[str, Any] = json.loads(json.dumps(self._components["examples"][name]["value"]))
        return value

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in part:
            _hash, _components, kind, name = part["$ref"].split("/")
            part = self._components[kind][name]
        return part

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """Made once for each part of the description; they live as long as the description does."""
        made = self._validators.get(id(schema))
        if made is None:
            text = json.dumps(schema).replace('"#/', f'"{_NAME}#/')
            made = self._validators[id(schema)] = Draft202012Validator(json.loads(text), registry=self._registry)
        return made

    def _check(self, schema: dict[str, Any], value: Any, what: str) -> None:
        faults = list(self._validator(schema).iter_errors(value))
        # Only where, never what: values of secrets travel here.
        assert not faults, f"{what}: {[(list(fault.absolute_path), fault.validator) for fault in faults]}"


@functools.cache
def load() -> Contract:
    """The description, from the cache or the registry of npm; without either, the test is skipped (in CI it fails)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # What is kept depends on what is wanted, too.
    part = hashlib.sha256(f"{_WANTED.pattern}{_EXAMPLES}".encode()).hexdigest()[:8]
    kept = CACHE / f"github-{PACKAGE.rpartition('@')[2]}-{part}.json"
    with open(CACHE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _fetch(kept)
    return Contract(json.loads(kept.read_text(encoding="utf-8")))


def _fetch(kept: Path) -> None:
    work = CACHE / "download"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        # With a cache of its own: npm fails where the home cannot be written.
        command = ["npm", "pack", "--silent", "--cache", str(work / "npm"), PACKAGE]
        subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=600)
        with tarfile.open(next(work.glob("*.tgz"))) as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None
            document = json.load(member)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs npm and its registry, for GitHub's description of its API: {error}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    beside = kept.with_suffix(".new")
    beside.write_text(json.dumps(_slice(document)), encoding="utf-8")
    beside.replace(kept)


def _slice(document: dict[str, Any]) -> dict[str, Any]:
    """The wanted paths and every component that they refer to, as JSON Schema of today."""
    paths = {path: item for path, item in document["paths"].items() if _WANTED.fullmatch(path)}
    components: dict[str, dict[str, Any]] = {"examples": {}}
    for name in _EXAMPLES:
        components["examples"][name] = document["components"]["examples"][name]
    todo = ["#/components/schemas/basic-error", *_references(paths)]
    while todo:
        _hash, _components, kind, name = todo.pop().split("/")
        if kind != "examples" and name not in components.setdefault(kind, {}):
            components[kind][name] = document["components"][kind][name]
            todo += _references(components[kind][name])
    sliced: dict[str, Any] = _modern({"paths": paths, "components": components})
    return sliced


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _modern(part: Any) -> Any:
    """OpenAPI 3.0 says nullable where JSON Schema says that null is one of the types."""
    if isinstance(part, list):
        return [_modern(one) for one in part]
    if not isinstance(part, dict):
        return part
    new = {key: _modern(value) for key, value in part.items() if key != "nullable"}
    return {"anyOf": [new, {"type": "null"}], **_hints(new)} if part.get("nullable") is True else new


def _hints(schema: dict[str, Any]) -> dict[str, Any]:
    # The list of properties is read from the outside, too.
    return {"properties": schema["properties"]} if "properties" in schema else {}
