#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: analyze
short_description: Renew the planner's statistics where enough has changed
version_added: 1.0.0
description:
  - Analyzes those of the tables that need it. A table needs it when C(n_mod_since_analyze) has reached the smaller of
    O(threshold) + O(scale_factor) times its rows and the square root of a thousand times its rows, or when it was never
    analyzed.
  - A partitioned table, which autovacuum never analyzes, needs it as well when a partition was analyzed after it. So does
    a table from which others inherit; changes of its children count, and they are analyzed with it.
  - A foreign table, which autovacuum never analyzes and whose changes nobody counts, is analyzed after seven days.
  - Looks first whether autovacuum or anybody else works on the table, because a manual C(ANALYZE) cancels autovacuum. Such a
    table is V(contended).
  - Tables by name, by pattern, or both. Patterns never choose foreign tables or what belongs to a partitioned table, which is
    analyzed with it; where they choose, those with the most changes come first.
  - PostgreSQL only warns when the role may not analyze a table. Here that is a failure that names the missing C(GRANT), or one
    warning for all tables that patterns choose.
options:
  tables:
    description:
      - Tables, partitioned tables, foreign tables and materialized views. Each part of a name is taken literally, upper case
        and spaces included; a part with a dot or a double quote in it is written in double quotes.
      - One of O(tables) and O(include) is needed.
    type: list
    elements: str
  threshold:
    description:
      - Rows; with O(scale_factor) it is the number of changed rows from which on a table is due. As the setting
        C(autovacuum_analyze_threshold) has it by default.
    type: int
    default: 50
  scale_factor:
    description:
      - Share of the rows of the table that is added to O(threshold). As the setting C(autovacuum_analyze_scale_factor) has it
        by default. Large tables are due at the square root of a thousand times their rows, if that is less.
    type: float
    default: 0.1
  overrides:
    description:
      - Other thresholds for some tables. Where several entries have the name of a table, later ones come before earlier ones.
    type: list
    elements: dict
    suboptions:
      match:
        description: A shell pattern, compared with C(schema.name).
        type: str
        required: true
      threshold:
        description: Instead of O(threshold).
        type: int
      scale_factor:
        description: Instead of O(scale_factor).
        type: float
  jobs:
    description:
      - How many tables are analyzed at once, each over a connection of its own. The budget is that of all together.
    type: int
    default: 1
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.selection
  - vtchat.maintenance.attributes
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Keep the statistics of the busy tables fresh
  vtchat.maintenance.analyze:
    dsn: "{{ maintenance_dsn }}"
    tables: [users, user_subscriptions, sessions]

- name: All tables of a database, four at once, but for the archive
  vtchat.maintenance.analyze:
    dsn: "{{ maintenance_dsn }}"
    include: ['*']
    exclude: ['archive.*', '*_old']
    overrides:
      - match: billing.*
        scale_factor: 0.02
    jobs: 4
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
    perform("analyze")


if __name__ == "__main__":
    main()
