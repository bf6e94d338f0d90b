# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server of each supported major release."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import majors
from tests.servers import Database, Server, Servers


@pytest.fixture(scope="module", params=majors.MAJORS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """One at a time; of each process its own."""
    made = majors.server(servers, request.param, f"plans-{os.getpid()}-")
    yield made
    made.embedded.remove()


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A database that is dropped at the end."""
    made = server.create_database()
    yield made
    made.close()
