# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Grafana makes SQL of a query of a dashboard: first variables, then macros, as its PostgreSQL data source does.

Source: Grafana, packages/scenes (format "sqlstring", a custom value of All) and pkg/tsdb/grafana-postgresql-datasource/macros.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]|\$(\w+)")
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Text:
    """What a variable is that Grafana does not format: the custom value of All."""

    text: str


Variables = Mapping[str, "Text | Sequence[str]"]


@dataclass(frozen=True)
class Window:
    """The time that is looked at, and how much of it a point of a graph stands for."""

    begin: datetime
    end: datetime
    interval: timedelta

    def expanded(self, query: str, variables: Variables) -> str:
        """The SQL. Raises LookupError for a variable or a macro that there is not."""
        text = _VARIABLE.sub(lambda found: self._variable(found, variables), query)
        return _MACRO.sub(self._macro, text)

    def _variable(self, found: re.Match[str], variables: Variables) -> str:
        name, form = found[1] or found[3] or found[5], found[2] or found[4]
        if name == "__interval":
            return f"{self.interval.total_seconds():.0f}s"
        if name.startswith("__"):
            return found[0]
        value = variables[name]
        if isinstance(value, Text):
            return value.text
        if form != "sqlstring":
            raise LookupError(f"{found[0]} would not be quoted")
        return ",".join("'" + one.replace("'", "''") + "'" for one in value)

    def _macro(self, found: re.Match[str]) -> str:
        name, arguments = found[1], [one.strip() for one in found[2].split(",")]
        if name == "__timeFilter":
            return f"{arguments[0]} BETWEEN '{_moment(self.begin)}' AND '{_moment(self.end)}'"
        if name in ("__timeGroup", "__timeGroupAlias"):
            seconds = _seconds(arguments[1])
            group = f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
            return f'{group} AS "time"' if name == "__timeGroupAlias" else group
        raise LookupError(f"unknown macro {name}")


def _moment(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(interval: str) -> int:
    found = re.fullmatch(r"'?([0-9]+)([smhd])'?", interval)
    if not found:
        raise LookupError(f"no interval: {interval}")
    return int(found[1]) * _UNITS[found[2]]
