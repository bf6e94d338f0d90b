# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of the workflows that are executed, against a database of the test and a double of GitHub."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.checkout import Checkout
from tests.doubles import contract
from tests.doubles.github import GitHub
from tests.doubles.issues import Issue
from tests.servers import Database, Server
from tests.workflows import hub, language, real
from tests.workflows.hub import Environment, Event
from tests.workflows.records import Run
from tests.workflows.runner import Actions
from tests.workflows.shell import Cancel, Shell

PASSWORD = "PASSzq7#with'odd@characters"


@dataclass
class Site:
    """A checkout, and what is at GitHub; each test has its own settings, all tests of a file share the checkout."""

    checkout: Checkout
    directory: Path
    api: GitHub | None = None  # takes the tokens of jobs
    api_url: str = ""  # of an API that takes another token
    secrets: dict[str, str] = field(default_factory=dict)  # of the environment production
    variables: dict[str, str] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    shell: dict[str, Any] = field(default_factory=dict)

    def actions(self, cancel: Cancel | None = None) -> Actions:
        """GitHub with this repository, whose runs execute."""
        repository = real.repository(self.checkout.directory)
        production = Environment(self.secrets, self.variables)
        repository.environments = {"production": production, **self.environments}
        performer = Shell(self.directory, cancel, **self.shell)
        made = Actions(language.load(), repository, self.directory, performer=performer)
        made.api_url = self.api_url or made.api_url
        if self.api is not None:
            made.api_url, made.grant = self.api.url, self._grant
        return made

    def _grant(self, rights: dict[str, str]) -> str:
        """The token of a job, which may do with the double what the job may."""
        assert self.api is not None
        self.api.rights = dict(rights)
        return self.api.token

    def run(self, path: str, event: Event, cancel: Cancel | None = None) -> Run:
        """What the event makes of the workflow."""
        run = self.actions(cancel).run(path, event)
        assert run is not None
        left = [job.orphans for job in run.jobs if job.orphans]
        assert bool(left) == (cancel is not None), "only what is cancelled leaves something behind"
        return run

    def maintain(self, event: Event, cancel: Cancel | None = None) -> Run:
        """A run of database-maintenance.yml."""
        return self.run(real.DATABASE, event, cancel)

    def issues(self, state: str = "open") -> dict[str, Issue]:
        """The issues of the repository, by their titles."""
        assert self.api is not None
        return {one.title: one for one in self.api.issues.of.get(real.NAME, []) if one.state == state}


def github() -> Iterator[GitHub]:
    """The double of GitHub's API, with this repository."""
    double = GitHub(contract.load(), f"ghs_{uuid.uuid4().hex}")
    double.repositories[real.NAME] = 103
    double.add_place(real.NAME)
    yield double
    double.close()


def by_hand(kind: str = "hourly", check: bool = False) -> Event:
    """gh workflow run database-maintenance.yml -f maintenance_type=hourly"""
    return hub.dispatch(maintenance_type=kind, check=str(check).lower())


def provisioned(server: Server, checkout: Checkout) -> Database:
    """A database with VTChat's objects, and nothing done yet: a template for those of the tests."""
    database = server.create_database(server.vtchat_template())
    checkout.run("make provision INVENTORY=production", DATABASE_URL=database.dsn)
    return database


def history(database: Database) -> list[tuple[str, str]]:
    """Plan and status of all runs that maintain, in their order.

    Nobody stays connected: a run waits for what others have not yet counted.
    """
    found = database.sql("SELECT plan, status FROM maintenance.run WHERE plan <> 'health' ORDER BY started_at")
    database.close_connection()
    return [(plan, status) for plan, status in found]


def url(role: str, password: str, port: int, database: str) -> str:
    """A connection string as people write them, with a password that has to be escaped there."""
    return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"
