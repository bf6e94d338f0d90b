# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""amcheck: look for corruption in tables and indexes, a part in each run, so that all is looked at every so often."""

from __future__ import annotations

from collections.abc import Sequence

from ..._postgres.session import Session
from .. import Action, Context, Need, Outcome
from .decide import Work, decide
from .examine import check
from .facts import Facts, read_facts
from .functions import wanted
from .options import SPEC, Options, read

__all__ = ["COUNTED_AS", "DIVISIBLE", "READ_ONLY", "SPEC", "Options", "decide", "execute", "facts", "jobs", "names", "needs",
           "read"]  # fmt: skip

DIVISIBLE = False
READ_ONLY = True
COUNTED_AS = ""


def names(options: Options) -> Sequence[str]:
    """The tables; none where patterns choose."""
    return () if options.selection.include else options.selection.tables


def needs(options: Options) -> Sequence[Need]:
    """EXECUTE on functions of the extension, and nothing on the tables."""
    return [Need(name, "execute", "", extension="amcheck") for name in wanted(options)]


def jobs(options: Options) -> int:
    """One after the other: it is nobody's hurry, and reads a lot."""
    return 1


def facts(session: Session, options: Options, context: Context) -> Facts:
    """Two round trips; one more where tables are named. Raises OptionError, SqlError, Contended."""
    return read_facts(session, options, context)


def execute(session: Session, action: Action[Work], context: Context) -> Outcome:
    """Check one table or index. Raises SqlError, Contended."""
    return check(session, action, context)
