# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at long statements from another session: only when somebody sees it, and never in the way of the work."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, cast

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import observer
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.session import Session


class Fake:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "INTERVAL", 0.001)


def test_what_it_sees_is_told_while_the_block_runs() -> None:
    seen = threading.Event()
    told: list[tuple[str, str]] = []
    fake = Fake()

    def progress(target: str, said: str, seconds: float) -> None:
        assert seconds > 0
        told.append((target, said))
        seen.set()

    with closing(observer.Observer(lambda: cast(Session, fake), progress)) as watching:
        with watching.observe("silent", lambda session: ""), watching.observe("t", lambda session: "half"):
            assert seen.wait(60)
        count = len(told)
        seen.clear()
        assert not seen.wait(0.05)
    assert set(told) == {("t", "half")}
    assert len(told) <= count + 1  # the look that was on its way
    assert fake.closed


def test_nobody_looks_and_no_session_is_opened() -> None:
    def opened() -> Session:
        raise AssertionError("opened")

    with closing(observer.Observer(opened, observer.nobody)) as watching, watching.observe("t", lambda session: ""):
        assert not [thread for thread in threading.enumerate() if "observer" in thread.name]


def test_work_goes_on_where_looking_is_impossible() -> None:
    tried = threading.Event()

    def refused() -> Session:
        tried.set()
        raise SqlError("too many connections", "53300")

    def told(*_said: Any) -> None:
        raise AssertionError("told")

    with closing(observer.Observer(refused, told)) as watching, watching.observe("t", lambda session: "half"):
        assert tried.wait(60)
