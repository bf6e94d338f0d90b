# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This repository as it lies at GitHub, for runs of its workflows."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from tests import matrix
from tests.checkout import ROOT, Checkout
from tests.workflows import hub
from tests.workflows.hub import Event, Repository

NAME = "vtchat/maintenance"
FILES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / hub.WORKFLOWS).glob("*.yml"))
}
DATABASE = f"{hub.WORKFLOWS}/database-maintenance.yml"
MAINTENANCE = f"{hub.WORKFLOWS}/maintenance.yml"
PROVISION = f"{hub.WORKFLOWS}/provision.yml"
SECRETS = f"{hub.WORKFLOWS}/secrets.yml"
PAGES = f"{hub.WORKFLOWS}/pages.yml"
CI = f"{hub.WORKFLOWS}/ci.yml"
RELEASE = f"{hub.WORKFLOWS}/release.yml"
HOURLY = hub.schedule("0 * * * *")
WEEKLY = hub.schedule("0 2 * * 0")

# Each workflow with every way to start it.
EVENTS: dict[str, list[Event]] = {
    DATABASE: [
        HOURLY,
        WEEKLY,
        *(
            hub.dispatch(maintenance_type=kind, check=check)
            for kind in ("hourly", "weekly", "health")
            for check in (False, True)
        ),
    ],
    PROVISION: [
        hub.pull_request(["sql/functions/one.sql"]),
        hub.pull_request(["sql/functions/one.sql"], fork=True),
        hub.push(changed=["sql/functions/one.sql"]),
    ],
    SECRETS: [
        hub.dispatch(rotate=rotate, deploy=deploy, check=check)
        for rotate in (False, True)
        for deploy in (False, True)
        for check in (False, True)
    ],
    PAGES: [hub.schedule("30 4 * * 0"), hub.dispatch()],
    CI: [hub.pull_request(), hub.pull_request(fork=True), hub.push()],
    RELEASE: [hub.push("refs/tags/v1.2.3")],
}
# What a step says that is not run where only the conditions are looked at.
OUTPUTS = {"Read the versions that are supported": dict(line.split("=", 1) for line in matrix.lines())}


def repository(directory: Path | None = None) -> Repository:
    """The repository with its workflows; a checkout brings the directory."""
    return Repository(NAME, FILES, directory)


def checkout(directory: Path) -> Checkout:
    """A copy of the repository whose .venv has the programs of the tests, so that make has nothing to install."""
    made = Checkout(directory)
    link_tools(made.directory)
    return made


def link_tools(directory: Path, programs: Iterable[Path] = ()) -> None:
    """Make a .venv of links, to these programs or to those of the tests."""
    venv = directory / ".venv"
    venv.mkdir()
    for name in ("lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    (venv / "bin").mkdir()
    for program in programs or (Path(sys.prefix) / "bin").iterdir():
        (venv / "bin" / program.name).symlink_to(program)
    stamp_tools(directory)


def stamp_tools(directory: Path, core: str = "") -> None:
    """Write the stamps by which requirements/setup.sh knows what is installed; core: a release of ansible-core, too."""
    requirements = directory / "requirements"
    lines = (
        f"{directory.resolve()}\n{platform.python_implementation()} {sys.version_info.major} {sys.version_info.minor}\n"
    )
    more = (requirements / "core" / f"{core}.txt").read_text(encoding="utf-8") if core else ""
    for kind in ("runtime", "dev"):
        lock = (requirements / f"{kind}.txt").read_text(encoding="utf-8")
        (directory / ".venv" / f"stamp-{kind}").write_text(lines + lock + more, encoding="utf-8")
