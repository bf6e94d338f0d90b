# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reusable workflow as another repository calls it: the lines of the documentation, executed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.doubles.github import GitHub
from tests.servers import Database, Server
from tests.workflows import hub, language, real
from tests.workflows.hub import COMMIT, Environment, Event, Repository
from tests.workflows.runner import Actions
from tests.workflows.shell import Shell
from tests.workflows.site import github

PATH = ".github/workflows/maintenance.yml"
NAME = "somebody/shop"
GUIDE = (ROOT / "docs/github-actions.md").read_text(encoding="utf-8")
# The calling workflow as it is documented, in the guide and at the head of the called one
(LINES,) = re.findall(r"```yaml\n(on: .*?)```", GUIDE, re.DOTALL)
SCHEDULE = hub.schedule("7 * * * *")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The playbooks in one folder, the calling repository in another one."""
    directory = tmp_path_factory.mktemp("caller")
    real.checkout(directory / "playbooks")
    (directory / "shop/maintenance").mkdir(parents=True)
    shutil.copy(ROOT / "inventories/example/hosts.yml", directory / "shop/maintenance/hosts.yml")
    return directory


@pytest.fixture
def api() -> Iterator[GitHub]:
    """GitHub's API, with the calling repository."""
    for double in github():
        double.repositories[NAME] = 104
        double.add_place(NAME)
        yield double


@pytest.fixture
def shop(place: Path, api: GitHub, server: Server) -> Iterator[tuple[Actions, Database]]:
    """GitHub with the calling repository, and its database, of which nobody here knows anything."""
    database = server.create_database(server.vtchat_template())
    mine = Repository(NAME, {PATH: LINES.replace("<commit>", COMMIT)}, place / "shop")
    mine.environments = {"production": Environment({"DATABASE_URL": database.dsn})}
    made = Actions(language.load(), mine, place, [real.repository(place / "playbooks")], Shell(place), api.url)
    made.grant = lambda _rights: api.token
    yield made, database
    database.close()


def test_lines_of_the_guide_are_enough(shop: tuple[Actions, Database], api: GitHub) -> None:
    actions, database = shop
    run = actions.run(PATH, SCHEDULE)
    assert run is not None
    assert [(job.id, job.result) for job in run.jobs] == [
        ("maintenance / maintenance", "success"),
        ("maintenance / health", "success"),
    ]
    assert run.jobs[0].step("Check out the inventory").ran
    assert [job.permissions for job in run.jobs] == [{"contents": "read"}, {"contents": "read", "issues": "write"}]
    assert database.sql("SELECT DISTINCT plan FROM maintenance.run ORDER BY plan") == [
        ("health",),
        ("hourly",),
        ("weekly",),
    ]
    assert {request.path.split("/issues")[0] for request in api.requests} <= {f"/repos/{NAME}"}


def test_the_head_of_the_called_workflow_says_the_same() -> None:
    head = real.FILES[real.MAINTENANCE].split("name: Maintenance")[0]
    shown = re.findall(r"uses: .*|with: .*|secrets: .*|permissions: \{contents.*", head)
    assert len(shown) == 4
    assert all(line in LINES for line in shown)
    assert len(LINES.splitlines()) <= 10


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("limit: nobody", "leaves us with no hosts"),
        ("plan: nightly", "nightly"),
        ("limit: 'example;touch${IFS}here'", "nothing was done: LIMIT must have no"),
        ("limit: 'example;touch here'", "leaves us with no hosts"),
    ],
)
def test_inputs_reach_the_playbook_and_nothing_else(
    shop: tuple[Actions, Database], inputs: str, said: str, place: Path
) -> None:
    actions, database = shop
    text = actions.repository.files[PATH].replace("hosts.yml}", f"hosts.yml, {inputs}}}")
    assert inputs in text
    actions.repository.files = {PATH: text}
    actions.performer = Shell(place, pretended=("Look at the database, and tell",))
    run = actions.run(PATH, SCHEDULE)
    assert run is not None
    job = run.job("maintenance / maintenance")
    assert job.result == "failure"
    assert said in " ".join(job.output.split())
    assert not list(place.rglob("here"))
    assert database.value("SELECT to_regclass('maintenance.run')") is None


def test_a_commit_that_is_not_there_starts_nothing(shop: tuple[Actions, Database]) -> None:
    actions, _database = shop
    actions.repository.files = {PATH: LINES.replace("<commit>", "v1")}
    with pytest.raises(language.WorkflowError, match=r"Unable to find|there is no"):
        actions.run(PATH, Event("schedule", {"schedule": "7 * * * *"}))
