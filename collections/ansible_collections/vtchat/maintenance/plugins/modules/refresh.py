#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: refresh
short_description: Refresh materialized views whose data has changed
version_added: 1.0.0
description:
  - Refreshes materialized views in the order of their dependencies, concurrently where that is possible.
  - A view is left alone only if it is proved that a recomputation would give the same rows. The proof is made of its definition
    and of the files and change counters of every relation underneath, read before the last refresh and now.
  - What can be proved is a list. On it are joins, aggregates, window functions, set operations, subqueries and PostgreSQL's own
    immutable functions, on tables, partitions, views and other materialized views. A view that reads anything else, such as
    V(now(\)), a function written by a user, a foreign table, a sequence or a table with row-level security, is refreshed each
    time, and the reason says which it was and what would help. So is every view before PostgreSQL 15, after PostgreSQL 18, behind
    a transaction pooler and without a history.
  - Counters reach the statistics up to ten seconds late. While other sessions are busy in the database, finding out that
    nothing has changed can therefore take about that long, or a minute where the refresh itself takes longer. It needs the
    right to see what other sessions do, that is membership in C(pg_read_all_stats).
  - Whoever may switch off C(track_counts) with C(SET) in a session can change rows that nothing counts, and nothing shows that.
    O(max_age) limits for how long such a change can be missing.
  - A refresh runs with the rights of the owner of the view, and since PostgreSQL 17 with C(search_path = pg_catalog, pg_temp).
    Check mode says which rights the owner lacks.
options:
  view:
    description:
      - The materialized view. Each part of the name is taken literally, upper case and spaces included; a part with a dot or
        a double quote in it is written in double quotes.
    type: str
  views:
    description: Several materialized views. Exactly one of O(view) and O(views) is needed.
    type: list
    elements: str
  concurrently:
    description:
      - Whether readers may go on reading during the refresh. That takes a unique index on plain columns, without a
        condition, and a view that has been filled before.
      - With V(auto) a view for which it is impossible is refreshed all the same, which keeps readers out meanwhile.
    type: str
    choices: [auto, require, never]
    default: auto
  max_age:
    description:
      - Refresh in any case when the last refresh is older than this, in seconds. V(0) means no limit.
      - It bounds what cannot be proved in principle, see the description.
    type: int
    default: 86400
  force:
    description: Refresh although nothing has changed.
    type: bool
    default: false
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  idempotent:
    support: partial
    details: Views whose data cannot be told to be unchanged are refreshed each time; see the description.
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Refresh the summary that the application reads
  vtchat.maintenance.refresh:
    dsn: "{{ maintenance_dsn }}"
    view: user_subscription_summary

- name: Refresh two views, never keeping a reader waiting, and at least every six hours
  vtchat.maintenance.refresh:
    views: [reporting.daily_totals, reporting.monthly_totals]
    concurrently: require
    max_age: 21600
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
    perform("refresh")


if __name__ == "__main__":
    main()
