#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run
short_description: Run a maintenance plan against one database
version_added: 1.0.0
description:
  - Runs the steps of a plan over one connection, one run at a time in each database, within a time budget.
  - Each step measures, decides and acts; a step for which there is nothing to do says why.
  - Every action is recorded in the schema C(maintenance) of the database before it is executed, and completed afterwards
    (see O(history)).
  - Refuses a standby and, unless told otherwise, a transaction pooler (see O(pooler)).
  - Never cancels or terminates somebody else's session. What is held by others is V(contended), what does not fit into
    the budget is V(deferred) and goes first next time; neither is a failure.
options:
  plan:
    description: The name of the plan, for the record.
    type: str
    required: true
  steps:
    description:
      - The steps. Each is a mapping with one key, the name of an operation (V(purge), V(refresh), V(analyze), V(vacuum),
        V(index) or V(reindex)), and as its value the options of the module of that name.
