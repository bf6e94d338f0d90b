# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What must never be shown: every spelling of a secret, and texts without them. The only place that knows how.

    hidden = hide(["postgresql://app:p%40ss@db.example.com/app"])
    hidden.scrub("refused: p@ss")      # "refused: ********"

A secret may come back in a message as it is, quoted for a shell, SQL, JSON, Python or HTML, percent-encoded, in
hexadecimal digits, in base64, or in the middle of something else that was put into base64. See docs/decisions/0012.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "********"
# Under three characters nothing can be told apart from ordinary text.
SHORTEST = 3
# The part of base64 that does not depend on what stands around a secret; shorter ones may be anything.
SHORTEST_CORE = 8
SHORTEST_LINE = 8
# In so many URLs of one secret a password is looked for.
MOST_URLS = 20
# A password that looks like a name: of one case, at most four digits after it, or a small number.
_WORD = re.compile(r"(?=.{1,16}$)(?:[a-z_]+|[A-Z_]+|[A-Z][a-z_]+)[0-9]{0,4}|[0-9]{1,5}")
# What stands before a password in a keyword string, in JSON and in SQL.
_PLACE = r"(?P<before>(?i:password)[\"']?\s*(?:[=:]\s*[\"']?|\s[\"']))"
# A password in a connection string of keywords or in the parameters of a URL.
_PASSWORD = re.compile(
    r"(?i:\b(?:ssl)?(?:password|passwd|pwd)|\boauth_client_secret)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&]+))"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, repr=False)
class Hidden:
    """The spellings that must not be shown.

    everywhere  are masked wherever they stand.
    words       are passwords that are ordinary words, or public anyway as another part of the same connection: masked only where
                a password stands, in a URL or behind "password". Else they would mask names of tables and roles.
    plain       are no secrets, though an option that hides its values holds them: names that people must see.
    """

    everywhere: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()

    def __or__(self, other: Hidden) -> Hidden:
        """What is hidden by either."""
        everywhere = self.everywhere | other.everywhere
        return Hidden(everywhere, self.words | other.words, self.plain | other.plain)

    def scrub(self, text: str) -> str:
        """The text without any spelling of a secret in it."""
        text = _masked(text, self.everywhere)
        for word in sorted(self.words, key=len, reverse=True):
            place = rf"(?:{_PLACE}){re.escape(word)}(?!\w)|(?<=:){re.escape(word)}(?=@)"
            text = re.sub(place, lambda match: (match["before"] or "") + MASK, text)
        return text

    def scrub_data(self, value: Any, names: bool = True) -> Any:
        """Data from JSON with all texts in it scrubbed. names: those of members too."""
        if isinstance(value, str):
            return self.scrub(value)
        if value is None or isinstance(value, (int, float)):  # most of a result of thousands of targets
            return value
        if isinstance(value, Mapping):
            scrubbed = ((name, self.scrub_data(one, names)) for name, one in value.items())
            return {self.scrub(str(name)) if names else name: one for name, one in scrubbed}
        return [self.scrub_data(one, names) for one in value] if isinstance(value, (list, tuple)) else value


NOTHING = Hidden()


def hide(
    secrets: Iterable[str] = (),
    passwords: Iterable[str] = (),
    public: Collection[str] = (),
    plain: Iterable[str] = (),
) -> Hidden:
    """What to hide for these secrets.

    secrets    somebody declared them secret as a whole; the passwords inside them are found
    passwords  may be ordinary words
    public     shown in any case as another part of the same connection
    plain      see Hidden
    """
    everywhere: set[str] = set()
    words: set[str] = set()
    shown = set(public)
    inside = list(passwords)
    for secret in secrets:
        found, names = _inside(secret)
        shown |= names
        inside += found
        everywhere |= spellings(secret) | spellings(secret.strip())
        everywhere |= {line for line in secret.splitlines() if len(line) >= SHORTEST_LINE}
    for password in inside:
        forms = spellings(password)
        words |= {form for form in forms | {password} if is_word(form) or form in shown}
        everywhere |= forms - words
    # A text of asterisks alone cannot be told from what masks it.
    everywhere = {form for form in everywhere if form.strip("*")}
    return Hidden(frozenset(everywhere), frozenset(filter(None, words)), frozenset(plain))


def is_word(text: str) -> bool:
    """Whether a text may be the name of anything: masking it everywhere would hide names."""
    return _WORD.fullmatch(text) is not None


def spellings(secret: str) -> set[str]:
    """Every spelling of a text, three characters or longer."""
    raw = _bytes(secret)
    found = _quoted(secret) | _percent(raw)
    found |= {json.dumps(form)[1:-1] for form in found}  # quoted by a service that was sent JSON inside of JSON
    found |= {raw.hex(), raw.hex().upper(), raw.hex(" "), raw.hex(":")} | _base64(raw)
    return {form for form in found if len(form) >= SHORTEST}


def _quoted(secret: str) -> set[str]:
    """As shells, SQL, connection strings, JSON, Python and HTML write it."""
    backslashed = secret.replace("\\", "\\\\")
    html = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    quotes = html.replace('"', "&quot;")
    found = {secret, " ".join(secret.split()), secret.replace("'", "''"), secret.replace('"', '""')}
    found |= {secret.replace("'", "'\"'\"'"), secret.replace("'", "'\\''")}
    found |= {backslashed, backslashed.replace("'", "\\'"), backslashed.replace('"', '\\"')}
    found |= {html, quotes, quotes.replace("'", "&#x27;"), quotes.replace("'", "&#39;")}
    dumped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    found |= dumped | {form.replace("/", "\\/") for form in dumped}
    return found | {repr(secret)[1:-1], ascii(secret)[1:-1], repr(_bytes(secret))[2:-1]}


def _percent(raw: bytes) -> set[str]:
    """Percent-encoded: what must be, what browsers do (encodeURIComponent), all but letters and digits, and every byte."""
    found = {quote(raw, safe=safe) for safe in ("", "/", "!'()*", "/:@!$&'()*+,;=?")}
    every = [f"%{byte:02X}" for byte in raw]
    plain = [chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else form for byte, form in zip(raw, every)]
    found |= {quote_plus(raw), "".join(every), "".join(plain)}
    return found | {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in found}


def _base64(raw: bytes) -> set[str]:
    """Both alphabets, with padding and without, in lines, and in the middle of something longer."""
    found = set()
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode("ascii")
        found |= {whole, whole.rstrip("=")}
        for before in range(3):
            bits = (before + len(raw)) * 8
            # Of the first and last character only some bits are ours.
            core = encode(b"\0" * before + raw).decode("ascii")[-(-before * 8 // 6) : bits // 6]
            found |= {core} if len(core) >= SHORTEST_CORE else set()
    return found | {line for line in base64.encodebytes(raw).decode("ascii").splitlines() if len(line) >= SHORTEST_CORE}


def _inside(secret: str) -> tuple[list[str], set[str]]:
    """The passwords inside a secret that is a connection string, as they are written and decoded; and the user's name."""
    found = [unquote(secret)] if "%" in secret else []
    names: set[str] = set()
    for user_part in _user_parts(secret):
        user, colon, password = user_part.partition(":")
        names |= {user, unquote(user)} if colon else set()
        found += [user_part, password, unquote(password)] if password else []
    for match in _PASSWORD.finditer(secret):
        quoted = re.sub(r"\\(.)", r"\1", match[1] or "")
        bare = match[2] or ""
        # In .NET's strings it ends at a semicolon, elsewhere that is a character like others.
        found += [quoted] if quoted else [bare, unquote(bare), bare.partition(";")[0]]
    return [password for password in dict.fromkeys(found) if password and password != secret], names


def _user_parts(secret: str) -> Iterable[str]:
    """What may stand before the host in each URL: up to the last @ of its authority, or of all where nothing was encoded."""
    first = _SCHEME.match(secret.strip())
    found = [secret.strip()[first.end() :]] if first else []
    # Only the end of a scheme is looked for: a pattern for all of it takes for ever in a long text without any.
    for mark in islice(re.finditer("://", secret), MOST_URLS):
        url = re.split(r"\s", secret[mark.end() :], maxsplit=1)[0]
        found += [url, re.split(r"[/?#]", url, maxsplit=1)[0]]
    return dict.fromkeys(part.rpartition("@")[0] for part in found)


def _masked(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked; where two overlap, all of both."""
    present = [secret for secret in secrets if secret in text]
    if not present:
        return text
    covered = bytearray(len(text))
    for secret in present:
        at = text.find(secret)
        while at >= 0:
            covered[at : at + len(secret)] = b"\1" * len(secret)
            at = text.find(secret, at + 1)
    runs = re.finditer(b"\x01+|\x00+", covered)
    masked = "".join(MASK if run[0][0] else text[run.start() : run.end()] for run in runs)
    # Once more, because the asterisks may complete a secret that has some. It ends: each round leaves fewer other characters.
    return masked if masked == text else _masked(masked, secrets)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
