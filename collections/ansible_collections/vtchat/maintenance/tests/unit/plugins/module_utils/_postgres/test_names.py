# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names as users write them, as SQL needs them and as people read them."""

from __future__ import annotations

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import names


@pytest.mark.parametrize(
    ("text", "schema", "name"),
    [
        ("sessions", None, "sessions"),
        ("public.sessions", "public", "sessions"),
        ("Sessions", None, "Sessions"),
        ("My Schema.My Table", "My Schema", "My Table"),
        ('"a.b"."c.d"', "a.b", "c.d"),
        ('"a""b"', None, 'a"b'),
        ('s."""x"""', "s", '"x"'),
        ('" x "', None, " x "),
        (" s . t ", "s", "t"),
        ("phiên.bảng", "phiên", "bảng"),
        ("a" * 63, None, "a" * 63),
        ("đ" * 31, None, "đ" * 31),
        ("a'b;--", None, "a'b;--"),
    ],
)
def test_parse(text: str, schema: str | None, name: str) -> None:
    assert names.parse_name(text) == names.Name(schema, name)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "a.b.c", '"a', 'a"b', '"a"b', '""', " ", "a\0b", "a" * 64, "đ" * 32, f"s.{'a' * 64}"],
)
def test_refused(text: str) -> None:
    with pytest.raises(OptionError):
        names.parse_name(text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sessions", "sessions"),
        ("Sessions", '"Sessions"'),
        ("two words", '"two words"'),
        ('a"b', '"a""b"'),
        ("1st", '"1st"'),
        ("a.b", '"a.b"'),
        ("bảng", '"bảng"'),
        ("user", '"user"'),
        ("order", '"order"'),
        ("value", "value"),
        ("a\n", '"a\n"'),
    ],
)
def test_quote(name: str, shown: str) -> None:
    assert names.quote(name) == shown
    assert names.parse_name(names.display("s", name)) == names.Name("s", name)
