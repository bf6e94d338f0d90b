# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""index_info: which indexes are invalid, there twice, unused, missing, bloated; with the statements that mend it. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from ..._postgres.session import Session
from .. import Action, Context, Need, Outcome
from .decide import decide
from .facts import Facts, read_facts
from .options import SPEC, Options, read

__all__ = ["COUNTED_AS", "DIVISIBLE", "READ_ONLY", "SPEC", "Options", "decide", "execute", "facts", "jobs", "names", "needs",
           "read"]  # fmt: skip

DIVISIBLE = False
READ_ONLY = True
COUNTED_AS = ""


def names(_options: Options) -> Sequence[str]:
    """None: it is about whatever patterns choose."""
    return ()


def needs(_options: Options) -> Sequence[Need]:
    """None: the catalog and the counters are for everybody, and what statistics the role does not see is not said."""
    return ()


def jobs(_options: Options) -> int:
    """There is nothing to execute."""
    return 1


def facts(session: Session, options: Options, context: Context) -> Facts:
    """All that is known of the chosen indexes. Raises SqlError, Contended."""
    return read_facts(session, options, context)


def execute(session: Session, action: Action[None], context: Context) -> Outcome:
    """Nothing is ever decided that could be executed."""
    raise AssertionError("it only reads")
