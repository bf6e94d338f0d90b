# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pgbench with a script of ours: latency of each transaction."""

from __future__ import annotations

import math
import subprocess
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers import Database


def latencies(
    database: Database, directory: Path, script: str, *options: str, until: Callable[[], object] | None = None
) -> list[float]:
    """Seconds of each transaction, in order of their end. With ``until``, pgbench is ended as soon as that returns.

    Raises RuntimeError if pgbench fails.
    """
    mark = uuid.uuid4().hex
    file = directory / f"{mark}.sql"
    file.write_text(script, encoding="utf-8")
    command = [str(database.server.bin / "pgbench"), "--no-vacuum", "--log", f"--log-prefix={mark}", f"--file={file}", *options,
               database.dsn]  # fmt: skip
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            if until is not None:
                until()
        finally:
            if until is not None:
                process.terminate()
        output, _ = process.communicate()
    if process.returncode and until is None:
        raise RuntimeError(f"pgbench: {output[-1000:]}")
    return _read(directory, mark)


def _read(directory: Path, mark: str) -> list[float]:
    """The logs of all threads. The last line of one that was ended may be cut off."""
    rows = []
    for log in directory.glob(f"{mark}.*"):
        if log.suffix != ".sql":
            lines = log.read_text(encoding="ascii").splitlines()[:-1]
            rows += [line.split() for line in lines]
    # client, transaction, microseconds, script, second, microsecond; with a rate the first figure includes the wait
    rows.sort(key=lambda row: (int(row[4]), int(row[5])))
    return [int(row[2]) / 1e6 for row in rows]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this part of all values does not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
