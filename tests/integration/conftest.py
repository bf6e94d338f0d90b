# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import (
    coming,
    create,
    obstacles,
)
from tests.objects import TABLE
from tests.runs import perform
from tests.servers import Database, Server
from tests.tables import MAKE_CROWD


@pytest.fixture(scope="session")
def crowd(server: Server) -> Database:
    """5 000 empty tables, in the schema many, for all tests that need so many. What a test adds is in another schema.

    It goes with the server: to drop so many files takes longer than to make them.
    """
    made = server.create_database()
    made.sql("CREATE SCHEMA many")
    made.sql(MAKE_CROWD)
    return made


@pytest.fixture(scope="module")
def kept(server: Server) -> Iterator[Database]:
    """A database with a history, for tests of alerts: each is about a name of its own."""
    made = server.create_database()
    made.sql("CREATE TABLE t (id int)")
    perform("analyze", made.dsn, tables=["t"])
    yield made
    made.close()


@pytest.fixture
def unhurried() -> Iterator[None]:
    """What looks at partitions has time: a server that stands still for two seconds is not what most tests are about."""
    with pytest.MonkeyPatch.context() as patch:  # one of its own, which a test that undoes its own leaves alone
        for where, name in ((obstacles, "BLOCKING"), (obstacles, "LOOKING"), (create, "BLOCKING"), (coming, "READING")):
            patch.setattr(where, name, 100.0)
        yield


@pytest.fixture
def items(database: Database) -> Database:
    """A database with a table that scripts are about."""
    database.sql(TABLE)
    return database
