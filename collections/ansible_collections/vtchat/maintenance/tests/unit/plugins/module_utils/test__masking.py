# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No spelling of a secret survives, wherever it came from, and what is no secret stays readable."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._masking import MASK, hide, is_word
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import dsn as _dsn
from ansible_collections.vtchat.maintenance.tests.unit.plugins.spellings import ENCODERS

# Any text that can be UTF-8; without asterisks, which cannot be told from those of the mask.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*\0"), min_size=4, max_size=60)
QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@QUICK
@given(
    secret=TEXTS, before=st.sampled_from(["", " ", "x", "'", "it says: "]), after=st.sampled_from(["", " ", "y", "="])
)
@example("%s@#7/Geh€im 'n\"\n\\x", "", "")
@example("aaaa", "aaa", "a")
def test_no_spelling_of_a_secret_survives(secret: str, before: str, after: str) -> None:
    hidden = hide([secret])
    for name, encode in ENCODERS.items():
        spelt = encode(secret)
        if len(spelt) > 2:
            shown = hidden.scrub(f"{before}{spelt}{after} and {spelt}")
            assert spelt not in shown, name
            assert MASK in shown, name


@QUICK
@given(password=TEXTS, url=st.booleans())
@example("p@ss/w:rd?#", True)
@example("two words", False)
def test_nor_of_a_password_in_a_connection_string(password: str, url: bool) -> None:
    assume(not is_word(password))
    assume(password == password.strip())
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    dsn = f"postgresql://app:{quote(password, safe='')}@h.invalid/d" if url else f"host=h.invalid password='{quoted}'"
    for hidden in (_dsn.parse(dsn, "require", {}).hidden, hide([dsn])):
        for name, encode in ENCODERS.items():
            spelt = encode(password)
            # A spelling may be an ordinary word although the password is none.
            if len(spelt) > 2 and not is_word(spelt):
                assert spelt not in hidden.scrub(f"no: {spelt}!"), name


@QUICK
@given(secret=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=8, max_size=40),
       before=st.binary(max_size=5), after=st.binary(max_size=5))  # fmt: skip
def test_base64_of_something_longer_shows_no_more_than_the_edges(secret: str, before: bytes, after: bytes) -> None:
    """Such as user and password in a header."""
    assume("*" not in secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(before + secret.encode() + after).decode()
        shown = hide([secret]).scrub(whole)
        assert MASK in shown
        # The first and last character have bits of the secret at most.
        assert len(shown) - len(MASK) <= len(encode(before)) + len(encode(after)) + 4


@QUICK
@given(secrets=st.lists(TEXTS, min_size=2, max_size=4), text=st.data())
def test_secrets_that_overlap_leave_nothing_of_either(secrets: list[str], text: st.DataObject) -> None:
    joined = "".join(text.draw(st.permutations(secrets)))
    shown = hide(secrets).scrub(f"<<{joined}>>{joined[1:]}")
    assert not any(secret in shown for secret in secrets)


def test_the_longer_of_two_is_masked_as_a_whole() -> None:
    assert hide(["token", "token-and-more"]).scrub("token-and-more, token") == f"{MASK}, {MASK}"
    assert hide(["abcd", "cdef"]).scrub("-abcdef-") == f"-{MASK}-"


@pytest.mark.parametrize("secret", ["*", "***", "********", "****x", "x***", "a*b"])
def test_asterisks_do_no_harm(secret: str) -> None:
    shown = hide([secret]).scrub(f"{secret}{secret} x{secret}")
    assert hide([secret]).scrub(shown) == shown
    assert not secret.strip("*") or len(secret) < 3 or secret not in shown


def test_short_secrets_do_not_blacken_everything() -> None:
    assert hide(["", "a", "ab"]).scrub("ab cab a b") == "ab cab a b"


def test_of_a_url_the_password_is_hidden_and_no_name() -> None:
    hidden = hide(["postgresql://app:p%40ss@host.example.com/db"])
    for spelt in ("p%40ss", "p@ss", b"p%40ss".hex(), base64.b64encode(b"p@ss").decode()):
        assert hidden.scrub(f"no: {spelt}.") == f"no: {MASK}."
    assert hidden.scrub("app on host.example.com, db") == "app on host.example.com, db"


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:{0}@h.invalid/d", "host=h.invalid password={0}", "postgresql://h.invalid/d?password={0}"]
)
@pytest.mark.parametrize("word", ["postgres", "sessions", "Admin", "5432", "users2024"])
def test_a_password_that_is_a_word_masks_no_names_in_any_service(dsn: str, word: str) -> None:
    """A connection string may be the value of a secret as well."""
    for hidden in (hide([dsn.format(word)]), _dsn.parse(dsn.format(word), "require", {}).hidden):
        told = f'permission denied for table {word}, role "{word}"'
        assert hidden.scrub(told) == told
        assert word not in hidden.scrub(f"password={word}").replace(MASK, "")
        assert word not in hidden.scrub(f"//other:{word}@h")
        # In base64 it is no word any more.
        assert hidden.scrub(base64.b64encode(word.encode()).decode()) == MASK


@pytest.mark.parametrize(
    "text",
    [
        "host=h user=app password=Pa55w-rd",
        "host=h sslpassword='Pa55w-rd' user=app",
        "Server=h;Pwd=Pa55w-rd;x=1",
        "https://h/x?user=app&PASSWORD=Pa55w-rd&x=1",
        "redis://:Pa55w-rd@h/0",
        "export A=postgresql://app:another@h/d\nB=redis://:Pa55w-rd@h\nC=x@y\n",
        "postgresql://app:Pa55w-rd@h/d?application_name=me@work",
        "  postgresql://app:Pa55w-rd@h/d\n",
    ],
)
def test_a_password_is_found_in_whatever_connects(text: str) -> None:
    hidden = hide([text])
    for spelt in ("Pa55w-rd", b"Pa55w-rd".hex(), "Pa55w%2Drd"):
        assert spelt not in hidden.scrub(f"no: {spelt}!")
    assert hidden.scrub("user app") == "user app"


@pytest.mark.parametrize(
    "piece", ["x", "a.", "a://", "password=", "x'", "@", "postgresql://a:b@h ", "a://x:y@", "%41", " "]
)
def test_a_secret_of_the_largest_size_takes_no_time(piece: str) -> None:
    """GitHub takes 48 KiB. A spelling takes about a millisecond; a pattern that tries each beginning anew takes much longer."""
    secret = piece * (48 * 1024 // len(piece))
    began = time.process_time()
    assert hide([secret]).scrub(f"no: {secret.strip()}") == (f"no: {MASK}" if secret.strip() else "no: ")
    assert time.process_time() - began < 10


def test_data_is_scrubbed_with_the_names_in_it() -> None:
    data = {"p@ssword": ["p@ssword", 5, None, {"a": "x p@ssword"}], "ok": True}
    assert hide(["p@ssword"]).scrub_data(data) == {MASK: [MASK, 5, None, {"a": f"x {MASK}"}], "ok": True}


def test_what_is_not_utf8_is_hidden_too() -> None:
    for secret in ("\ud800-abc", "\udcff-abc"):
        assert hide([secret]).scrub(f"no: {secret}") == f"no: {MASK}"
