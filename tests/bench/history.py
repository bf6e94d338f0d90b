# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large the history becomes."""

from __future__ import annotations

from tests.bench.measure import Report
from tests.bench.workshop import LOADING, Workshop
from tests.history import MIB, TABLES, quarter


def history(workshop: Workshop, report: Report) -> None:
    """Bytes of the history of 100 tables, maintained hourly and weekly and looked at each hour, indexes included."""
    database = workshop.server("quick", LOADING).create_database()
    sizes = quarter(database)
    database.close()
    for name, size in sorted(sizes.at_rest.items(), key=lambda one: -one[1]):
        report.line(f"{name}: at rest, written a year", f"{size / MIB:.1f} MiB, {sizes.a_year(name) / MIB:.1f} MiB")
    report.line("all of it, written a year", f"{sizes.a_year() / MIB:.1f} MiB")
    samples = sizes.a_year("sample", "finding", "counter") / MIB
    report.judge("sizes, findings, counters: a year", f"{samples:.1f} MiB", None, "<= 20 MiB", samples <= 20)
    total = sizes.total / MIB
    report.judge(f"{TABLES} tables, 90 days, at rest", f"{total:.1f} MiB", None, "<= 20 MiB", total <= 20)
