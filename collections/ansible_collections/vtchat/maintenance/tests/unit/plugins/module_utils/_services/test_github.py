# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scopes of GitHub, and what is decided and told about them: no network."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import NOTHING
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import github, github_decide
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.github_decide import PREFIX, Facts, Request
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.http import Network
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.known_values import judge

KEY = "k" * 32


@pytest.mark.parametrize(
    ("options", "base", "told"),
    [
        (("o/r", None, None), "/repos/o/r/actions", "o/r"),
        (("o/r", None, "a/b c"), "/repos/o/r/environments/a%2Fb%20c", "o/r, environment a/b c"),
        ((None, "o", None), "/orgs/o/actions", "o"),
    ],
)
def test_scopes(options: tuple[Any, Any, Any], base: str, told: str) -> None:
    scope = github.scope(*options)
    assert scope.base == base
    assert str(scope) == told


@pytest.mark.parametrize(
    "options",
    [
        (None, None, None),
        ("o/r", "o", None),
        ("o", None, None),
        ("o/r/x", None, None),
        ("o/..", None, None),
        ("o/r?x", None, None),
        (None, "o/r", None),
        (None, "o", "e"),
        ("o/r", None, ""),
    ],
)
def test_scopes_that_are_refused(options: tuple[Any, Any, Any]) -> None:
    with pytest.raises(OptionError):
        github.scope(*options)


def test_places_differ_and_names_fold() -> None:
    places = {github.scope(*one).place for one in (("o/r", None, None), ("o/r", None, "repository"), (None, "o", None))}
    assert len(places) == 3
    assert github.scope("O/R", None, "E").place == github.scope("o/r", None, "e").place


def request(**changes: Any) -> Request:
    scope = github.scope("o/r", None, None)
    plain: dict[str, Any] = {
        "scope": scope,
        "judge": judge("presence", None, scope.place),
        "secrets": {},
        "variables": {},
        "absent": False,
        "purge": frozenset(),
        "create_environment": False,
        "visibility": "",
        "selected": (),
        "file": "",
        "token": "t",
        "api_url": "https://api.github.com",
        "network": Network(),
        "hidden": NOTHING,
    }
    return Request(**{**plain, **changes})


def decided(facts: Facts, **changes: Any) -> list[tuple[str, str, str]]:
    decisions = github_decide.decide(facts, request(**changes))
    return [(one.kind, one.change.name, one.change.verb) for one in decisions]


def test_nothing_is_removed_that_was_not_asked_for() -> None:
    facts = Facts(
        secrets={"A": "t", "B": "t"}, variables={"C": "1", PREFIX + "A": "x"}, records={"A": None, "GONE": None}
    )
    assert decided(facts, secrets={"A": "v"}) == [("secret", "A", "keep")]
    everything = frozenset({"secrets", "variables"})
    assert decided(facts, purge=everything) == [
        ("secret", "A", "delete"),
        ("secret", "B", "delete"),
        ("variable", "C", "delete"),
        ("fingerprint", "GONE", "delete"),
    ]
    assert decided(facts, secrets={"A": ""}, absent=True) == [("secret", "A", "delete")]
    assert decided(facts, secrets={"GONE": ""}, absent=True) == [
        ("secret", "GONE", "keep"),
        ("fingerprint", "GONE", "delete"),
    ]


def test_variables_are_compared_by_value() -> None:
    facts = Facts(variables={"SAME": "1", "OTHER": "1"})
    assert decided(facts, variables={"SAME": "1", "OTHER": "2", "NEW": "1"}) == [
        ("variable", "SAME", "keep"),
        ("variable", "OTHER", "update"),
        ("variable", "NEW", "create"),
    ]


def test_fingerprints_count_among_the_variables() -> None:
    full = {f"V{number}": "1" for number in range(500)}
    with pytest.raises(OptionError, match="variables: there would be 501, and GitHub takes 500"):
        decided(Facts(variables=full), secrets={"A": "v"}, judge=judge(None, KEY, request().scope.place))
    assert decided(Facts(variables=full), secrets={"A": "v"}) == [("secret", "A", "create")]


def test_a_missing_environment_comes_first() -> None:
    assert decided(Facts(environment_missing=True), secrets={"A": "v"})[0][0] == "environment"
