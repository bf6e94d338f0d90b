#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: amcheck
short_description: Look for corruption in tables and indexes, a part in each run
version_added: 1.0.0
description:
  - Checks tables, their TOAST tables and their indexes with the functions of the extension C(amcheck), C(verify_heapam) and
    C(bt_index_check), and from PostgreSQL 18 on GIN indexes with C(gin_index_check). Each is checked when its last check is
    older than O(every), what was never checked first, then the longest ago. What does not fit into the budget goes first in
    the next run; the check of a table goes on at the page at which the budget has ended.
  - What is corrupt is a finding of the level V(critical), with what the server says of it and what to do. Its target is
    V(failed), and so is the run. It is checked first in each run, and told in each, until it is well or another object.
  - Nothing else is V(critical). What somebody else has locked is V(contended), a check that somebody cancels is V(deferred), and
    an error of a function that an index calls fails the target without a finding.
  - It writes nothing, takes the lock of a reader, and may look at a standby, where nothing is remembered. Each check reads the
    whole object, and keeps the rows that it may see from being removed by VACUUM as long as it goes on.
  - What was checked when stands in the history, which the first run that changes anything or provisioning makes. Without it
    each run begins anew, and a warning says so.
  - Needs the extension (C(CREATE EXTENSION amcheck), as a superuser) and C(EXECUTE) on its functions, and no right on the tables.
    What is missing fails the step, and the message is the statement. M(vtchat.maintenance.maintainer) gives the right.
  - An index that is not valid is V(skipped). Indexes of other access methods are left out, since nothing checks them.
options:
  tables:
    description:
      - Tables, materialized views and partitioned tables, which mean their partitions. Tables of the server itself may be
        named, such as V(pg_catalog.pg_class). Each part of a name is taken literally, upper case and spaces included; a part
        with a dot or a double quote in it is written in double quotes.
      - One of O(tables) and O(include) is needed.
    type: list
    elements: str
  every:
    description:
      - How old the last check of an object may become, as a whole number and its unit (V(12h), V(30d), V(4w)), at most V(90d).
      - What would be older by the time of the next run is due in this one; runs are taken to go on coming as far apart as the
        last two.
    type: str
    default: 30d
  heapallindexed:
    description:
      - Whether it is also checked that each row of a table has its entry in each of its B-trees. That reads the table for each
        index, and takes about ten times as long. Functions that an index uses are called.
      - What was checked without it counts as not checked with it. The other way round it counts.
    type: bool
    default: false
  checkunique:
    description:
      - Whether it is also checked that no two rows that can be seen have the same key in a unique index. From PostgreSQL 17 on.
    type: bool
    default: false
  parent:
    description:
      - Whether B-trees are checked across their levels as well (C(bt_index_parent_check)). Nobody can write to the table
        meanwhile, so leave it out unless nobody needs to. It cannot be done on a standby.
    type: bool
    default: false
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.selection
  - vtchat.maintenance.attributes
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.health_info
  - module: vtchat.maintenance.reindex
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Check a whole database within a month, ten minutes at a time
  vtchat.maintenance.amcheck:
    dsn: "{{ maintenance_dsn }}"
    include: ['*']
    budget: 600

- name: Each row of the accounts against their indexes, each week
  vtchat.maintenance.amcheck:
    dsn: "{{ maintenance_dsn }}"
    tables: [app.accounts]
    every: 7d
    heapallindexed: true
    checkunique: true
"""

RETURN = r"""
status:
  description: V(ok), V(partial) or V(failed), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description:
    - One entry for each table, TOAST table and index that was due; what is in it is documented at
      RV(vtchat.maintenance.run#module:actions). V(done) means that nothing is wrong with it. One entry more says how many objects
      there are, and how long ago the oldest check was.
  returned: when connected
  type: list
  elements: dict
findings:
  description:
    - One entry of the level V(critical) for each object that is corrupt, or was when it was checked last; one of V(info) for
      one that was and is well now, or for the database, if nothing was known to be corrupt.
    - Its C(value) is the number of problems, C(problems) of its C(evidence) the first ten of them.
  returned: when connected
  type: list
  elements: dict
  sample:
    - step: 1
      check: corruption
      subject: app.accounts_pkey
      level: critical
      message: item order invariant violated for index "accounts_pkey"
totals:
  description: How many targets had which outcome.
  returned: when connected
  type: dict
  sample: {done: 12, unchanged: 1}
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("amcheck")


if __name__ == "__main__":
    main()
