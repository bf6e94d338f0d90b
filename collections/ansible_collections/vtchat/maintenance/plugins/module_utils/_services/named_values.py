# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Names and values as somebody wrote them into an option, checked once against what a platform takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rules:
    """What a platform takes. Names are compared in upper case where ``fold`` says so; ``letters`` says it to people."""

    value_bytes: int
    pattern: str = r"[A-Za-z_][A-Za-z0-9_]*"
    letters: str = "letters, digits and _, not beginning with a digit"
    reserved: tuple[str, ...] = ()
    fold: bool = True

    def is_name(self, text: Any) -> bool:
        """Whether this may be a name, be it reserved or not."""
        return isinstance(text, str) and re.fullmatch(self.pattern, text, re.ASCII) is not None


@dataclass(frozen=True, repr=False)
class NamedValues:
    """Names as the platform stores them, in the order of the option, with their values; and every fault.

    No fault repeats a value or a faulty name. Where names alone were wanted, the values are empty.
    """

    values: dict[str, str]
    faults: list[str]

    @property
    def names(self) -> list[str]:
        return list(self.values)


def read_values(option: str, given: Any, rules: Rules) -> NamedValues:
    """The option as a mapping of names to values; None is an empty one."""
    if given is not None and not isinstance(given, Mapping):
        return NamedValues({}, [f"{option}: it must be a mapping of names to values"])
    names, faults = _names(option, list(given or ()), rules)
    if faults:
        return NamedValues({}, faults)
    values = dict(zip(names, (given or {}).values()))
    faults = [f"{option}: {name}: {fault}" for name, value in values.items() for fault in _value_faults(value, rules)]
    return NamedValues(values, faults)


def read_names(option: str, given: Any, rules: Rules) -> NamedValues:
    """The option as a list of names; the values of a mapping are not looked at."""
    if given is not None and not isinstance(given, (list, Mapping)):
        return NamedValues({}, [f"{option}: it must be a list of names"])
    names, faults = _names(option, list(given or ()), rules)
    return NamedValues(dict.fromkeys(names, ""), faults)


def secret_texts(given: Any, rules: Rules, names_alone: bool = False) -> list[str]:
    """What may be secret in an option, whatever its shape: its values, and texts that stand where names should and are none.

    names_alone: a list is one of names, and none of its texts that may be a name is a value.
    """
    names = list(given) if isinstance(given, (list, Mapping)) else []
    found = [str(name) for name in names if not rules.is_name(str(name))]
    return found if names_alone and isinstance(given, list) else found + _texts(given)


def plain_names(given: Any, rules: Rules) -> list[str]:
    """The names in a list of names, as they were written."""
    return [name for name in given if rules.is_name(name)] if isinstance(given, list) else []


def _names(option: str, given: list[Any], rules: Rules) -> tuple[list[str], list[str]]:
    names: list[str] = []
    faults = []
    for number, name in enumerate(given, 1):
        which = f"{option}: name {number}"
        if not rules.is_name(name):
            faults.append(f"{which}: a name consists of {rules.letters}")
            continue
        stored = name.upper() if rules.fold else name
        if stored.startswith(rules.reserved):
            faults.append(f"{which}: it begins with {' or '.join(rules.reserved)}, which is reserved")
        if stored in names:
            same = ", upper and lower case being the same" if rules.fold else ""
            faults.append(f"{which}: {stored} is there twice{same}")
        names.append(stored)
    return names, faults


def _value_faults(value: Any, rules: Rules) -> list[str]:
    if not isinstance(value, str):
        return [f"the value must be text, and it is {type(value).__name__}: write it in quotes, or check the lookup"]
    if not value:
        return ["the value is empty; most often a variable is not set where it is read from"]
    if "\0" in value:
        return ["no environment variable can hold a null byte"]
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return ["the value is not text in UTF-8"]
    return [f"the value has {size} bytes, the limit is {rules.value_bytes}"] if size > rules.value_bytes else []


def _texts(given: Any) -> list[str]:
    """All texts inside an option; the names of a mapping are none."""
    if isinstance(given, Mapping):
        return [text for value in given.values() for text in _texts(value)]
    if isinstance(given, (list, tuple)):
        return [text for value in given for text in _texts(value)]
    return [] if given is None or isinstance(given, bool) else [str(given)]
