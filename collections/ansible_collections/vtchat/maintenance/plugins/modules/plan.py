#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Run one of several maintenance plans
version_added: 1.0.0
description:
  - Looks at the plans like M(vtchat.maintenance.plan_info), chooses one, and runs it like M(vtchat.maintenance.run) or, where
    only the application can reach the database, like M(vtchat.maintenance.endpoint). All of that is one task.
  - Each option that the task does not have is taken from the variable of its name with C(maintenance_) before it, O(plans) from
    C(maintenance_plans). So plans and connections may live in the inventory, and the task needs no option at all.
  - This is an action plugin. It works on the controller, and has the module C(run) or C(endpoint) do the rest elsewhere where
    connection, user or interpreter ask for it.
options:
  plan:
    description: Name of the plan, a key of O(plans). V(health) is there without being one, with the step C(health_info) alone,
      for O(transport=direct); with V(endpoint) it is V(skipped).
    type: str
    default: hourly
  plans:
    description:
      - Plans by name. Each has C(steps) and may have C(budget) (seconds), C(on_error) (V(continue) or V(stop)) and a C(window)
        of its own, in the place of O(window); an empty one is none. C(every) or C(at) say when it is to run; see
        M(vtchat.maintenance.run).
      - For O(transport=endpoint) it has an C(endpoint), a mapping of C(path) and, if wanted, C(health) (the path to ask first)
        and C(repeat) (whether the maintenance may be started twice).
      - Required, as an option or as the variable C(maintenance_plans).
    type: raw
  transport:
    description:
      - How the database is reached. V(direct) needs O(dsn). The environment variable E(DATABASE_URL) is not read.
      - V(endpoint) needs O(endpoint_url) and O(endpoint_token), and a plan that has an C(endpoint).
    type: str
    choices: [direct, endpoint]
    default: direct
  endpoint_url:
    description: Address of the application, to which the paths of plans are appended.
    type: str
  endpoint_token:
    description: The token that the application expects.
    type: str
  history:
    description: Whether to record the run in the schema C(maintenance) of the database; see M(vtchat.maintenance.run).
    type: bool
    default: true
  due:
    description:
      - V(auto) runs the plan only if it is due by its C(every) or C(at) and by the history; see M(vtchat.maintenance.run).
        V(always) runs it whatever they say.
      - For O(transport=endpoint) there is no history, so that it is always due by C(every) and in the hour after each moment by
        C(at), by the clock of the controller, with a warning.
    type: str
    choices: [always, auto]
    default: always
  ping_url:
    description:
      - Address of a monitor that notices silence, for whichever plan runs; see M(vtchat.maintenance.run). C({plan}) in it becomes
        the name of the plan, so that each plan can have a check of its own.
    type: str
  window:
    description:
      - The hours of each day in which plans without a C(window) of their own may run, a mapping of C(not_before), C(not_after)
        and C(timezone); see M(vtchat.maintenance.run). It holds for both transports.
    type: dict
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  diff_mode:
    support: partial
    details: As far as the operations of its steps do.
  idempotent:
    support: partial
    details: As far as the operations of its steps are.
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.endpoint
  - module: vtchat.maintenance.plan_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Plan and connection from the inventory (maintenance_plan, maintenance_plans, maintenance_dsn)
  vtchat.maintenance.plan:

- name: Another plan of the inventory
  vtchat.maintenance.plan:
    plan: weekly

- name: All of it here
  vtchat.maintenance.plan:
    plan: hourly
    plans:
      hourly:
        budget: 600
        steps:
          - analyze: {tables: [users, sessions]}
    dsn: "{{ database_url }}"
"""

RETURN = r"""
status:
  description: How the run ended; the other values are those of M(vtchat.maintenance.run) and M(vtchat.maintenance.endpoint).
  type: str
  returned: always
  sample: ok
plan:
  description: Name of the plan.
  type: str
  returned: always
  sample: hourly
actions:
  description: What became of each target.
  type: list
  elements: dict
  returned: always
errors:
  description: All faults of the options and of the plans, one by one.
  type: list
  elements: str
  returned: when options or plans are wrong
"""
