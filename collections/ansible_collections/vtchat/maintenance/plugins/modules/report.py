#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Make a page that shows how a database and its maintenance are
version_added: 1.0.0
description:
  - Reads the history that M(vtchat.maintenance.run) keeps in the schema C(maintenance), asks what
    M(vtchat.maintenance.health_info) and M(vtchat.maintenance.index_info) ask, and writes one HTML file about all of it. It reads
    only, takes no lock, and may look at a standby.
  - The page needs no script, no network and no other file. It has dark and light colours, prints on A4, and says its time zone
    once.
  - What cannot be read is missing on the page, which says why. Of a database that cannot be reached there is a page that says
    so, and the task fails.
  - The file is made on the machine that runs Ansible, wherever the database is read. It names schemas, tables, indexes, roles and
    hosts; texts of findings are those of the database, without secrets of the connection.
options:
  dest:
    description:
      - Folder of the file; it is made if there is none. A relative one is that of the playbook.
      - Without it, RV(report) is returned and no file is made.
    type: path
  name:
    description: Name of the file, without its ending C(.html). Without it, it is made of the name of the host in the inventory.
    type: str
  overview:
    description: Whether there is a page of M(vtchat.maintenance.report_overview) beside it, which it has a link to then.
    type: bool
    default: false
  title:
    description: What the page is about; the name of the host in the inventory, if nothing is said.
    type: str
  days:
    description: How many days, today included. The history keeps 90.
    type: int
    default: 90
  timezone:
    description: Time zone of all moments and days on the page, by its name in the IANA data base.
    type: str
    default: UTC
  plans:
    description:
      - Plans by name, as M(vtchat.maintenance.plan) takes them. Those that have not run are told, schedules and budgets are
        those of today, and health and indexes are asked with the options that the plan C(health) and the first step
        C(index_info) have.
      - Without it, what the history says of plans counts.
    type: dict
  steps:
    description: What is asked, as C(health_info) and C(index_info) with their options, in the place of what O(plans) says.
    type: list
    elements: dict
  transport:
    description:
      - How the maintenance reaches the database. The report reads the database itself; with V(endpoint) and without O(dsn)
        nothing is asked, there is no page, and the overview says so.
    type: str
    choices: [direct, endpoint]
    default: direct
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    description: Reads, and writes no file.
    support: full
  diff_mode:
    description: The page is another one each time.
    support: none
  idempotent:
    description: The page says when it was made.
    support: none
seealso:
  - module: vtchat.maintenance.report_overview
  - module: vtchat.maintenance.history_info
  - module: vtchat.maintenance.health_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Make a page about the last 90 days
  vtchat.maintenance.report:
    dsn: "{{ maintenance_dsn }}"
    plans: "{{ maintenance_plans }}"
    dest: "{{ playbook_dir }}/report"
  register: report_result

- name: Make a page for people in Berlin about the last month
  vtchat.maintenance.report:
    dsn: "{{ maintenance_dsn }}"
    dest: /var/www/maintenance
    days: 31
    timezone: Europe/Berlin
"""

RETURN = r"""
files:
  description: The file.
  returned: when O(dest) is given
  type: list
  elements: str
page:
  description: What M(vtchat.maintenance.report_overview) needs of it.
  returned: when O(dest) is given
  type: dict
report:
  description:
    - Everything that the page tells, in the sections C(health), C(plans), C(operations), C(work), C(growth), C(undone),
      C(indexes), C(alerts), C(runs) and C(who), with C(notes) of what is missing.
    - Moments are texts in O(timezone), durations seconds, sizes bytes.
  returned: when O(dest) is not given
  type: dict
server:
  description: Host, database, version and provider of the server.
  returned: when connected
  type: dict
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("report")


if __name__ == "__main__":
    main()
