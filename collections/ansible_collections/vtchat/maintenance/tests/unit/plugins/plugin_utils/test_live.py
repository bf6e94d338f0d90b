# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line at the bottom of a terminal: it steps aside, fits, and is no worker's business."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.plugin_utils import _live
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._live import ERASE, LiveLine, Progress


class Display:
    """Ansible's Display as far as it is needed here."""

    columns = 20

    def display(self, msg: str, **more: Any) -> None:
        sys.stdout.write(f"{msg}\n")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    monkeypatch.setattr(_live.atexit, "register", lambda function: function)  # not at the end of the tests
    return Display()


def test_it_steps_aside_for_whatever_is_shown_and_comes_back(
    display: Display, capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveLine(display)
    display.display("before")
    live.say("working")
    display.display("a line")
    live.clear()
    live.clear()
    display.display("after")
    assert capsys.readouterr().out == f"before\n{ERASE}working{ERASE}a line\n{ERASE}working{ERASE}after\n"


def test_progress_takes_its_place_and_is_a_line_like_others_without_it(
    display: Display, capsys: pytest.CaptureFixture[str]
) -> None:
    said = pickle.loads(pickle.dumps(Progress("1 row so far")))  # noqa: S301 - as Ansible sends it from a worker
    display.display(said)
    LiveLine(display)
    display.display(said)
    assert capsys.readouterr().out == f"1 row so far\n{ERASE}1 row so far"


@pytest.mark.parametrize("text", ["x" * 30, "日本語" * 10, "a\x1b[31m\nb" + "x" * 30])
def test_it_fits_on_one_line_and_obeys_nobody(display: Display, capsys: pytest.CaptureFixture[str], text: str) -> None:
    LiveLine(display).say(text)
    shown = capsys.readouterr().out.removeprefix(ERASE)
    assert len(shown.encode("utf-16-le")) // 2 < 20
    assert "\x1b" not in shown
    assert "\n" not in shown


def test_a_worker_shows_what_it_shows(
    display: Display, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveLine(display)
    live.say("working")
    capsys.readouterr()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    display.display("a line")
    live.clear()
    assert capsys.readouterr().out == "a line\n"
