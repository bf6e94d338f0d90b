# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives in files: what was committed is there, what was not is not, wherever the process died. No database."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.archive import files

COUNTED = ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink")  # the calls at which a process may die
CHUNKS = 3


def folder(parent: Path) -> files.Folder:
    return files.Folder(parent, {"table": "t"}, "SELECT 1;")


def manifest(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((path / files.MANIFEST).read_text(encoding="utf-8"))
    return told


@given(st.lists(st.binary(max_size=50)), st.integers(1, 64))
@settings(deadline=None)
def test_what_was_written_comes_back(pieces: list[bytes], buffer: int) -> None:
    """Whatever pieces it comes in, and how much is gathered before it is compressed."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BUFFER", buffer)
        made = folder(Path(directory, "a", "b"))
        chunk = made.open()
        for piece in pieces:
            assert chunk.write(piece) == len(piece)
        made.keep(chunk, "7")
        assert [path.name for path in chunk.path.parent.glob("*.copy.gz*")] == ["000001.copy.gz.in-doubt"]
        made.confirm(chunk)
        told = manifest(chunk.path.parent)
        made.end()
        content = chunk.path.read_bytes()
        assert gzip.decompress(content) == b"".join(pieces)
        (entry,) = told["files"]
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert told["rows"] == entry["rows"] == b"".join(pieces).count(b"\n")
        assert told["ended"] is None
        assert manifest(chunk.path.parent)["ended"]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        made = folder(files.place(str(tmp_path), "db", "public", "t"))
        chunk = made.open()
        made.keep(chunk, "1")
        made.confirm(chunk)
        made.end()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o600}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)))
def test_no_name_leads_elsewhere(names: list[str]) -> None:
    path = files.place("/archive", *names)
    assert os.path.normpath(path) == str(path)
    assert len(path.parts) == 2 + len(names)
    assert all(len(files.place("/a", name[:63]).name) <= 255 for name in names if len(name.encode()) <= 63)


def test_different_names_have_different_places() -> None:
    names = [".", "..", "%2E", "a.b", "a/b", "a%2Fb", "A", "a", ".a", "%2Ea"]
    assert len({files.place("/archive", name) for name in names}) == len(names)


def chunks(parent: Path, log: int) -> None:
    """A run of several transactions, which tells when COMMIT is sent and when it is known; one is rolled back."""
    made = folder(parent)
    for number in range(CHUNKS):
        chunk = made.open()
        chunk.write(b"%d\n" % number)
        made.keep(chunk, str(number))
        tell(log, "sent", number)
        if number == 1:
            made.withdraw(chunk)
            continue
        tell(log, "committed", number)
        made.confirm(chunk)
    made.end()


REAL_WRITE = os.write


def tell(log: int, word: str, number: int) -> None:
    REAL_WRITE(log, f"{word} {number}\n".encode())


def dying(parent: Path, log: Path, calls: int) -> bool:
    """Whether a process that does it is killed, at that call to the system."""
    child = os.fork()
    if child == 0:
        left = [calls]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **keywords)

            return call

        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for name in COUNTED:
            setattr(os, name, counted(getattr(os, name)))
        try:
            chunks(parent, handle)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def became(status: dict[str, str | None], _manifest: dict[str, Any], transaction: str) -> str | None:
    """What the server says: a transaction of which COMMIT was never sent is rolled back when it misses us."""
    return status.get(transaction, "aborted")


@pytest.mark.parametrize("in_doubt", ["committed", "aborted", None])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_any_moment(tmp_path: Path, in_doubt: str | None) -> None:
    """Of a transaction of which COMMIT was sent and never answered only the server knows, or nobody does."""
    calls, killed = 0, True
    while killed:
        parent, log = tmp_path / str(calls) / "t", tmp_path / f"{calls}.log"
        killed = dying(parent, log, calls)
        said = log.read_text().split("\n") if log.exists() else []
        committed = {number for number in range(CHUNKS) if f"committed {number}" in said}
        unknown = {n for n in range(CHUNKS) if f"sent {n}" in said and n not in committed and n != 1}
        status = {str(n): "committed" for n in committed} | {str(n): in_doubt for n in unknown}
        files.settle(parent, partial(became, status))
        there = {int(gzip.decompress(path.read_bytes())) for path in parent.glob("*/*.copy.gz")}
        assert there == committed | (unknown if in_doubt == "committed" else set()), calls
        kept = {int(gzip.decompress(path.read_bytes())) for path in parent.glob("*/*.in-doubt")}
        assert kept <= (unknown if in_doubt is None else set()), calls
        for told in map(manifest, parent.glob("*/")) if there | kept else ():
            assert told["rows"] == len(told["files"])
        assert not list(parent.glob("*/*.copy.gz.tmp"))
        calls += 1
    assert calls > 40, "it was never killed"


def test_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    made = folder(tmp_path)
    chunk, other = made.open(), made.open()
    made.keep(chunk, "1")

    def nobody_asks(_manifest: dict[str, Any], _transaction: str) -> str:
        raise AssertionError("it lives")

    assert files.doubtful(tmp_path)
    assert files.settle(tmp_path, nobody_asks) == {"committed": 0, "aborted": 0, "in_doubt": 0}
    assert chunk.doubtful.exists()
    assert other.temporary.exists()
    made.confirm(chunk)
    other.discard()
    made.end()
    assert not files.doubtful(tmp_path)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process can grow beyond that size: as on a full disk, but for the word that the system says."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_when_the_file_is_complete(tmp_path: Path) -> None:
    made = folder(tmp_path)
    first = made.open()
    made.keep(first, "1")
    made.confirm(first)
    chunk = made.open()
    noise = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(50_000))
    with small_files(1 << 18):
        assert chunk.write(noise) == len(noise)
        with pytest.raises(OSError, match="File too large"):
            made.keep(chunk, "2")
    made.withdraw(chunk)
    made.end()
    assert sorted(path.name for path in first.path.parent.iterdir()) == [
        "000001.copy.gz",
        "manifest.json",
        "restore.sql",
    ]
    assert [entry["name"] for entry in manifest(first.path.parent)["files"]] == ["000001.copy.gz"]


def test_a_folder_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    made = folder(tmp_path)
    for number in range(5):
        chunk = made.open()
        chunk.write(b"row\n")
        made.keep(chunk, str(number))
        made.confirm(chunk)
    made.end()
    told = [manifest(path) for path in tmp_path.iterdir()]
    assert sorted(len(one["files"]) for one in told) == [1, 2, 2]
    assert all(one["ended"] and one["started"] for one in told)


def test_a_run_without_rows_leaves_nothing(tmp_path: Path) -> None:
    made = folder(tmp_path / "t")
    made.open().discard()
    made.end()
    assert list(tmp_path.rglob("*")) == [tmp_path / "t"]


BROKEN = [
    "",
    "{",
    "[]",
    '{"format": 2}',
    '{"format": 1}',
    '{"format": 1, "files": 7}',
    '{"format": 1, "files": [{"name": "x"}]}',
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_manifest_that_says_nothing_leaves_the_doubt(tmp_path: Path, broken: str) -> None:
    made = folder(tmp_path)
    chunk = made.open()
    made.keep(chunk, "1")
    os.close(made._lock)
    (chunk.path.parent / files.MANIFEST).write_text(broken)
    assert files.settle(tmp_path, lambda _manifest, _transaction: "aborted")["in_doubt"] == 1
    assert chunk.doubtful.exists()


def test_what_is_wrong_with_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "db").write_text("")
    assert "does not exist" in files.fault(str(tmp_path / "missing"), "db")
    assert "is a file" in files.fault(str(tmp_path / "file"), "db")
    # What cannot even be looked at; a directory above it that one may not enter is of the same kind.
    assert "File name too long" in files.fault(f"/{'x' * 300}", "db")
    assert "is a file" in files.fault(str(tmp_path), "db", "public", "t")
    assert files.fault(str(tmp_path), "other", "public", "t") == ""
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert "may not write" in files.fault(str(tmp_path), "other")
        tmp_path.chmod(0o700)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "file"]
