#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Tell whether a database is well, and whether its maintenance does its work
version_added: 1.0.0
description:
  - Measures, compares with thresholds, and returns what was found as C(findings). It reads only, takes no lock that anybody
    waits for, and may look at a standby.
  - Checks of the maintenance read the history of its runs; without one they are V(unknown). They are C(maintenance-overdue) (a
    plan is late), C(maintenance-failures) (runs in a row that failed), C(maintenance-slow), C(maintenance-retries) and
    C(expired-rows) (rows that the plans purge and that are there now; where they cannot be counted by an index, or only by the
    purge itself, those that the last purge has left). A run whose steps only read is none of them, but for C(amcheck) in a plan
    with a schedule.
  - Checks of the database are C(freeze-age) and C(multixact-age) (how far transaction IDs and multixacts are from running out),
    C(connections) and C(invalid-indexes).
  - A plan C(health) with this step is there without being written, see M(vtchat.maintenance.plan).
options:
  fail_on:
    description: The level of a finding that fails the run. V(never) only tells.
    type: str
    choices: [never, critical, warning]
    default: critical
  checks:
    description: The checks that are wanted, by their names or those of their groups. Without it, all of them.
    type: list
    elements: str
  thresholds:
    description:
      - Other thresholds, by check, such as C(connections), each a mapping of C(warning) and C(critical). A level that is left
        out keeps its default, V(null) means never. Values from the threshold on are bad.
      - C(objects) are thresholds of some subjects alone, by a shell-style pattern of their names, such as C(public.events) or
        C(audit.*). The first that fits counts.
    type: dict
  ignore:
    description:
      - Findings that are known, and are not to be told for a while. Each has C(check), C(reason), C(until) (the last day, in UTC,
        such as V(2027-03-31)) and may have C(object), a shell-style pattern of subjects.
      - What is ignored has the level V(info), and says so. After that day it is told again, with the reason that it had.
    type: list
    elements: dict
  size_limit:
    description: How large the database may become, in bytes or with a unit as in V(10GB), for C(database-size) and
      C(database-forecast). Without it, what Neon allows, where it says so.
    type: bytes
  plans:
    description:
      - The plans that are to run, by name, each with its C(every) or C(at), as in M(vtchat.maintenance.run). Without it, the
        plans that the history knows are looked at, with the schedules that they had.
      - The module M(vtchat.maintenance.plan) says here what its plans have.
    type: dict
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes.info
  - vtchat.maintenance.attributes
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.history_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Look at a database, and fail if something is critical
  vtchat.maintenance.health_info:
    dsn: "{{ maintenance_dsn }}"

- name: Only tell, with other thresholds
  vtchat.maintenance.health_info:
    dsn: "{{ maintenance_dsn }}"
    fail_on: never
    thresholds:
      connections: {warning: 60, critical: 90}
      maintenance-slow: {warning: null}
      dead-rows:
        objects:
          public.queue: {warning: 60}
    ignore:
      - check: invalid-indexes
        object: audit.*
        reason: They are rebuilt with the move to the new server
        until: "2027-03-31"
    plans:
      hourly: {every: 1h}
      weekly: {at: Sun 02:00 UTC}
"""

RETURN = r"""
status:
  description: V(ok) or V(failed), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
findings:
  description: What was found, the worst first. A check that is well, or that cannot be seen, has one entry.
  returned: when connected
  type: list
  elements: dict
  contains:
    check:
      description: The check, such as V(freeze-age).
      type: str
      returned: always
    subject:
      description: What it is about, such as a table, a plan or the database.
      type: str
      returned: always
    level:
      description: V(info) is well. V(unknown) could not be seen, and C(message) says why. V(warning) and V(critical) are bad.
      type: str
      returned: always
    message:
      description: One sentence.
      type: str
      returned: always
    value:
      description: What was measured, in the unit that C(evidence) names.
      type: float
      returned: always
    threshold:
      description: The threshold that was reached, or else the nearest one.
      type: float
      returned: always
    evidence:
      description: What else was seen.
      type: dict
      returned: always
    advice:
      description: What to do about it.
      type: str
      returned: always
    meaning:
      description: Why it matters, where it is bad.
      type: str
      returned: always
    group:
      description: What the check is about, such as V(wraparound) or V(indexes).
      type: str
      returned: always
    step:
      description: Number of the step, from 1.
      type: int
      returned: always
actions:
  description: One entry that says how many checks came to what; its outcome is V(failed) where O(fail_on) says so.
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
    perform("health_info")


if __name__ == "__main__":
    main()
