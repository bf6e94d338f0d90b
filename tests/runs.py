# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the maintenance in tests: in this process through the edge, or as a playbook in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.servers import Database

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = str(Path(sys.executable).with_name("ansible-playbook"))


def perform(name: str, dsn: str, /, check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module of that name returns."""
    return _edge.perform(_edge.validated(name, {"dsn": dsn, **options}), check)


def only(result: Mapping[str, Any]) -> dict[str, Any]:
    """The one action of a result."""
    assert len(result["actions"]) == 1, result
    action: dict[str, Any] = result["actions"][0]
    return action


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait for a condition, and return what has met it.

    Not looked at again by the caller: a session that sleeps or waits for a lock wakes up each second for a moment, to see
    whether there is a deadlock or whether its client is still there.
    """
    end = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return met


class Clock:
    """What a budget goes by, in the place of time.monotonic(): it can be put forward where little time is to be left.

    A small budget from the start may be used up before a slow machine has come to the place that a test is about.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._made: list[policy.Budget] = []

    def budget(self, seconds: float) -> policy.Budget:
        """In the place of policy.Budget."""
        self._made.append(policy.Budget(seconds, clock=lambda: time.monotonic() + self._ahead))
        return self._made[-1]

    def leave(self, seconds: float) -> None:
        """So much is left from now on, of the latest budget."""
        self._ahead += self._made[-1].left() - seconds


def window(opens: float, closes: float, zone: str = "UTC") -> dict[str, str]:
    """The option ``window``: from so many hours from now on until so many."""
    now = datetime.now(ZoneInfo(zone))
    times = [f"{now + timedelta(hours=hours):%H:%M}" for hours in (opens, closes)]
    return {"not_before": times[0], "not_after": times[1], "timezone": zone}


def settings(directory: Path) -> dict[str, str]:
    """The environment of ansible-playbook with our configuration; everything it writes goes below ``directory``."""
    return {
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        "TMPDIR": str(directory),
        "VTCHAT_MAINTENANCE_JSON": str(directory / "summary.json"),
    }


def command(
    directory: Path, plays: list[dict[str, Any]], variables: Mapping[str, Any], *arguments: str
) -> tuple[list[str], dict[str, str]]:
    """ansible-playbook for plays, and its environment; everything it writes goes below ``directory``."""
    (directory / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    (directory / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
    given = ["-i", "localhost,", "-e", f"@{directory / 'variables.json'}", *arguments, str(directory / "play.yml")]
    return [PROGRAM, *given], {**os.environ, **settings(directory)}


def playbook(
    directory: Path,
    plays: list[dict[str, Any]],
    variables: Mapping[str, Any],
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run plays with ansible-playbook."""
    program, known = command(directory, plays, variables, *arguments)
    known.update(environment or {})
    return subprocess.run(program, env=known, cwd=directory, capture_output=True, text=True, timeout=600, check=False)


@contextmanager
def holding(database: Database, *statements: str) -> Iterator[Any]:
    """Another session that has run these in an open transaction."""
    with closing(database.connect()) as connection:
        connection.autocommit = False
        for statement in statements:
            connection.cursor().execute(statement)
        yield connection
        if not connection.closed:
            connection.rollback()  # at once: a server notices some time later that a connection is closed
