#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: index
short_description: Bring an index to its definition while the application goes on reading and writing
version_added: 1.0.0
description:
  - Creates, replaces or removes one index. Whether an existing one is what O(definition) says is decided by the server,
    which prints both; for that the wanted index is created on an empty copy of the table, in a transaction that is rolled
    back, in check mode too.
  - An index is built with C(CREATE INDEX CONCURRENTLY) under a name made from its own with C(_new_) and eight digits, and
    renamed when it is finished. So the name never stands for an index that cannot be used, and a different or invalid index
    is replaced without a moment in which neither can be used. Comment, C(CLUSTER) and statistics targets of the old one are
    kept.
  - Transactions that the build would have to wait for are waited for before it begins, and so is whoever vacuums the table or
    changes its structure. If the budget ends before they do, the outcome is V(contended) and nothing has been built.
  - What a failed or interrupted build has left is removed or made use of by the next run; nothing else is touched. An index
    that somebody is building just now is left alone.
  - In a partitioned table the index is built for one partition after the other. Valid indexes of partitions that have the
    wanted definition become parts of it, as they do with C(CREATE INDEX). Replacing and removing the index of a partitioned
    table takes a short exclusive lock on all partitions.
  - An index that enforces a constraint, that a foreign key refers to, that is the replica identity or part of the index of a
    partitioned table is not replaced or removed.
  - Check mode cannot know whether the rows fit a unique index.
  - Before PostgreSQL 19, C(INSERT ... ON CONFLICT) fails now and then while a unique index is built or dropped beside another
    one. Then there is a warning; do it when nobody inserts in this way.
options:
  definition:
    description:
      - The C(CREATE INDEX) statement. Unquoted names are folded to lower case, as in SQL.
      - C(CONCURRENTLY) and C(IF NOT EXISTS) may stand in it and mean nothing here.
      - Expressions must not name the schema of a column.
      - Goes into statements as it is. Only trusted text belongs here.
    type: str
  name:
    description:
      - The index to be removed. Each part of the name is taken literally, upper case and spaces included; a part with a dot
        or a double quote in it is written in double quotes.
      - Exactly one of O(definition) and O(name) is needed.
    type: str
  state:
    description:
      - V(present) needs O(definition).
      - With V(absent) the index is removed, with C(DROP INDEX CONCURRENTLY) unless its table is partitioned. Of
        O(definition), only the names of the index and of its table count then.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    support: full
    details: Tries the definition out on an empty copy of the table, in a transaction that is rolled back.
  diff_mode:
    support: full
    details: Shows the definition before and afterwards.
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.sql_object
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Look sessions up by their token
  vtchat.maintenance.index:
    dsn: "{{ maintenance_dsn }}"
    definition: CREATE INDEX idx_sessions_token_hash ON sessions USING hash (token)

- name: Plans of active subscriptions
  vtchat.maintenance.index:
    definition: |
      CREATE INDEX idx_user_subscriptions_plan_status ON user_subscriptions (plan, status) WHERE status = 'active'
    budget: 3600

- name: An index that nobody uses
  vtchat.maintenance.index:
    name: public.idx_users_protected
    state: absent
"""

RETURN = r"""
status:
  description: V(ok), V(partial), V(failed) or V(skipped), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description:
    - One entry for the index; what is in it is documented at RV(vtchat.maintenance.run#module:actions).
    - Its C(numbers) have C(before) and C(after), the definitions as the server prints them; C(bytes), the size of the index;
      and C(seconds_waited), how long older transactions were waited for before the work began.
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
    perform("index")


if __name__ == "__main__":
    main()
