#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: history_info
short_description: Read what maintenance runs have done
version_added: 1.0.0
description:
  - Reads the latest runs and their actions from the history that M(vtchat.maintenance.run) and the modules of the single
    operations keep in the schema C(maintenance) of the database.
  - Returns an empty list for a database without a history.
options:
  plan:
    description: Only runs of this plan. A module of a single operation records a plan of its own name.
    type: str
  target:
    description: Only runs with an action on this object, written as the C(target) in RV(runs[].actions).
    type: str
  limit:
    description: How many runs.
    type: int
    default: 10
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes.info
  - vtchat.maintenance.attributes
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Read the last day of hourly runs
  vtchat.maintenance.history_info:
    dsn: "{{ maintenance_dsn }}"
    plan: hourly
    limit: 24
  register: history
"""

RETURN = r"""
runs:
  description: The runs, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    run_id:
      description: Number of the run.
      type: int
      returned: always
    plan:
      description: Name of the plan.
      type: str
      returned: always
    status:
      description: V(ok), V(partial), V(failed), V(abandoned) or V(running).
      type: str
      returned: always
    message:
      description: The totals in words.
      type: str
      returned: always
    role:
      description: The role that ran it.
      type: str
      returned: always
    started:
      description: When it began, in UTC.
      type: str
      returned: always
    seconds:
      description: How long it took; V(null) while it is under way.
      type: float
      returned: always
    steps:
      description: The steps with their options.
      type: list
      elements: dict
      returned: always
    schedule:
      description: When the plan is due, as it said it (C(every) or C(at)); V(null) where it did not, or the history is older than
        version 4.
      type: dict
      returned: always
    retries:
      description: Attempts after the first ones; V(null) where the history is older than version 4.
      type: int
      returned: always
    budget:
      description: Seconds that it might take; this and the next three are V(null) where the history is older than version 5.
      type: float
      returned: always
    host:
      description: What executed it, as the name of a machine or the address of a run of a workflow.
      type: str
      returned: always
    collection:
      description: Version of this collection.
      type: str
      returned: always
    server_version:
      description: Version of PostgreSQL.
      type: str
      returned: always
    totals:
      description: How many targets had which outcome.
      type: dict
      returned: always
    actions:
      description: What was decided and done, in the form of the result of M(vtchat.maintenance.run).
      type: list
      elements: dict
      returned: always
    findings:
      description: What was found, in the form of the result of M(vtchat.maintenance.run).
      type: list
      elements: dict
      returned: when the history is of version 2
server:
  description: Host, database, version and provider of the server.
  returned: success
  type: dict
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("history_info")


if __name__ == "__main__":
    main()
