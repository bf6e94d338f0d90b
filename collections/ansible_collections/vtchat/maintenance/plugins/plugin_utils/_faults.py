# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What Ansible says of a failure, without what it wraps around it."""

from __future__ import annotations

import re
from typing import Any

# From ansible-core 2.19 on. The first names the module, which everybody sees; of the others, one for each template that another
# one is used by, the first names the option.
_FINALIZED = re.compile(r"(?:Task failed: )?Finalization of task args for '[^']*' failed[:.] *")
_VALUE = re.compile(r"Error while resolving value for '([^']*)'[:.] *")
_UNDEFINED = re.compile(r"'(\w+)' is undefined[.]?")


def plain(message: Any) -> str:
    """The option, and the sentence that helps. Anything else stays as it is."""
    text = str(message)
    wrapped = _FINALIZED.match(text)
    if not wrapped:
        return text
    rest = text[wrapped.end() :]
    option = ""
    while (found := _VALUE.match(rest)) is not None:
        option, rest = option or found[1], rest[found.end() :]
    missing = _UNDEFINED.fullmatch(rest.strip())
    if missing:
        rest = f"{missing[1]} has no value: give it one in the inventory, or with -e"
    return (f"{option}: {rest}" if option else rest) or text
