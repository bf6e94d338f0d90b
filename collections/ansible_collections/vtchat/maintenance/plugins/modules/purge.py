#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: purge
short_description: Delete expired rows in small batches
version_added: 1.0.0
description:
  - Deletes the rows of a table whose time has come, the oldest first, in batches with a transaction each.
  - One cut-off is computed on the server at the start. A row is deleted only if its time is not after the cut-off when it
    is deleted; V(NULL) and C(infinity) never expire. A C(date) has passed when its whole day has.
  - Batches adapt their size to O(batch_ms), skip rows that other sessions have locked, and wait while a replica is more
    than 64 MiB behind. Rows that stay locked are reported as left.
  - What was deleted stays deleted when a run is stopped; the next one continues.
  - Refuses a table in which no index serves O(column), or which large tables refer to by a foreign key without an index,
    directly or through tables whose rows go with it (see O(require_index)).
  - Refuses a table whose row-level security hides rows from the role, one with a rule on C(DELETE), and one whose rows take
    others with them that have not expired (see O(cascade)).
  - Triggers of the table fire, with the rights of the role and the search_path that it has. They are named in the result.
  - The role needs C(SELECT), C(UPDATE) and C(DELETE) on the table; C(UPDATE) because rows are locked before they are
    deleted.
options:
  table:
    description:
      - The table, or partitioned table. Each part of the name is taken literally, upper case and spaces included; a part
        with a dot or a double quote in it is written in double quotes.
    type: str
    required: true
  column:
    description: The column that says when a row expires, of type C(timestamp), C(timestamptz) or C(date).
    type: str
    required: true
  older_than:
    description:
      - How long a row is kept after the time in O(column). A number of seconds, or a number with V(s), V(m), V(h), V(d) or
        V(w).
    type: str
    default: "0"
  where:
    description:
      - An SQL condition that the rows must fulfil as well.
      - Goes into the statement as it is. Only trusted text belongs here.
    type: str
  timezone:
    description:
      - The zone in which the times were written when O(column) has none, such as V(UTC) or V(Asia/Ho_Chi_Minh).
        Compulsory then, an error otherwise.
      - Where clocks are turned back, a time that occurs twice is taken for the later one.
    type: str
  max_rows:
    description: Delete at most this many rows in one run.
    type: int
  batch_ms:
    description: How many milliseconds a batch should take.
    type: int
    default: 250
  require_index:
    description:
      - Whether to refuse a table of more than 8 MB in which no index serves O(column), and foreign keys that refer to it
        from tables of more than 8 MB without an index.
    type: bool
    default: true
  cascade:
    description:
      - Whether rows may go whose own time has not come, because they refer with C(ON DELETE CASCADE) to rows whose time has.
      - This is about tables that have a column named as O(column), the table itself among them. Rows of other tables follow
        the rows that they refer to, as their foreign key says.
    type: bool
    default: false
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  diff_mode:
    support: full
    details: Shows the number of expired rows.
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Delete expired sessions whose zone-less times were written in UTC
  vtchat.maintenance.purge:
    dsn: "{{ maintenance_dsn }}"
    table: sessions
    column: expires_at
    timezone: UTC

- name: Keep audit records for a year, but delete no more than a million an hour
  vtchat.maintenance.purge:
    table: audit.events
    column: created_at
    older_than: 365d
    where: not legal_hold
    max_rows: 1000000
"""

RETURN = r"""
status:
  description: V(ok), V(partial), V(failed) or V(skipped), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description: One entry for each target; what is in it is documented at RV(vtchat.maintenance.run#module:actions).
  returned: when connected
  type: list
  elements: dict
totals:
  description: How many targets had which outcome.
  returned: when connected
  type: dict
  sample: {done: 1, unchanged: 2}
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("purge")


if __name__ == "__main__":
    main()
