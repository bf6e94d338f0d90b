# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Benchmark: python tests/bench [part ...]. Every figure is a ratio of things measured next to each other in one run.

Servers are its own; nobody's database is touched. The exit code is 0 even when a limit is passed, unless --check.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:1] = [str(REPOSITORY), str(REPOSITORY / "collections")]

from tests.bench import fleet, health, history, hourly, lookup, purge, weekly
from tests.bench.measure import Report
from tests.bench.workshop import DISK, Workshop
from tests.servers import Servers, scrub_environment

PARTS = {
    "idle": hourly.idle,
    "breakdown": hourly.breakdown,
    "fleet": fleet.fleet,
    "wire": hourly.wire,
    "busy": hourly.busy,
    "community": hourly.community,
    "scale": hourly.scale,
    "weekly": weekly.weekly,
    "tables": weekly.tables,
    "vacuum": weekly.vacuum,
    "health": health.health,
    "history": history.history,
    "purge": purge.purge,
    "lookup": lookup.lookup,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one or more of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each measurement (15)")
    parser.add_argument(
        "--users", type=int, default=1_000_000, help="users of scale and lookup, sessions ten times (10^6)"
    )
    parser.add_argument(
        "--rows", type=int, default=2_000_000, help="sessions for purge, half of them expired (2 * 10^6)"
    )
    parser.add_argument("--tables", type=int, default=5_000, help="tables of tables; a 25th of it for vacuum (5 000)")
    parser.add_argument("--with-community", action="store_true", help="install community.postgresql and compare")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a limit is passed")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return given


def main() -> int:
    """Run the chosen parts."""
    given = arguments()
    scrub_environment()
    report = Report()
    servers = Servers.create(DISK)
    try:
        workshop = Workshop(servers, given.rounds, given.users, given.rows, given.tables, given.with_community)
        report.note(f"Python {platform.python_version()}, ansible-core {version('ansible-core')}, "
                    f"psycopg2 {version('psycopg2-binary')}, {platform.system()} {platform.machine()}. "
                    "Medians, in parentheses the quartiles of the pairs' ratios.")  # fmt: skip
        for name in given.parts or PARTS:
            began = time.monotonic()
            report.title(f"{name}: {PARTS[name].__doc__}")
            PARTS[name](workshop, report)
            report.note(f"took {time.monotonic() - began:.0f} s")
    finally:
        servers.remove()
    if report.over:
        print(f"\nover the limit: {', '.join(what.strip() for what in report.over)}")
    return 1 if report.over and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
