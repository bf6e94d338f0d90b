# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options by which operations choose tables; _postgres.selection.SELECTION is their argument spec."""

from __future__ import annotations


class ModuleDocFragment:
    """Patterns and sizes. The option tables is documented by each module, for what it may name is different."""

    DOCUMENTATION = r"""
options:
  include:
    description:
      - Shell patterns (C(*), C(?), C([abc]), C([!abc])) of the tables that are meant as well, compared with C(schema.name)
        without any quotes. V('*') means all, V('app.*') those of a schema. A pattern that has the name of a partitioned table
        has its partitions. A pattern that no table has is a warning.
      - Never temporary tables, nor the history of these runs, and nothing in the server's own schemas. What the role may not
        maintain is left out, with one warning for all of it.
    type: list
    elements: str
  exclude:
    description:
      - Patterns of tables that O(include) would choose and that are left out, such as V('*.log_*').
    type: list
    elements: str
  min_size:
    description:
      - What is smaller is left alone. Bytes, or with a unit, such as V(10M).
    type: bytes
  max_size:
    description:
      - What is larger is left alone. Bytes, or with a unit, such as V(50G).
    type: bytes
"""
