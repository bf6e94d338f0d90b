# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for the actions that the workflows use: each checks its inputs as the action does, and leaves what others see."""

from __future__ import annotations

import glob
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.checkout import ROOT
from tests.workflows.hub import Event, Repository
from tests.workflows.records import Artifact, Job, Run, Step
from tests.workflows.shell import Place

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass
class Surroundings:
    """What an action can reach."""

    repositories: dict[str, Repository]
    event_repository: str
    event: Event
    run: Run
    job: Job
    place: Place
    directory: Path


# In each folder that is used again, the files in which the last commit there differed from this repository
_changed: dict[Path, set[str]] = {}


class ActionError(Exception):
    """The action would end the step with this message."""


def _needs(at: Surroundings, **permissions: str) -> None:
    for name, level in permissions.items():
        scope = name.replace("_", "-")
        if at.job.permissions.get(scope) not in (level, "write"):
            raise ActionError(f"Resource not accessible by integration: {scope}: {level}")


def checkout(step: Step, at: Surroundings) -> None:
    """The files of a commit, in the folder where the job works or below it."""
    name = step.inputs.get("repository") or at.event_repository
    commit = step.inputs.get("ref") or at.event.commit
    if name not in at.repositories or commit not in at.repositories[name].commits:
        raise ActionError(f"fatal: couldn't find remote ref {commit} of {name}")
    _needs(at, contents="read")
    if step.inputs.get("persist-credentials", "true") != "false":
        raise AssertionError("persist-credentials: false is missing, any later step could read the token")
    repository = at.repositories[name]
    step.outputs = {"ref": at.event.ref, "commit": commit}
    if repository.directory is None:
        return
    if "path" in step.inputs:
        target = at.place.workspace / step.inputs["path"]
        shutil.copytree(repository.directory, target, symlinks=True, dirs_exist_ok=True)
    else:
        again = at.place.workspace == repository.directory
        assert not again or step.inputs.get("clean") == "false", "clean: false is missing: .venv and .embedded would go"
        target = at.place.workspace = repository.directory
    for path in _changed.pop(target, ()):
        shutil.copy2(ROOT / path, target / path) if (ROOT / path).exists() else (target / path).unlink()
    for path, content in repository.commits[commit].items():
        (target / path).write_text(content, encoding="utf-8")
    _changed[target] = set(repository.commits[commit])


def setup_python(step: Step, at: Surroundings) -> None:
    """An interpreter in front of PATH; on this machine it is the one of the tests, whatever version was asked for."""
    version = step.inputs.get("python-version", "")
    if "python-version-file" in step.inputs:
        named = at.place.workspace / step.inputs["python-version-file"]
        if not named.exists():
            raise ActionError(f"The specified python version file at: {named} doesn't exist.")
        version = named.read_text(encoding="utf-8").strip()
    if version not in PYTHONS:
        raise ActionError(f"The version '{version}' with architecture 'x64' was not found for Ubuntu 24.04.")
    if step.inputs.get("cache"):
        for pattern in filter(None, step.inputs.get("cache-dependency-path", "").split("\n")):
            if not glob.glob(str(at.place.workspace / pattern)):
                raise ActionError(f"No file in {at.place.workspace} matched to {pattern}")
    bin_directory = at.directory / f"python-{version}"
    bin_directory.mkdir(exist_ok=True)
    base = Path(sys.base_prefix) / "bin" / "python3"
    for name in ("python", "python3", f"python{version}"):
        if not (bin_directory / name).exists():
            (bin_directory / name).symlink_to(base)
    at.place.path.append(str(bin_directory))
    step.outputs = {"python-version": version, "python-path": str(bin_directory / "python"), "cache-hit": "false"}


def upload_artifact(step: Step, at: Surroundings) -> None:
    """Files that are kept with the run."""
    name = step.inputs.get("name", "artifact")
    found: dict[str, bytes] = {}
    for pattern in filter(None, step.inputs["path"].split("\n")):
        for path in map(Path, glob.glob(str(at.place.workspace / pattern))):  # an absolute pattern stays one
            files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            root = path.parent if path.is_file() else path
            found |= {str(one.relative_to(root)): one.read_bytes() for one in files}
    if not found:
        message = f"No files were found with the provided path: {step.inputs['path']}. No artifacts will be uploaded."
        missing = step.inputs.get("if-no-files-found", "warn")
        if missing == "error":
            raise ActionError(message)
        if missing == "warn":
            step.annotate("warning", message)
        return
    if name in at.run.artifacts and step.inputs.get("overwrite") != "true":
        raise ActionError(f"an artifact with the name {name} already exists on this workflow run")
    at.run.artifacts[name] = Artifact(name, found)
    number = str(len(at.run.artifacts))
    step.outputs = {
        "artifact-id": number,
        "artifact-url": f"https://github.com/{at.event_repository}/actions/runs/1/artifacts/{number}",
    }


def upload_pages_artifact(step: Step, at: Surroundings) -> None:
    """The files of a folder, as deploy-pages wants them."""
    folder = at.place.workspace / step.inputs["path"]
    files = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    if not folder.is_dir():
        raise ActionError(f"tar: {folder}: Cannot open: No such file or directory")
    name = step.inputs.get("name", "github-pages")
    at.run.artifacts[name] = Artifact(name, files)


def deploy_pages(step: Step, at: Surroundings) -> None:
    """The site of the repository, made of that artifact."""
    _needs(at, pages="write", id_token="write")
    if step.inputs.get("artifact_name", "github-pages") not in at.run.artifacts:
        raise ActionError("No artifacts named github-pages were found for this workflow run.")
    owner, _sign, name = at.event_repository.partition("/")
    step.outputs = {"page_url": f"https://{owner}.github.io/{name}/"}


def download_artifact(step: Step, at: Surroundings) -> None:
    """The files of an artifact of this run."""
    name = step.inputs["name"]
    if name not in at.run.artifacts:
        raise ActionError(f"Unable to download artifact(s): Artifact not found for name: {name}")
    target = at.place.workspace / step.inputs.get("path", "")
    for relative, content in at.run.artifacts[name].files.items():
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        (target / relative).write_bytes(content)


def attest(step: Step, at: Surroundings) -> None:
    """A signed statement where a file comes from."""
    _needs(at, id_token="write", attestations="write")
    if not glob.glob(str(at.place.workspace / step.inputs["subject-path"])):
        raise ActionError(f"Could not find subject at path {step.inputs['subject-path']}")


@dataclass(frozen=True)
class Action:
    """An action: what stands in for it, and the inputs that its action.yml names."""

    perform: Callable[[Step, Surroundings], None]
    inputs: frozenset[str]
    required: frozenset[str] = frozenset()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACTIONS = {
    "actions/checkout": Action(
        checkout,
        _names(
            "repository ref token persist-credentials path clean fetch-depth fetch-tags submodules lfs sparse-checkout"
        ),
    ),
    "actions/setup-python": Action(
        setup_python,
        _names("python-version python-version-file cache cache-dependency-path check-latest allow-prereleases token"),
    ),
    "actions/upload-artifact": Action(
        upload_artifact,
        _names("name path if-no-files-found retention-days compression-level overwrite include-hidden-files archive"),
        _names("path"),
    ),
    "actions/download-artifact": Action(
        download_artifact, _names("name path pattern merge-multiple artifact-ids github-token"), _names("name")
    ),
    "actions/upload-pages-artifact": Action(
        upload_pages_artifact, _names("name path retention-days include-hidden-files"), _names("path")
    ),
    "actions/deploy-pages": Action(
        deploy_pages, _names("token timeout error_count reporting_interval artifact_name preview")
    ),
    "actions/attest": Action(
        attest,
        _names(
            "subject-path subject-digest subject-name subject-checksums predicate-type predicate-path predicate sbom-path"
        ),
    ),
}


def check(step: Step) -> None:
    """Refuse inputs that the action does not know, and ask for those that it needs."""
    action = ACTIONS[step.uses.partition("@")[0]]
    unknown = set(step.inputs) - action.inputs
    assert not unknown, f"{step.uses} has no input {sorted(unknown)}"
    missing = action.required - set(step.inputs)
    assert not missing, f"{step.uses} requires {sorted(missing)}"


def use(step: Step, at: Surroundings) -> None:
    """Let the action's stand-in do it."""
    try:
        ACTIONS[step.uses.partition("@")[0]].perform(step, at)
        step.outcome = "success"
    except ActionError as error:
        step.annotate("error", str(error))
        step.outcome = "failure"
