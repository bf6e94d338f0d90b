# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hourly maintenance of many databases, with nothing to do: processor time that each more of them costs."""

from __future__ import annotations

import json
import os
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.bench.hourly import DEBUG, PROGRAM, small
from tests.bench.measure import Ratio, Report, interleaved, timed
from tests.bench.workshop import Workshop
from tests.servers import REPOSITORY

DATABASES = 60
RUN = {"name": "Run", "vtchat.maintenance.run": {"dsn": "{{ maintenance_dsn }}", "plan": "hourly"}}
ROLE = {"name": "Hourly", "ansible.builtin.import_role": {"name": "maintenance"}}


class Fleet:
    """Copies of a database as hosts. Nothing of ours is in ansible.cfg but where the collection and the roles are."""

    def __init__(self, workshop: Workshop) -> None:
        self.directory = workshop.directory
        template = small(workshop)
        self.dsns = [template.server.create_database(template.name).dsn for _number in range(DATABASES)]
        lines = [
            "[defaults]",
            f"collections_path = {REPOSITORY}/collections",
            f"roles_path = {REPOSITORY}/roles",
            "forks = 20",
        ]
        (self.directory / "fleet.cfg").write_text("\n".join(lines), encoding="utf-8")
        plans = yaml.safe_load((REPOSITORY / "inventories/plans.yml").read_text(encoding="utf-8"))
        steps = plans["maintenance_plans"]["hourly"]["steps"]
        run = {**RUN, "vtchat.maintenance.run": {**RUN["vtchat.maintenance.run"], "steps": steps}}  # type: ignore[dict-item]
        self.plays = {name: self._play(name, task) for name, task in (("empty", DEBUG), ("run", run), ("role", ROLE))}
        self.variables = self._written("variables.json", plans)
        self.inventories = {number: self._inventory(number) for number in (1, DATABASES)}

    def _written(self, name: str, content: Any) -> Path:
        path = self.directory / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def _play(self, name: str, task: dict[str, Any]) -> Path:
        return self._written(f"fleet-{name}.yml", [{"hosts": "all", "gather_facts": False, "tasks": [task]}])

    def _inventory(self, number: int) -> Path:
        hosts = {f"database{place:03}": {"maintenance_dsn": dsn} for place, dsn in enumerate(self.dsns[:number])}
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        return self._written(f"fleet-{number}.json", {"all": {"hosts": hosts, "vars": local}})

    def cost(self, name: str) -> float:
        """Seconds of processor that each host beyond the first costs."""
        environment = {**os.environ, "ANSIBLE_CONFIG": str(self.directory / "fleet.cfg")}
        all_of_them, one = (
            timed([PROGRAM, "-i", inventory, "-e", f"@{self.variables}", self.plays[name]], environment, self.directory)
            for inventory in (self.inventories[DATABASES], self.inventories[1])
        )
        return (all_of_them.cpu - one.cpu) / (DATABASES - 1)


def fleet(workshop: Workshop, report: Report) -> None:
    """Idle hourly run of 60 databases: processor time of each, against an empty task's."""
    fleet = Fleet(workshop)
    rounds = max(3, workshop.rounds // 3)
    found = interleaved(rounds, **{name: partial(fleet.cost, name) for name in fleet.plays})
    for name, what, limit in (("run", "module run", None), ("role", "role maintenance", 2.0)):
        ratio = Ratio.of(found[name], found["empty"])
        figures = " / ".join(f"{statistics.median(found[one]) * 1000:.1f} ms" for one in (name, "empty"))
        if limit:
            report.at_most(f"{what} / empty task, processor", figures, ratio, limit)
        else:
            report.line(f"{what} / empty task, processor", figures, ratio)
