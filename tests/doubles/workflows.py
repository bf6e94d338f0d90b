# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflows of the double of GitHub, and their runs: its answers are those of the description's examples."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.contract import Contract
from tests.doubles.service import Reply, Request

PATH = re.compile(r"/repos/([^/]+/[^/]+)/actions/workflows(?:/([^/]+)(?:/(enable|dispatches|runs))?)?")
# What `gh workflow run` asks for the default branch; it is in no description of the REST API.
GRAPHQL = "/graphql"


@dataclass
class Workflow:
    """A workflow file. ``started``: the inputs of each run that was asked for by hand; ``runs``: (event, conclusion) of all."""

    number: int
    name: str
    file: str
    state: str = "active"
    started: list[dict[str, Any]] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)


class Workflows:
    """Those of all repositories, by name."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.of: dict[str, list[Workflow]] = {}

    def add(self, repository: str, name: str, file: str, **more: Any) -> Workflow:
        """A workflow that lies in a repository."""
        there = self.of.setdefault(repository, [])
        there.append(Workflow(161335 + len(there), name, file, **more))
        return there[-1]

    def answer(self, request: Request) -> Reply:
        """The answer to a request that matches PATH."""
        match = PATH.fullmatch(request.path)
        assert match is not None
        repository, which, action = match[1].lower(), match[2], match[3]
        there = self.of.get(repository, [])
        if which is None:
            return Reply(200, {"total_count": len(there), "workflows": [self._shown(one) for one in there]})
        found = next((one for one in there if which in (one.file, str(one.number))), None)
        if found is None:
            return Reply(404, {"message": "Not Found", "documentation_url": "", "status": "404"})
        if action == "runs":
            return Reply(200, self._runs(found, int(request.query.get("per_page", 30))))
        if action is None:
            return Reply(200, self._shown(found))
        return self._changed(found, action, request.body)

    def branch(self, variables: dict[str, str]) -> Reply:
        """What GRAPHQL says of a repository."""
        owner = {"login": variables["owner"]}
        known = {"id": "R_1", "name": variables["name"], "owner": owner, "defaultBranchRef": {"name": "main"}}
        return Reply(200, {"data": {"repository": {**known, "hasIssuesEnabled": True, "viewerPermission": "ADMIN"}}})

    def _changed(self, workflow: Workflow, action: str, body: Any) -> Reply:
        if action == "enable":
            workflow.state = "active"
            return Reply(204)
        if workflow.state != "active":
            message = "Cannot trigger a 'workflow_dispatch' on a disabled workflow"
            return Reply(422, {"message": message, "documentation_url": "", "status": "422"})
        workflow.started.append(body.get("inputs", {}))
        workflow.runs.insert(0, ("workflow_dispatch", "success"))
        return Reply(204)

    def _shown(self, workflow: Workflow) -> dict[str, Any]:
        shown = self.contract.example("workflow")
        path = f".github/workflows/{workflow.file}"
        return {**shown, "id": workflow.number, "name": workflow.name, "path": path, "state": workflow.state}

    def _runs(self, workflow: Workflow, most: int) -> dict[str, Any]:
        example = self.contract.example("workflow-run-paginated")["workflow_runs"][0]
        known = {"name": workflow.name, "workflow_id": workflow.number, "status": "completed", "head_branch": "main"}
        runs = [{**example, **known, "id": 30433642 - number, "event": event, "conclusion": conclusion}
                for number, (event, conclusion) in enumerate(workflow.runs)]  # fmt: skip
        return {"total_count": len(runs), "workflow_runs": runs[:most]}
