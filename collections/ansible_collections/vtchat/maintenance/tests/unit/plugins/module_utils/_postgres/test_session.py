# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of an error of the server. No server: those of the tests speak English only."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import session

TOKEN = "tok-0123456789"


@pytest.mark.parametrize(
    ("sqlstate", "detail", "told"),
    [
        ("23514", f"Failing row contains (1, {TOKEN}).", ""),
        ("23502", f"Fehlgeschlagene Zeile enthält (1, {TOKEN}).", ""),
        ("44000", f"La ligne en échec contient (1, {TOKEN}).", ""),
        ("23505", f"Key (token)=({TOKEN}) already exists.", "Key (token)=(tok-0123...) already exists."),
        ("23505", f"Schlüssel »(token)=({TOKEN})« existiert bereits.", "Schlüssel »(token)=(tok-0123...)« existiert bereits."),
        ("23503", "Key (id)=(77) is still referenced from table \"c\".", "Key (id)=(77) is still referenced from table \"c\"."),
        ("55P03", "", ""),
    ],
)  # fmt: skip
def test_the_detail_of_an_error_is_without_the_row(sqlstate: str, detail: str, told: str) -> None:
    assert session._discreet(detail, sqlstate) == told
