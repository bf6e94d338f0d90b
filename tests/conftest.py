# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of all tests: a PostgreSQL server per run, a database per test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import majors
from tests.servers import Database, PrivateServer, Server, Servers, scrub_environment

scrub_environment()
time.tzset()

SERVERS = pytest.StashKey[Servers]()
# Files of more than twenty seconds beside others, about in the order of their length.
LONGEST = (
    "test_hourly",
    "test_strangers",
    "test_sql_commands",
    "test_secrets",
    "test_vtchat_objects",
    "test_paths",
    "test_maintenance",
    "test_index",
    "test_runbook",
    "test_thousands",
    "test_maintainer",
    "test_provision",
    "test_odd_answers",
    "test_history_locks",
    "test_refresh_walk",
    "test_page_browser",
    "test_plans",
    "test_examples",
    "test_sql_object_random",
    "test_leaks",
    "test_alert_rules",
    "test_github_secrets_leaks",
)


def pytest_configure(config: pytest.Config) -> None:
    """The controlling process makes the servers' directory; xdist's workers are told."""
    if hasattr(config, "workerinput"):
        config.stash[SERVERS] = Servers(Path(config.workerinput["servers"]))
    else:
        config.stash[SERVERS] = Servers.create()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where the servers are."""
    node.workerinput["servers"] = str(node.config.stash[SERVERS].directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Also called after Ctrl-C."""
    if SERVERS in config.stash and not hasattr(config, "workerinput"):
        config.stash[SERVERS].remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests come first, as they are quick, and then the long files: in the end no worker has one while the others wait."""

    def turn(item: pytest.Item) -> int:
        if "unit" in item.path.parts:
            return -1
        return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Servers:
    """All servers of this run; for tests that start their own."""
    return pytestconfig.stash[SERVERS]


@pytest.fixture(scope="session")
def server(servers: Servers) -> Server:
    """The PostgreSQL 18 server that all tests share: do not stop it, do not change its settings."""
    return servers.shared()


@pytest.fixture(scope="session")
def postgres15(servers: Servers) -> Server:
    """A PostgreSQL 15 server that all tests share; what differs before 16 and 17 is there as on 14."""
    return majors.server(servers, 15)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """An empty database."""
    yield from _closing(server.create_database())


@pytest.fixture
def vtchat_database(server: Server) -> Iterator[Database]:
    """A database with VTChat's schema, 2 000 users and 9 000 sessions, of which 3 000 are expired."""
    yield from _closing(server.create_database(server.vtchat_template()))


@pytest.fixture
def private_server(servers: Servers) -> Iterator[PrivateServer]:
    """A PostgreSQL 18 server of one's own: start(), stop(), restart(name=value), crash()."""
    private = servers.private()
    yield private
    private.embedded.remove()


def _closing(made: Database) -> Iterator[Database]:
    yield made
    made.close()
