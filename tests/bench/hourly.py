# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hourly maintenance with nothing to do: what the whole process costs, and what goes over the wire."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from tests.bench import application
from tests.bench.measure import Ratio, Report, Timing, interleaved, median_ms, timed
from tests.bench.workshop import Workshop
from tests.servers import REPOSITORY, Database
from tests.wire import counted

PROGRAM = Path(sys.executable).parent / "ansible-playbook"
PLAY = [{"name": "Nothing", "hosts": "databases", "gather_facts": False}]
DEBUG = {"name": "Nothing", "ansible.builtin.debug": {"msg": "x"}}
ROLE = {"name": "Nothing", "ansible.builtin.import_role": {"name": "nothing"}}

# The same statements as the hourly plan's, one task each, without any of its decisions.
COMMUNITY = [
    "DELETE FROM sessions WHERE expires_at <= timezone('UTC', now())",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY user_subscription_summary",
    "ANALYZE users",
    "ANALYZE user_subscriptions",
    "ANALYZE sessions",
]
ANALYZE_ALL = "ANALYZE users, user_subscriptions, sessions"


class Playbooks:
    """Runs playbooks like a user of the inventory production, against a database of the benchmark.

    ``plain.cfg`` is the repository's ansible.cfg without our callbacks.
    """

    def __init__(self, directory: Path, database: Database) -> None:
        self.directory, self.dsn = directory, database.dsn
        text = (REPOSITORY / "ansible.cfg").read_text(encoding="utf-8").replace("./", f"{REPOSITORY}/")
        lines = [line for line in text.splitlines() if "vtchat.maintenance" not in line]
        (directory / "plain.cfg").write_text("\n".join(lines), encoding="utf-8")

    def write(self, name: str, tasks: list[dict[str, Any]]) -> Path:
        """A playbook of one play."""
        path = self.directory / f"{name}.yml"
        path.write_text(json.dumps([{**PLAY[0], "tasks": tasks}]), encoding="utf-8")
        return path

    def run(
        self,
        playbook: Path | str,
        config: Path | str = "plain.cfg",
        inventory: str = "inventories/production",
        **environment: str,
    ) -> Timing:
        """Time one run, from the start of the process to its end."""
        settings = {"ANSIBLE_CONFIG": str(self.directory / config), "DATABASE_URL": self.dsn, **environment}
        command = [PROGRAM, "-i", inventory, playbook]
        return timed(command, {**os.environ, **settings}, REPOSITORY)

    def hourly(self, **environment: str) -> Timing:
        """The hourly playbook as it is."""
        return self.run("playbooks/hourly.yml", REPOSITORY / "ansible.cfg", **environment)

    def result(self, **environment: str) -> dict[str, Any]:
        """The result of the hourly plan. Raises RuntimeError unless there was nothing to do."""
        file = self.directory / "result.json"
        self.hourly(VTCHAT_MAINTENANCE_JSON=str(file), **environment)
        (run,) = json.loads(file.read_text(encoding="utf-8"))["runs"]
        if set(run["totals"]) != {"unchanged"}:
            raise RuntimeError(f"this run was not idle: {run['msg']}")
        return dict(run)


def small(workshop: Workshop) -> Database:
    """1 000 users and 10 000 sessions, nothing to do."""
    return workshop.database("small", 1_000, 10_000)


def idle(workshop: Workshop, report: Report) -> None:
    """Idle hourly run, whole process, against an empty ansible-playbook."""
    playbooks = Playbooks(workshop.directory, small(workshop))
    empty = playbooks.write("empty", [])
    found = interleaved(workshop.rounds, hourly=playbooks.hourly, empty=partial(playbooks.run, empty))
    playbooks.result()  # idle it was, or this raises
    hourly, nothing = found["hourly"], found["empty"]
    walls = [timing.wall for timing in hourly], [timing.wall for timing in nothing]
    report.at_most("idle hourly run / empty ansible-playbook", told(*walls), Ratio.of(*walls), 1.4)
    cpus = [timing.cpu for timing in hourly], [timing.cpu for timing in nothing]
    report.line("  the same in processor time", told(*cpus), Ratio.of(*cpus))


def breakdown(workshop: Workshop, report: Report) -> None:
    """Where the time of an idle hourly run goes: each line adds one thing to the line before."""
    playbooks = Playbooks(workshop.directory, small(workshop))
    role = workshop.directory / "roles" / "nothing"
    for part in ("tasks", "meta"):
        (role / part).mkdir(parents=True, exist_ok=True)
    (role / "tasks" / "main.yml").write_text(json.dumps([DEBUG]), encoding="utf-8")
    spec = {"argument_specs": {"main": {"options": {"nothing": {"type": "str"}}}}}
    empty, task, included = (
        playbooks.write(name, tasks) for name, tasks in (("empty", []), ("task", [DEBUG]), ("included", [ROLE]))
    )
    config = REPOSITORY / "ansible.cfg"

    def specified() -> Timing:
        path = role / "meta" / "argument_specs.yml"
        path.write_text(json.dumps(spec), encoding="utf-8")
        try:
            return playbooks.run(included, config)
        finally:
            path.unlink()

    found = interleaved(
        workshop.rounds,
        empty=partial(playbooks.run, empty),
        callback=partial(playbooks.run, empty, config),
        task=partial(playbooks.run, task, config),
        role=partial(playbooks.run, included, config),
        arguments=specified,
        hourly=playbooks.hourly,
    )
    texts = {
        "empty": "empty ansible-playbook",
        "callback": "+ callbacks of the repository",
        "task": "+ one task (debug)",
        "role": "+ in a role",
        "arguments": "+ whose arguments are validated",
        "hourly": "the hourly run",
    }
    before = found["empty"]
    for name, text in texts.items():
        cpu = statistics.median(timing.cpu for timing in found[name])
        wall = statistics.median(timing.wall for timing in found[name])
        more = statistics.median(a.cpu - b.cpu for a, b in zip(found[name], before, strict=True))
        report.line(text, f"{wall:.3f} s, processor {cpu:.3f} s", f"{more * 1000:+.0f} ms of processor")
        before = found[name]
    report.note("the last step has in it:")
    for text, measure in (
        ("import of action plugin, engine and driver", _import),
        ("connecting, reading the server's facts", partial(_connect, playbooks.dsn)),
        ("all turns, connecting included", _engine(small(workshop))),
    ):
        report.line(text, median_ms([measure() for _ in range(workshop.rounds)]))


def _import() -> float:
    """Seconds to import what a worker process of Ansible has to import for our task, besides Ansible itself."""
    program = "\n".join([
        "import sys, time",
        "from ansible.plugins.loader import init_plugin_loader",
        "init_plugin_loader([sys.argv[1]])",
        "import ansible.plugins.action, ansible.module_utils.basic",
        "began = time.perf_counter()",
        "import ansible_collections.vtchat.maintenance.plugins.action.run",
        "print(time.perf_counter() - began)",
    ])  # fmt: skip
    command = [sys.executable, "-c", program, str(REPOSITORY / "collections")]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _connect(dsn: str) -> float:
    began = time.perf_counter()
    with closing(open_session(ConnectionOptions.read(dsn), "bench")):
        return time.perf_counter() - began


def wire(workshop: Workshop, report: Report) -> None:
    """Turns on the wire of an idle hourly run, after connecting."""
    database = small(workshop)
    with counted(database.server) as between:
        result = Playbooks(workshop.directory, database).result(DATABASE_URL=between.dsn(database.name, "postgres"))
    count = len(between.turns)
    report.judge("turns on the wire, idle hourly run", str(count), None, "<= 8", count <= 8)
    same = result["turns"] == count
    report.judge("turns that the result of the run reports", str(result["turns"]), None, f"= {count}", same)


def busy(workshop: Workshop, report: Report) -> None:
    """The same beside a transaction that stays open: the refresh looks again, and in the end cannot prove it is idle."""
    database = small(workshop)
    with closing(database.connect()) as other, counted(database.server) as between:
        other.autocommit = False
        other.cursor().execute("UPDATE sessions SET updated_at = now() WHERE id = 'session_1'")
        result = application.run_hourly(between.dsn(database.name, "postgres"))
        other.rollback()
    count = len(between.turns)
    report.line("turns on the wire beside an open transaction", f"{count}, {result['seconds']:.1f} s", result["msg"])
    application.settle(database)


def scale(workshop: Workshop, report: Report) -> None:
    """Idle hourly run on a large database against a small one."""
    users, sessions = workshop.users, workshop.users * 10
    large = workshop.database("large", users, sessions)
    one, other = (Playbooks(workshop.directory, database) for database in (large, small(workshop)))
    found = interleaved(workshop.rounds, large=one.hourly, small=other.hourly)
    walls = [timing.wall for timing in found["large"]], [timing.wall for timing in found["small"]]
    what = f"idle, {users:,} users and {sessions:,} sessions / 1,000 and 10,000"
    report.note(what)
    report.at_most("  whole process", told(*walls), Ratio.of(*walls), 1.3)
    engines = interleaved(30, large=_engine(large), small=_engine(small(workshop)))
    ratio = Ratio.of(engines["large"], engines["small"])
    figures = f"{median_ms(engines['large'])} / {median_ms(engines['small'])}"
    report.line("  of which after connecting", figures, ratio)
    one.result()
    other.result()


def community(workshop: Workshop, report: Report) -> None:
    """Idle hourly run against tasks of community.postgresql with the same statements."""
    if not workshop.community:
        report.note("community.postgresql: not measured; --with-community installs it into .cache")
        return
    python = workshop.community_python()
    if python is None:
        report.note("community.postgresql: not measured; it cannot be installed here")
        return
    playbooks = Playbooks(workshop.directory, small(workshop))
    # A database of their own, or their REFRESH would leave our next run something to think about.
    database = workshop.database("other", 1_000, 10_000)
    socket = database.server.postmaster.socket_directory
    login = {"login_unix_socket": socket, "login_port": database.server.port, "login_user": "postgres",
             "login_db": database.name, "autocommit": True}  # fmt: skip
    (playbooks.directory / "community.cfg").write_text("[connection]\npipelining = true\n", encoding="utf-8")

    def others(name: str, queries: list[str]) -> Callable[[], Timing]:
        tasks = [
            {"name": query, "community.postgresql.postgresql_query": {**login, "query": query}} for query in queries
        ]
        command = [python.parent / "ansible-playbook", "-i", "inventories/production", playbooks.write(name, tasks)]
        environment = {"ANSIBLE_CONFIG": str(playbooks.directory / "community.cfg"), "DATABASE_URL": playbooks.dsn}
        return lambda: timed(command, {**os.environ, **environment}, REPOSITORY)

    five, three = others("five", COMMUNITY), others("three", [*COMMUNITY[:2], ANALYZE_ALL])
    found = interleaved(workshop.rounds, ours=playbooks.hourly, five=five, three=three)
    walls = {name: [timing.wall for timing in timings] for name, timings in found.items()}
    for name, text in (("five", "5 community tasks"), ("three", "3 (one ANALYZE)")):
        figures = told(walls["ours"], walls[name])
        report.at_most(f"idle hourly run / {text}", figures, Ratio.of(walls["ours"], walls[name]), 0.3)


def _engine(database: Database) -> Callable[[], float]:
    return lambda: float(application.run_hourly(database.dsn)["seconds"])


def told(one: list[float], other: list[float]) -> str:
    return f"{statistics.median(one):.2f} s / {statistics.median(other):.2f} s"
