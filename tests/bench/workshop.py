# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the parts of the benchmark share: servers of their own, databases made once, sizes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import application
from tests.servers import REPOSITORY, Database, Server, Servers

# Big enough that checkpoints and sorts on disk do not disturb; WAL only where it is the point.
LOADING = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1d",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# Where files are on a disk, and not in memory: a commit is to cost what it costs.
DISK = Path("/var/tmp")  # noqa: S108 - made by tempfile in there
# Like a server that somebody relies on: commits wait for the disk. It has been there for a while: a checkpoint leaves segments
# of the WAL to be used again, and a new one need not be filled with zeros first, for which all who commit would wait.
DURABLE = {
    "min_wal_size": "4GB",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


@dataclass
class Workshop:
    """rounds: pairs of each measurement; users, rows and tables: sizes of the large databases."""

    servers: Servers
    rounds: int = 15
    users: int = 1_000_000
    rows: int = 2_000_000
    tables: int = 5_000
    community: bool = False
    _running: dict[str, Server] = field(default_factory=dict)
    _databases: dict[str, Database] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """A place for files."""
        path = self.servers.directory / "files"
        path.mkdir(exist_ok=True)
        return path

    def server(self, name: str, settings: dict[str, str]) -> Server:
        """A server with these settings, started by the first who asks."""
        if name not in self._running:
            embedded = self.servers.embedded(name, None, **settings)
            embedded.start()
            self._running[name] = Server(embedded)
        return self._running[name]

    def database(self, name: str, users: int, sessions: int) -> Database:
        """A database in which the hourly maintenance finds nothing to do, made by the first who asks."""
        if name not in self._databases:
            made = application.new(self.server("quick", LOADING), users, sessions)
            application.settle(made)
            self._databases[name] = made
        return self._databases[name]

    def community_python(self) -> Path | None:
        """Interpreter of an environment with the package ansible; None if it cannot be made."""
        environment = REPOSITORY / ".cache" / f"community-{sys.version_info.major}.{sys.version_info.minor}"
        python = environment / "bin" / "python"
        done = environment / "complete"
        if not done.exists():
            install = [
                python,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "ansible",
                "psycopg2-binary",
            ]
            for command in ([sys.executable, "-m", "venv", "--clear", environment], install):
                if subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode:
                    return None
            done.touch()
        return python
