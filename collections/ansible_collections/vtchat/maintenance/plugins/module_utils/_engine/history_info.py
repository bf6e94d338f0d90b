# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The module history_info: what earlier runs did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from .._errors import OptionError
from .._postgres.connect import ConnectionOptions, open_session
from .._spec import Spec
from . import history_alone

SPEC = Spec({
    "plan": {"type": "str"},
    "target": {"type": "str"},
    "limit": {"type": "int", "default": 10},
})  # fmt: skip


@dataclass(frozen=True)
class Question:
    """Which runs: of a plan, about a target, the latest so many."""

    plan: str | None
    target: str | None
    limit: int


def with_files(arguments: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """It has no files."""
    return arguments


def read(parameters: Mapping[str, Any]) -> Question:
    """The question. Raises OptionError."""
    if parameters["limit"] < 1:
        raise OptionError(["limit: must be at least 1"])
    return Question(parameters["plan"], parameters["target"], parameters["limit"])


def perform(
    connection: ConnectionOptions, question: Question, check: bool, progress: Callable[[str, str, float], None]
) -> dict[str, Any]:
    """The answer. Raises MaintenanceError."""
    opened = open_session(
        connection,
        "vtchat.maintenance history_info",
        statement_timeout=60.0,
        read_only=True,
        writes=False,
        standby=True,
    )
    with closing(opened) as session:
        runs = history_alone.recent(session, question.plan, question.target, question.limit)
        return {"changed": False, "runs": runs, "server": session.server.summary()}
