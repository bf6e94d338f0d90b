# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it costs to ask how a database is."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

from tests.bench.application import perform
from tests.bench.hourly import Playbooks, small, told
from tests.bench.measure import Ratio, Report, interleaved
from tests.bench.workshop import LOADING, Workshop
from tests.servers import REPOSITORY
from tests.tables import CROWD, MAKE_CROWD
from tests.vtchat import plans

HEALTH = Path("playbooks/health.yml")


def health(workshop: Workshop, report: Report) -> None:
    """Health of the demo, whole process, against an empty ansible-playbook; and of 5 000 tables, at the server."""
    database = small(workshop)
    playbooks = Playbooks(workshop.directory, database)
    for plan in ("hourly", "weekly"):
        perform("run", database.dsn, plan=plan, steps=plans()[plan]["steps"])
    run = partial(playbooks.run, HEALTH, REPOSITORY / "ansible.cfg")
    found = interleaved(workshop.rounds, health=run, empty=partial(playbooks.run, playbooks.write("empty", [])))
    walls = [timing.wall for timing in found["health"]], [timing.wall for timing in found["empty"]]
    report.at_most("health / empty ansible-playbook", told(*walls), Ratio.of(*walls), 1.8)

    crowd = workshop.server("quick", LOADING).create_database()
    crowd.sql("CREATE SCHEMA many")
    crowd.sql(MAKE_CROWD)
    crowd.sql("VACUUM ANALYZE")
    perform("analyze", crowd.dsn, tables=["many.t_1"])  # makes a history
    results = [perform("health_info", crowd.dsn) for _round in range(workshop.rounds)]
    seconds, turns = statistics.median(one["seconds"] for one in results), results[-1]["turns"]
    report.judge(f"health of {CROWD:,} tables, connecting included", f"{seconds:.2f} s", None, "<= 2 s", seconds <= 2)
    report.judge("turns of it", str(turns), None, "<= 6", turns <= 6)
    crowd.close()
