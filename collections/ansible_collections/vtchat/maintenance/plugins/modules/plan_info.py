#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_info
short_description: Look at maintenance plans before they are used
version_added: 1.0.0
description:
  - Looks at the shape of plans, down to their steps, and fails with everything that is wrong, each with the path to it and the
    name that was probably meant. Nothing is connected to.
  - What is inside the steps is looked at by M(vtchat.maintenance.run) and M(vtchat.maintenance.maintainer).
  - Returns one plan, for M(vtchat.maintenance.run), and the steps of all, for M(vtchat.maintenance.maintainer).
options:
  plans:
    description:
      - Plans by name. Each has C(steps) and may have C(budget) (seconds), C(on_error) (V(continue) or V(stop)), C(every) or C(at)
        (when it is due, such as V(1h) or V(Sun 02:00 UTC)), C(window), a mapping of C(not_before), C(not_after) and C(timezone),
        and C(endpoint), a mapping of C(path), C(health) and C(repeat).
    type: raw
    required: true
  name:
    description: The plan to return. It must be there, and fit O(transport).
    type: str
  transport:
    description: V(direct) needs a plan with C(steps), V(endpoint) one with an C(endpoint).
    type: str
    choices: [direct, endpoint]
    default: direct
  label:
    description: What messages call the plans, usually the name of a variable.
    type: str
    default: plans
extends_documentation_fragment:
  - vtchat.maintenance.attributes.info
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Look at the plans
  vtchat.maintenance.plan_info:
    plans: "{{ maintenance_plans }}"
    name: hourly
    label: maintenance_plans
  register: checked

- name: Run one
  vtchat.maintenance.run:
    dsn: "{{ maintenance_dsn }}"
    plan: hourly
    steps: "{{ checked.plan.steps }}"
"""

RETURN = r"""
plan:
  description: The plan O(name) as it was given, empty without a name.
  returned: success
  type: dict
steps:
  description: The steps of all plans, one after the other.
  returned: success
  type: list
  elements: dict
errors:
  description: All faults, one by one.
  returned: failure
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine import plan_check
from ansible_collections.vtchat.maintenance.plugins.module_utils._module import Module


def main() -> None:
    module = Module(plan_check.ARGUMENT_SPEC, supports_check_mode=True)
    module.finish(plan_check.plan_info(module.params))


if __name__ == "__main__":
    main()
