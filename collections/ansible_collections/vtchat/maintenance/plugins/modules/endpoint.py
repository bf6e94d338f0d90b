#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint
short_description: Have an application do its own database maintenance
version_added: 1.0.0
description:
  - For databases that only the application can reach. Calls the endpoint with which the application starts its maintenance,
    and returns a result in the form of M(vtchat.maintenance.run).
  - Sends C(POST) with the token as C(Authorization) of the type C(Bearer). The application has done its work when it answers with
    a JSON object in which C(success) is C(true). Its C(error), and its C(healthy), C(issues) and C(stats) below C(health), are
    returned.
  - A page in HTML, a redirect, an answer without C(success), or a C(healthy) that is neither C(true) nor C(false) is a failure.
    Redirects are not followed, and the token goes to no other address than O(url).
  - The application does not say what it has changed, so a successful call counts as a change.
options:
  url:
    description:
      - Address of the endpoint. It begins with C(https://), except on this machine itself.
      - Without it, only O(health_url) is asked.
    type: str
  token:
    description: The token that the application expects. Needed with O(url).
    type: str
  plan:
    description: The name of the plan, for the record.
    type: str
    default: endpoint
  health_url:
    description:
      - Address to ask first, by C(GET) and without the token. The maintenance is only started if the answer is a JSON
        object, if its C(status), where it has one, is V(healthy), V(ok), V(up), V(pass) or V(passing), and if its C(healthy),
        where it has one, is C(true).
    type: str
  budget:
    description:
      - Seconds for everything. An application that has not answered by then may still be at work; the run fails.
    type: float
    default: 600
  repeat:
    description:
      - Whether to send the C(POST) again, up to four times with growing pauses, after a lost connection, C(408) or C(5xx). The
        maintenance may then be done twice, also at the same time. That does no harm where it deletes expired rows and
        refreshes views; it does where it is a C(VACUUM) of everything.
      - A request that was not carried out for certain (connection refused, C(429)) is sent again in any case, and one that the
        application itself has answered with a failure is not.
    type: bool
    default: false
  ca_path:
    description: File with the certificates to trust, in PEM format, instead of those of the system.
    type: path
attributes:
  check_mode:
    description: Returns what a run would do.
    support: partial
    details:
      - Asks O(health_url) and does not call O(url). What the application would do it does not say.
  diff_mode:
    description: The application does not say what it changes.
    support: none
  idempotent:
    description: Every call has the maintenance done.
    support: none
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Hourly maintenance by the application
  vtchat.maintenance.endpoint:
    plan: hourly
    url: https://app.example.com/api/cron/database-maintenance
    health_url: https://app.example.com/api/health
    token: "{{ cron_secret_token }}"
    repeat: true

- name: Weekly maintenance, which must not be done twice at once
  vtchat.maintenance.endpoint:
    plan: weekly
    url: https://app.example.com/api/cron/weekly-maintenance
    token: "{{ cron_secret_token }}"
    budget: 3600

- name: Only ask how the application is
  vtchat.maintenance.endpoint:
    plan: health
    health_url: https://app.example.com/api/health
"""

RETURN = r"""
status:
  description: V(ok) or V(failed).
  returned: always
  type: str
plan:
  description: The name of the plan.
  returned: always
  type: str
actions:
  description: One entry for the question after the health, one for the maintenance.
  returned: always; empty when nothing was begun
  type: list
  elements: dict
  contains:
    step:
      description: Number of the step, from 1.
      type: int
      returned: always
    kind:
      description: Always empty.
      type: str
      returned: always
    target:
      description: Path of the address.
      type: str
      returned: always
    operation:
      description: V(health) or V(endpoint).
      type: str
      returned: always
    outcome:
      description: V(done), V(unchanged), V(planned) (check mode), V(skipped) (the application is not healthy) or V(failed).
      type: str
      returned: always
    reason:
      description: Why, with what the application said.
      type: str
      returned: always
    changed:
      description: Whether the application was successful or, in check mode, would be asked.
      type: bool
      returned: always
    rows:
      description: Always V(null), as the application does not say.
      type: int
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    numbers:
      description: HTTP status, attempts, and what the application reports as C(healthy), C(issues) and C(stats).
      type: dict
      returned: always
    statements:
      description: Always empty.
      type: list
      elements: str
      returned: always
totals:
  description: How many entries had which outcome.
  returned: when options are right
  type: dict
  sample: {done: 1, unchanged: 1}
server:
  description: The host and the path of the endpoint.
  returned: when options are right
  type: dict
  sample: {provider: endpoint, host: app.example.com, target: /api/cron/database-maintenance}
budget:
  description: The option O(budget).
  returned: when options are right
  type: float
run_id:
  description: Always V(null), as there is no entry in a history.
  returned: when options are right
  type: int
schedule:
  description: C(every) or C(at) of the plan, where M(vtchat.maintenance.plan) has had it done; V(null) otherwise.
  returned: when options are right
  type: dict
retries:
  description: Requests after the first ones.
  returned: when options are right
  type: int
recent:
  description: Always empty, as nothing is known of earlier runs.
  returned: when options are right
  type: list
findings:
  description:
    - What the application says of its health and of its database, in the form of
      RV(vtchat.maintenance.health_info#module:findings). C(check) is C(application-health). Each of its C(issues) is a
      V(warning); that it is not healthy is V(critical).
  returned: when options are right
  type: list
  elements: dict
check_mode:
  description: Whether this was check mode.
  returned: when options are right
  type: bool
seconds:
  description: How long everything took.
  returned: when options are right
  type: float
turns:
  description: Requests sent, with their repetitions.
  returned: when options are right
  type: int
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._module import serve
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import endpoint


def main() -> None:
    serve("endpoint", endpoint)


if __name__ == "__main__":
    main()
