# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people are told of a failure: the sentence that helps, and what is in the way of a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _pages
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._faults import plain
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._files import fault

WRAPPER = "Task failed: Finalization of task args for 'vtchat.maintenance.report' failed: "
VALUE = "Error while resolving value for "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"{WRAPPER}{VALUE}'dsn': set DATABASE_URL to it", "dsn: set DATABASE_URL to it"),
        (f"{WRAPPER}{VALUE}'dsn': {VALUE}'report_dsn': set 'a': b", "dsn: set 'a': b"),
        (
            f"{WRAPPER}{VALUE}'dsn': 'maintenance_dsn' is undefined",
            "dsn: maintenance_dsn has no value: give it one in the inventory, or with -e",
        ),
        (f"{WRAPPER}Syntax error in template: x", "Syntax error in template: x"),
        (WRAPPER, WRAPPER),
        ("Task failed: Module failed: x", "Task failed: Module failed: x"),
        (f"{VALUE}'dsn': x", f"{VALUE}'dsn': x"),
        (None, "None"),
    ],
)
def test_the_sentence_that_helps(said: Any, told: str) -> None:
    assert plain(said) == told


def test_what_is_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    refused = OSError(errno.EEXIST, "File exists")
    deep = str(tmp_path / "file" / "x" / "index.html")
    assert fault(refused, deep) == f"{tmp_path}/file is a file, and a folder is needed there"
    assert fault(refused, str(tmp_path / "folder")) == f"{tmp_path}/folder is a folder"
    path = str(tmp_path / "new" / "index.html")
    told = {
        number: fault(OSError(number, os.strerror(number)), path)
        for number in (errno.EACCES, errno.EROFS, errno.ENOSPC)
    }
    assert told == {
        errno.EACCES: f"the user with the number {os.geteuid()} may not write into {tmp_path}",
        errno.EROFS: f"the file system of {tmp_path} is read-only",
        errno.ENOSPC: f"the file system of {tmp_path} is full",
    }
    assert fault(OSError(errno.EIO, "Input/output error"), path) == f"Input/output error ({tmp_path})"


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    told = _pages.put_overview([], str(tmp_path / "file" / "index.html"), "", "UTC", False)
    assert told["msg"].endswith(
        f"{tmp_path}/file is a file, and a folder is needed there: choose another folder with dest (report_dest)"
    )
    (entry,) = told["actions"]
    assert (entry["outcome"], entry["target"]) == ("failed", f"{tmp_path}/file/index.html")
    assert entry["target"] not in entry["reason"], "the path is told once"
