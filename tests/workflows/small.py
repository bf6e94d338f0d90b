# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small workflows, for tests of the runner itself."""

from __future__ import annotations

import textwrap
from typing import Any

from tests.workflows import hub
from tests.workflows.hub import Event
from tests.workflows.records import Run
from tests.workflows.runner import Actions

PATH = ".github/workflows/first.yml"


def workflow(jobs: str, on: str = "[push, workflow_dispatch, pull_request]") -> str:
    body = textwrap.indent(textwrap.dedent(jobs), "  ")
    return f"name: First\non: {on}\npermissions: {{contents: read, issues: write}}\njobs:\n{body}"


def start(github: Actions, text: str, event: Event | None = None, **files: str) -> Run:
    github.repository.files = {
        PATH: text,
        **{f".github/workflows/{name}.yml": content for name, content in files.items()},
    }
    run = github.run(PATH, event or hub.push())
    assert run is not None
    return run


def script(text: str, **settings: Any) -> str:
    """A job of one step."""
    lines = [f"      {name.replace('_', '-')}: {value}" for name, value in settings.items()]
    body = textwrap.indent(textwrap.dedent(text).strip(), " " * 10)
    return "\n".join(
        ["one:", "  runs-on: ubuntu-24.04", "  steps:", "    - name: It", *lines, "      run: |", body, ""]
    )
