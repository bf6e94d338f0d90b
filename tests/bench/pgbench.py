# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pgbench with a script of ours: latency of each transaction."""

from __future__ import annotations

import math
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Database

WARM = 3  # seconds until connections and caches are warm


@dataclass(frozen=True)
class Transaction:
    """One transaction of the load. ended: when, in seconds; latency: seconds, with what it had to wait to begin."""

    ended: float
    latency: float


def latencies(database: Database, directory: Path, script: str, *options: str) -> list[float]:
    """Seconds of each transaction. Raises RuntimeError if pgbench fails."""
    mark, command = _command(database, directory, script, *options)
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pgbench: {(done.stdout + done.stderr)[-1000:]}")
    return [one.latency for one in _read(directory, mark)]


@dataclass(frozen=True)
class Beside:
    """Transactions beside some work, which began at second 0 and took so long."""

    transactions: list[Transaction]
    took: float

    @property
    def before(self) -> list[float]:
        """Seconds of each transaction that was over before the work began."""
        return [one.latency for one in self.transactions if one.ended < 0]

    @property
    def meanwhile(self) -> list[float]:
        """Seconds of each transaction that was under way while the work was."""
        return [one.latency for one in self.transactions if one.ended > 0 and one.ended - one.latency < self.took]


def beside(
    database: Database,
    directory: Path,
    script: str,
    *options: str,
    seconds: tuple[int, int],
    work: Callable[[], object],
) -> Beside:
    """A load before, during and after some work.

    seconds: how long the load runs alone, after the first three, and how long it goes on at most when the work begins. All of
    it in one run of pgbench, which is not ended early: it would lose what its log has in memory. Raises RuntimeError if
    pgbench fails, or the work takes longer.
    """
    alone, most = seconds
    mark, command = _command(database, directory, script, f"--time={WARM + alone + most}", *options)
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        started = time.time()
        time.sleep(WARM + alone)
        began = time.time()
        work()
        took = time.time() - began
        output, _ = process.communicate()
    if process.returncode or took > most:
        raise RuntimeError(f"pgbench: {output[-1000:]}" if process.returncode else f"more than {most} s")
    found = (Transaction(one.ended - began, one.latency) for one in _read(directory, mark))
    return Beside([one for one in found if one.ended > started + WARM - began], took)


def _command(database: Database, directory: Path, script: str, *options: str) -> tuple[str, list[str]]:
    """What marks the log's files, and how pgbench is called."""
    mark = uuid.uuid4().hex
    file = directory / f"{mark}.sql"
    file.write_text(script, encoding="utf-8")
    return mark, [str(database.server.bin / "pgbench"), "--no-vacuum", "--log", f"--log-prefix={mark}", f"--file={file}",
                  *options, database.dsn]  # fmt: skip


def _read(directory: Path, mark: str) -> list[Transaction]:
    """The logs of all threads: client, transaction, microseconds, script, second, microsecond."""
    lines = [
        line.split()
        for log in directory.glob(f"{mark}.*")
        if log.suffix != ".sql"
        for line in log.read_text(encoding="ascii").splitlines()
    ]
    found = [Transaction(int(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1e6) for line in lines]
    return sorted(found, key=lambda one: one.ended)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this part of all values does not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
