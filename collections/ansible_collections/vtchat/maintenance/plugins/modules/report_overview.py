#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report_overview
short_description: Make a page that shows many databases at a glance
version_added: 1.0.0
description:
  - Writes one HTML file about all databases of a play, the worst first, with links to the pages that
    M(vtchat.maintenance.report) has made of them beside it.
  - It connects to nothing. Of a database whose report failed it says why.
options:
  dest:
    description: Folder of the file C(index.html); the one of the pages.
    type: path
    required: true
  results:
    description: What M(vtchat.maintenance.report) has returned, by the name of the host.
    type: dict
    required: true
  timezone:
    description: Time zone of the pages.
    type: str
    default: UTC
attributes:
  check_mode:
    description: Writes no file.
    support: full
  diff_mode:
    description: The page is another one each time.
    support: none
  idempotent:
    description: The page says when it was made.
    support: none
  action:
    description: It is done by an action plugin, on the machine that runs Ansible.
    support: full
seealso:
  - module: vtchat.maintenance.report
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Make a page about all of them
  vtchat.maintenance.report_overview:
    dest: "{{ playbook_dir }}/report"
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'report_result'))) }}"
  run_once: true
"""

RETURN = r"""
files:
  description: The file.
  returned: success
  type: list
  elements: str
"""
