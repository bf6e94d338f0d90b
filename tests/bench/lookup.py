# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look-up in user_subscription_summary against the join that it replaces."""

from __future__ import annotations

import statistics
from functools import partial

from tests.bench.measure import Ratio, Report, interleaved
from tests.bench.pgbench import latencies
from tests.bench.workshop import Workshop
from tests.servers import Database

COLUMNS = "is_vt_plus, subscription_status, current_period_end, user_plan_slug"
VIEW = f"SELECT user_id, {COLUMNS} FROM user_subscription_summary WHERE user_id = 'user_' || :n LIMIT 1;"
JOIN = """
SELECT u.id AS user_id, s.plan IN ('vt_plus', 'vt-plus') AND s.status = 'active' AS is_vt_plus,
       s.status AS subscription_status, s.current_period_end, s.plan AS user_plan_slug
FROM users AS u LEFT JOIN user_subscriptions AS s ON s.user_id = u.id WHERE u.id = 'user_' || :n LIMIT 1;
"""
INDEX = "CREATE INDEX bench_user_id ON user_subscriptions (user_id)"


def lookup(workshop: Workshop, report: Report) -> None:
    """One user's subscription at the server: the view against the join it replaces, without and with an index for it."""
    database = workshop.database("large", workshop.users, workshop.users * 10)
    report.note(
        "the application's schema has no index on user_subscriptions.user_id; with one, the join is a look-up too"
    )
    _compare(workshop, report, database, "view / join", 5)
    database.sql(INDEX)
    try:
        _compare(workshop, report, database, "view / join with an index on user_id", 3000)
    finally:
        database.sql("DROP INDEX bench_user_id")


def _compare(workshop: Workshop, report: Report, database: Database, what: str, joins: int) -> None:
    measure = partial(_median, workshop, database)
    found = interleaved(workshop.rounds, view=partial(measure, VIEW, 3000), join=partial(measure, JOIN, joins))
    figures = f"{statistics.median(found['view']) * 1e3:.3f} / {statistics.median(found['join']) * 1e3:.3f} ms"
    report.line(what, figures, Ratio.of(found["view"], found["join"]))


def _median(workshop: Workshop, database: Database, query: str, count: int) -> float:
    """Median latency of prepared look-ups of users by chance, one client on the server's socket."""
    script = f"\\set n random(1, {workshop.users})\n{query}"
    return statistics.median(
        latencies(database, workshop.directory, script, "--protocol=prepared", f"--transactions={count}")
    )
