# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The tokens of SQL as PostgreSQL's own scanner sees them (src/backend/parser/scan.l), with standard_conforming_strings on.

Everything outside of ASCII is a letter, and only ASCII white space is white space, whatever Unicode says. Comments nest.
Adjacent strings on different lines are one string. Operators come sign by sign, which is all that is asked for here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .._errors import OptionError

LETTER = "A-Za-z_\x80-\U0010ffff"
# What follows the opening quotation mark, the closing one included; a doubled one closes nothing, except in a bit string.
_ENDS = {
    "bits": re.compile("[^']*'"),
    "escaped": re.compile(r"[^'\\]*(?:(?:''|\\.)[^'\\]*)*'(?!')", re.DOTALL),
    "string": re.compile(r"[^']*(?:''[^']*)*'(?!')"),
    "quoted": re.compile(r'[^"]*(?:""[^"]*)*"(?!")'),
}
# A string goes on after white space with a line end in it, and has the same escapes there.
_CONTINUED = re.compile(r"[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_WHAT = {
    "comment": "a comment is opened and not closed",
    "bits": "a quotation mark is opened and not closed",
    "escaped": "a quotation mark is opened and not closed",
    "string": "a quotation mark is opened and not closed",
    "quoted": "a quotation mark is opened and not closed",
    "dollar": "a dollar quote is opened and not closed",
}


@cache
def _start() -> re.Pattern[str]:
    """How a token begins: strings and quoted names are followed to their end by _ENDS.

    Compiled when there is SQL to read: that takes longer than all the rest of this file, and most runs have none.
    """
    return re.compile(
        rf"""(?P<space>[ \t\n\r\f\v]+|--[^\n\r]*)
        |(?P<comment>/\*)
        |(?P<escaped>[eE]')
        |(?P<bits>[bBxX]')
        |(?P<string>(?:[uU]&)?')
        |(?P<quoted>(?:[uU]&)?")
        |(?P<dollar>\$(?:[{LETTER}][{LETTER}0-9]*)?\$)
        |(?P<word>[{LETTER}][{LETTER}0-9$]*)
        |(?P<number>\$[0-9]+|0[xXoObB][0-9A-Fa-f_]+|(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?)
        |(?P<other>\.\.|.)""",
        re.DOTALL | re.VERBOSE,
    )


class Unclosed(OptionError):
    """SQL ends within a comment, a string or a quoted name. ``line`` is where that begins, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__([f"line {line}: {message}"])
        self.line, self.message = line, message


@dataclass(frozen=True)
class Token:
    """A part of SQL that is no comment and no white space.

    kind   word (names without quotes and keywords), quoted, string, number or other (one sign)
    depth  how many brackets, round or square, are open around it
    """

    kind: str
    text: str
    start: int
    end: int
    depth: int

    def says(self, word: str) -> bool:
        """Whether it is this word, which is in lower case, or this sign."""
        return self.kind in ("word", "other") and self.text.lower() == word

    def name(self, escape: str = "\\") -> str:
        """The name that it means: ASCII letters are folded unless quoted. escape: see UESCAPE, which may follow."""
        if self.kind != "quoted":
            return "".join(letter.lower() if letter.isascii() else letter for letter in self.text)
        if self.text[0] == '"':
            return self.text[1:-1].replace('""', '"')
        return _unescaped(self.text[3:-1].replace('""', '"'), escape)


def _unescaped(text: str, escape: str) -> str:
    """A text with its Unicode escapes as characters; as it is where they are wrong, for the server will say so."""
    mark = re.escape(escape)
    try:
        found = re.sub(
            rf"{mark}(?:({mark})|\+([0-9A-Fa-f]{{6}})|([0-9A-Fa-f]{{4}}))",
            lambda match: match[1] or chr(int(match[2] or match[3], 16)),
            text,
        )
        return found.encode("utf-16", "surrogatepass").decode("utf-16")  # two escapes may be one character
    except ValueError:
        return text


def tokens(text: str) -> list[Token]:
    """All tokens of a text. Raises Unclosed."""
    found: list[Token] = []
    position = depth = 0
    begins = _start()
    while (match := begins.match(text, position)) is not None:
        kind, start = str(match.lastgroup), position
        position = _end(text, kind, match)
        if kind in ("space", "comment"):
            continue
        depth = max(0, depth - (match[0] in (")", "]")))
        shown = "string" if kind in ("bits", "escaped", "dollar") else kind
        found.append(Token(shown, text[start:position], start, position, depth))
        depth += match[0] in ("(", "[")
    return found


def _end(text: str, kind: str, match: re.Match[str]) -> int:
    """Where the token ends that begins there. Raises Unclosed."""
    end = match.end()
    if kind == "comment":
        end = _end_of_comment(text, end)
    elif kind == "dollar":
        closing = text.find(match[0], end)
        end = closing + len(match[0]) if closing >= 0 else -1
    elif kind in _ENDS:
        end = _end_of_quote(text, kind, end)
    if end < 0:
        raise Unclosed(text.count("\n", 0, match.start()) + 1, _WHAT[kind])
    return end


def _end_of_comment(text: str, position: int) -> int:
    """Where a comment ends, -1 if it does not. ``position`` is after its first opening."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


def _end_of_quote(text: str, kind: str, position: int) -> int:
    """Where a string or quoted name ends, -1 if it does not. ``position`` is after its first quotation mark."""
    while True:
        closed = _ENDS[kind].match(text, position)
        if closed is None:
            return -1
        more = _CONTINUED.match(text, closed.end()) if kind != "quoted" else None
        if more is None:
            return closed.end()
        position = more.end()


class Cursor:
    """Goes through tokens from the left."""

    def __init__(self, found: Sequence[Token]) -> None:
        self.tokens = found
        self.position = 0

    @property
    def next(self) -> Token | None:
        """The token that comes next, None at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    @property
    def rest(self) -> Sequence[Token]:
        """The tokens that come next."""
        return self.tokens[self.position :]

    def take(self, *words: str) -> bool:
        """Go past these words if they come next."""
        ahead = self.tokens[self.position : self.position + len(words)]
        if len(ahead) < len(words) or not all(token.says(word) for token, word in zip(ahead, words)):
            return False
        self.position += len(words)
        return True

    def name(self) -> list[str]:
        """Go past a name: its parts, of which ``database.schema.name`` has three; none if no name comes next."""
        parts: list[str] = []
        while (token := self.next) is not None and token.kind in ("word", "quoted"):
            self.position += 1
            parts.append(token.name(self._escape(token)))
            if not self.take("."):
                break
        return parts

    def _escape(self, token: Token) -> str:
        """The escape character of a quoted name with Unicode escapes; go past UESCAPE, which says which one it is."""
        if token.text[:2] not in ("u&", "U&") or not self.take("uescape"):
            return "\\"
        character = self.next
        self.position += 1
        return character.text[1:2] if character is not None else "\\"
