#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: index_info
short_description: Tell which indexes are invalid, there twice, unused, missing or bloated
version_added: 1.0.0
description:
  - Looks at the indexes of a database and returns what is worth knowing as C(findings), with the statement that mends it and
    what speaks for it. It reads only and never drops anything; on request it writes a script that does, and one that undoes
    that.
  - C(invalid-index) costs writes and serves nobody. What an interrupted rebuild has left is told apart.
  - C(duplicate-index) has the same columns as another index; C(redundant-index) has those that another B-tree begins with. What
    is compared is all that makes a difference, i.e. method, operator classes and their parameters, collations, order, place of
    NULL, condition, included columns, uniqueness, C(NULLS NOT DISTINCT) and statistics targets. Which of two stays is said.
    Never told to be dropped are indexes of constraints, those that foreign keys depend on, replica identities, what belongs to
    an extension, and the part of a partition, which goes with the index of its partitioned table.
  - C(unused-index) is one that no server has used for O(unused_after). That is only said where it is certain, which needs
    counters that are as old (a crash, a restore and some providers set them to zero) and an index that is as old, by the runs
    in the history. Unique indexes, those that a foreign key needs, and those over expressions, whose statistics the planner
    goes by, are never told.
  - C(foreign-key-without-index) makes whoever deletes a row read the whole table that may refer to it.
  - C(bloated-index) is what the step C(reindex) would rebuild by the statistics of the table.
  - C(mostly-null-index) and, from PostgreSQL 18 on, C(skip-scan-index) are hints.
options:
  include:
    description:
      - Shell patterns (C(*), C(?), C([abc]), C([!abc])) of the tables that are looked at, compared with C(schema.name) without
        any quotes. A pattern that has the name of a partitioned table has its partitions.
    type: list
    elements: str
    default: ['*']
  exclude:
    description:
      - Patterns of tables, and of indexes, of which nothing is said.
    type: list
    elements: str
  min_size:
    description:
      - Nothing is said of smaller indexes. Bytes, or with a unit, such as V(10M). Without it all are told; what is below 1 MiB
        is no warning.
    type: bytes
  unused_after:
    description:
      - How long nobody must have used an index. V(0) takes the counters as they are, however young they or the index may be.
    type: str
    default: 35d
  replicas:
    description:
      - How the standbys of this server are reached, each like O(dsn). An index is unused when nobody uses it on any of them.
      - While one cannot be reached, or while more standbys than these read from the server, nothing is called unused.
    type: list
    elements: str
  drop_script:
    description:
      - A file on the machine that runs Ansible (a relative path begins at the folder of the playbook), which is to have the
        statements that drop all that can be done without. It is written when it is different, as a whole, and can be read by
        its owner only.
    type: str
  undo_script:
    description:
      - The file that is to have the statements that make it again as it was, i.e. definitions, tablespaces, comments,
        statistics targets, and marks of C(CLUSTER). Without it, its name is that of O(drop_script) with V(undo) for V(drop).
    type: str
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes.info
  - vtchat.maintenance.attributes
notes:
  - Needs no right. Of columns that the role may not read nobody sees the statistics, so nothing is said of their bloat and
    NULLs.
seealso:
  - module: vtchat.maintenance.reindex
  - module: vtchat.maintenance.index
  - module: vtchat.maintenance.health_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: What is to be said of the indexes of a database
  vtchat.maintenance.index_info:
    dsn: "{{ maintenance_dsn }}"

- name: The same with the standby that reports are made from, and scripts for what can go
  vtchat.maintenance.index_info:
    dsn: "{{ maintenance_dsn }}"
    exclude: ['archive.*']
    replicas: ["{{ reporting_dsn }}"]
    drop_script: "reports/{{ inventory_hostname }}-drop.sql"
"""

RETURN = r"""
status:
  description: V(ok) or V(failed), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
findings:
  description:
    - One entry for each index, of the first class that it is of; of each class at most 100, the largest first. A class without
      any has one entry with the level V(info).
    - What they have in common is documented at RV(vtchat.maintenance.health_info#module:findings). C(value) is in bytes.
  returned: when connected
  type: list
  elements: dict
  contains:
    check:
      description: The class, such as V(duplicate-index).
      type: str
      returned: always
    subject:
      description: The index, or the table with the name of its foreign key.
      type: str
      returned: always
    level:
      description: V(warning), or V(info) for hints and for what is small. V(unknown) could not be found out.
      type: str
      returned: always
    evidence:
      description:
        - C(table), C(bytes), C(scans) on all servers since C(counted_since), C(writes), C(writes_per_scan), C(confidence),
          C(covered_by), and for what can be dropped C(drop) and C(undo).
      type: dict
      returned: always
    advice:
      description: The statement that mends it.
      type: str
      returned: always
files:
  description: The scripts.
  returned: when O(drop_script) is set
  type: list
  elements: str
actions:
  description: One entry that says what it comes to.
  returned: when connected
  type: list
  elements: dict
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("index_info")


if __name__ == "__main__":
    main()
