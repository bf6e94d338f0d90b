#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vacuum
short_description: Vacuum the tables that need it, the most urgent first
version_added: 1.0.0
description:
  - Vacuums those of the tables that need it, ahead of autovacuum, in a quiet hour. What autovacuum itself waits for is
    reckoned by the formula of the server's version, with the options of the table; O(threshold_factor) is the share of it
    that is enough here.
  - A table is due for dead rows, inserted rows, pages that are no longer all-visible, or the age of its oldest transaction or
    multixact id. A TOAST table is judged by its own options and numbers, and vacuumed with its table.
  - The nearest to a forced freeze comes first, then what has the most dead rows for its size.
  - Never C(VACUUM FULL), and nothing in vain. Where somebody still needs the dead rows (a transaction that stays open, a
    prepared one, a replication slot, a query on a standby), the table is V(contended) and the reason names who it is. So it
    is where autovacuum or anybody else works on it or has it locked; nobody is waited for and nobody is cancelled.
  - A table that was only loaded so far, as by a restore, is left to autovacuum.
  - PostgreSQL only warns when the role may not vacuum a table or does not get its lock. Here the first is a failure that
    names the missing C(GRANT), the second is V(contended). Whether a table was vacuumed is known from what the server counts.
options:
  tables:
    description:
      - Tables, materialized views and partitioned tables, which mean their partitions. Each part of a name is taken
        literally, upper case and spaces included; a part with a dot or a double quote in it is written in double quotes.
      - One of O(tables) and O(include) is needed.
    type: list
    elements: str
  threshold_factor:
    description:
      - Share of the dead or inserted rows that autovacuum waits for, from which on a table is due. V(1) means when autovacuum
        itself would act.
    type: float
    default: 0.5
  min_dead_rows:
    description:
      - Fewer dead or inserted rows than this make no table due, however small it is.
    type: int
    default: 1000
  visible_share:
    description:
      - Share of the pages that are all-visible below which a table is due, because index-only scans have to look into it.
        Only tables of 1000 pages and more that were vacuumed before and have changed since. V(0) turns it off.
    type: float
    default: 0.5
  freeze_age_factor:
    description:
      - Share of the age at which autovacuum is forced to freeze a table (C(autovacuum_freeze_max_age),
        C(autovacuum_multixact_freeze_max_age), or what the table has) from which on it is due. All of its pages are read
        then.
    type: float
    default: 0.75
  overrides:
    description:
      - Other thresholds for some tables. Where several entries have the name of a table, later ones come before earlier ones.
    type: list
    elements: dict
    suboptions:
      match:
        description: A shell pattern, compared with C(schema.name) of the table and of the partitioned tables it belongs to.
        type: str
        required: true
      threshold_factor:
        description: Instead of O(threshold_factor).
        type: float
      min_dead_rows:
        description: Instead of O(min_dead_rows).
        type: int
      visible_share:
        description: Instead of O(visible_share).
        type: float
      freeze_age_factor:
        description: Instead of O(freeze_age_factor).
        type: float
  freeze:
    description:
      - Freeze every row (C(FREEZE)). Tables whose rows are not frozen are due then, those that were only loaded included.
    type: bool
    default: false
  analyze:
    description:
      - Whether a table that is vacuumed is analyzed in the same pass. V(auto) means where M(vtchat.maintenance.analyze) would
        do it; partitions and tables that inherit are left to it, because it goes by the whole.
    type: str
    choices: [auto, always, never]
    default: auto
  truncate:
    description:
      - Give empty pages at the end of a table back to the file system. That takes an C(ACCESS EXCLUSIVE) lock for a moment,
        which is replayed on standbys and cancels queries there.
    type: bool
    default: false
  index_cleanup:
    description:
      - Whether dead entries of indexes are removed. V(auto) leaves it to the server, or to the option of the table; after a
        VACUUM that went into failsafe mode it means V(on).
    type: str
    choices: [auto, 'on', 'off']
    default: auto
  process_toast:
    description:
      - Whether TOAST tables are judged and vacuumed as well.
    type: bool
    default: true
  parallel:
    description:
      - Parallel workers for the indexes of one table, V(0) for none; by default as the server decides. With O(jobs) all
        together get no more than C(max_parallel_workers).
    type: int
  buffer_usage_limit:
    description:
      - Buffers that one VACUUM may use, from 128 kB to 16 GB, or V(0) for no limit. Bytes, or with a unit, such as V(2M). By
        default as the server is set. From PostgreSQL 16 on.
    type: bytes
  pace:
    description:
      - V(gentle) works as slowly as autovacuum would on that table, V(fast) without any delay. Several at once (O(jobs))
        share the pace.
    type: str
    choices: [gentle, fast]
    default: gentle
  loaded:
    description:
      - Vacuum tables, too, that were only loaded so far.
    type: bool
    default: false
  jobs:
    description:
      - How many tables are vacuumed at once, each over a connection of its own. The budget is that of all together. There are
        fewer where the server has few connections left.
    type: int
    default: 1
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.selection
  - vtchat.maintenance.attributes
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.analyze
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Vacuum and analyze the busy tables where that is due
  vtchat.maintenance.vacuum:
    dsn: "{{ maintenance_dsn }}"
    tables: [users, user_subscriptions, sessions]

- name: A whole database at night, two tables at once, earlier for the queue
  vtchat.maintenance.vacuum:
    dsn: "{{ maintenance_dsn }}"
    include: ['*']
    exclude: ['archive.*']
    overrides:
      - match: app.queue
        threshold_factor: 0.1
    jobs: 2

- name: Freeze what was loaded and will not change again
  vtchat.maintenance.vacuum:
    dsn: "{{ maintenance_dsn }}"
    include: ['archive.*']
    freeze: true
    pace: fast
"""

RETURN = r"""
status:
  description: V(ok), V(partial), V(failed) or V(skipped), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description:
    - One entry for each target; what is in it is documented at RV(vtchat.maintenance.run#module:actions). Its C(rows) are dead
      rows that were removed, or in check mode that there are.
    - Its C(numbers) have what decided, and with C(_after) at the end of the name what was measured after VACUUM, such
      as C(dead), C(pages), C(visible_share), C(frozen_share) (from PostgreSQL 18 on), C(freeze_age), C(multixact_age),
      C(toast_dead). Where at most a hundred tables are due and the server speaks English, C(verbose) has its own figures
      (C(VERBOSE)), line by line; C(-v) shows them.
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
    perform("vacuum")


if __name__ == "__main__":
    main()
