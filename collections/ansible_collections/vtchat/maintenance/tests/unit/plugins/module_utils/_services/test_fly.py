# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens, times, and which machines lag behind: what is decided about Fly without asking it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.fly import (
    Machine,
    Stored,
    app_faults,
    authorization,
    seconds,
    version_seconds,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.fly_deploy import MARK, decide, mark

# A version from Fly's documentation, of 2022-05-20.
VERSION = "01G3H70Q5C24GMEMCXHSBDGN9H"
MADE = "2022-05-20T17:07:36Z"


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("fm2_a", "FlyV1 fm2_a"),
        ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
        (" flyv1  fm1r_a , fm1a_b ,\n", "FlyV1 fm1r_a,fm1a_b"),
        ("oauth,fm2_a", "FlyV1 fm2_a"),
        ("oauth", "Bearer oauth"),
        ("bearer oauth", "Bearer oauth"),
    ],
)
def test_a_macaroon_goes_as_such_and_alone(token: str, header: str) -> None:
    assert authorization(token) == header


@pytest.mark.parametrize("token", ["", " , ", "FlyV1 ", "one,two"])
def test_what_is_not_one_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(OptionError) as caught:
        authorization(token)
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T00:00:10.987654321Z", 10),
        ("1970-01-01T00:00:10+00:00", 10),
        ("1970-01-01T00:00:10+02:00", None),
        ("1970-01-01 00:00:10", None),
        ("", None),
    ],
)
def test_times(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


def test_a_version_tells_when_it_was_made() -> None:
    made, said = version_seconds(VERSION), seconds(MADE)
    assert made is not None
    assert said is not None
    assert abs(made - said) < 5


@pytest.mark.parametrize("version", ["", "7", VERSION.lower(), VERSION[:-1], VERSION.replace("0", "U")])
def test_other_versions_tell_nothing(version: str) -> None:
    assert version_seconds(version) is None


@pytest.mark.parametrize(
    ("app", "right"),
    [("a", True), ("my-app-2", True), ("App", True), ("a" * 63, True),
     ("my_app", False), ("-a", False), ("", False), ("a/b", False), ("é", False), ("a" * 64, False), ("a\n", False)],
)  # fmt: skip
def test_names_of_apps(app: str, right: bool) -> None:
    assert (app_faults(app) == []) == right


def secret(updated_at: str = MADE, digest: str = "d") -> dict[str, Stored]:
    return {"A": Stored(digest, updated_at)}


def machine(state: str = "started", version: str = VERSION, **metadata: Any) -> Machine:
    return Machine("m", state, version, config={"metadata": metadata})


LATER, EARLIER = "2022-05-21T00:00:00Z", "2022-05-19T00:00:00Z"


@pytest.mark.parametrize(
    ("one", "stored", "changing", "verb"),
    [
        (machine(), secret(EARLIER), False, "keep"),
        (machine(), secret(LATER), False, "deploy"),
        (machine(), secret(EARLIER), True, "deploy"),
        (machine(), {}, False, "keep"),
        (machine(), secret(""), False, "deploy"),
        (machine(version="7"), secret(EARLIER), False, "deploy"),
        # A mark counts for more than the time.
        (machine(**{MARK: mark(secret())}), secret(LATER), False, "keep"),
        (machine(**{MARK: mark(secret())}), secret(EARLIER, "another"), False, "deploy"),
        (machine(**{MARK: mark(secret())}), {}, False, "deploy"),
        (machine(**{MARK: mark(secret())}), secret(), True, "deploy"),
        (machine("stopped"), secret(LATER), False, "deploy"),
        (Machine("m", "started", VERSION, config=None), secret(EARLIER), False, "fail"),
        (machine(fly_process_group="fly_app_release_command"), secret(LATER), True, None),
        (machine(process_group="release_command"), secret(LATER), True, None),
        (machine("destroying"), secret(LATER), True, None),
    ],
)
def test_which_machines_lag_behind(one: Machine, stored: dict[str, Stored], changing: bool, verb: str | None) -> None:
    assert [verdict.verb for verdict in decide([one], stored, changing)] == ([verb] if verb else [])


def test_a_mark_is_of_names_and_digests() -> None:
    assert mark(secret(LATER)) == mark(secret(EARLIER))
    assert mark({"A": Stored("", LATER)}) != mark({"A": Stored("", EARLIER)})
    assert mark({"A": Stored("d", ""), "B": Stored("e", "")}) == mark({"B": Stored("e", ""), "A": Stored("d", "")})
    assert len({mark({}), mark(secret()), mark({"B": Stored("d", MADE)})}) == 3


@pytest.mark.parametrize(
    ("state", "checks", "healthy"),
    [
        ("started", {}, True),
        ("started", {"http": "passing"}, True),
        ("started", {"http": "passing", "tcp": "critical"}, False),
        ("started", {"http": "warning"}, False),
        ("starting", {"http": "passing"}, False),
    ],
)
def test_healthy_is_started_with_all_checks_passing(state: str, checks: dict[str, str], healthy: bool) -> None:
    assert Machine("m", state, VERSION, checks=checks).healthy == healthy
