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
        V(index), V(reindex), V(amcheck), V(index_info) or V(health_info)), and as its value the options of the module of that
        name.
      - All faults in all steps are reported together, before anything is connected to.
    type: list
    elements: dict
    required: true
  on_error:
    description:
      - What a failed step means for those after it. With V(continue) they are executed and the task fails at the end.
    type: str
    choices: [continue, stop]
    default: continue
  every:
    description:
      - How often the plan is to run, from the start of one run to that of the next, as a whole number and its unit (V(30m),
        V(1h), V(7d), V(2w)), at most V(90d). Recorded with each run.
      - A sixth of it may be missing, and ten minutes at most, so that a trigger that comes a little early is not lost.
    type: str
  at:
    description:
      - When the plan is to run, instead of O(every), as days of the week, time of day and time zone, such as V(Sun 02:00 UTC),
        V(Mon,Thu 02:30 Europe/Berlin) or, for each day, V(02:00). Without a zone it is UTC. Recorded with each run.
      - A time that is left out when the clock is put forward means the moment at which that is done; of an hour that comes twice
        the first counts.
    type: str
  due:
    description:
      - V(always) runs the plan now, whatever O(every) or O(at) say.
      - V(auto) runs it if it is due. By O(every) it is when the interval has passed since the latest run that was V(ok) or
        V(partial) began; by O(at) when there has been none since the last such moment. So a missed run is caught up by the next
        trigger, and nothing is done twice. Otherwise the status is V(skipped), and the message says when it is due again.
      - A run in which nothing failed but steps that only read, such as C(health_info), counts like one that was V(ok).
      - The history decides, by the clock of the server, under the lock of the run, so it does not matter who asks, and how often.
        Without a history that can be read and written it is always due by O(every) and in the hour after each moment by O(at),
        with a warning.
      - A plan without O(every) and O(at) is always due.
    type: str
    choices: [always, auto]
    default: always
  ping_url:
    description:
      - Address of a monitor that notices silence, such as a check of healthchecks.io. It is asked for with C(/start) at the end
        of its path when the run begins, as it is when it ends V(ok) or V(partial), and with C(/fail) when it fails. C({plan}) in
        it becomes the name of the plan. A query stays at the end.
      - Nothing is told in check mode, of a run that is V(skipped), or where another run holds the lock.
      - Never shown. A monitor that is down is a warning and costs a few seconds; the run goes on meanwhile.
    type: str
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  diff_mode:
    support: partial
    details: Shows the number of expired rows for C(purge) steps and the definitions for C(index) steps.
  idempotent:
    support: partial
    details: As far as the operations of its steps are.
seealso:
  - module: vtchat.maintenance.purge
  - module: vtchat.maintenance.refresh
  - module: vtchat.maintenance.analyze
  - module: vtchat.maintenance.vacuum
  - module: vtchat.maintenance.index
  - module: vtchat.maintenance.history_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Hourly maintenance
  vtchat.maintenance.run:
    dsn: "{{ maintenance_dsn }}"
    plan: hourly
    budget: 600
    steps:
      - purge:
          table: sessions
          column: expires_at
          timezone: UTC
      - refresh:
          view: user_subscription_summary
      - analyze:
          tables: [users, user_subscriptions, sessions]
"""

RETURN = r"""
status:
  description:
    - V(ok), V(partial) (something was deferred or contended), V(failed), or V(skipped) (another run holds the lock, the plan is
      not due, or the window is not open; then nobody was connected to).
    - The history knows V(abandoned), too; the process that waited for the run was killed, and the run stopped soon after.
  returned: when connected
  type: str
actions:
  description: One entry for each target, in the order in which they were dealt with.
  returned: when connected
  type: list
  elements: dict
  contains:
    step:
      description: Number of the step, from 1.
      type: int
      returned: always
    operation:
      description: Name of the operation.
      type: str
      returned: always
    kind:
      description: What the target is, where a module deals with several kinds; empty for steps of a plan.
      type: str
      returned: always
    target:
      description: The object, schema-qualified and quoted where SQL needs it.
      type: str
      returned: always
    outcome:
      description:
        - V(done), V(unchanged), V(planned) (check mode), V(skipped), V(contended) (somebody else holds it), V(deferred)
          (did not fit into the budget) or V(failed).
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
    changed:
      description: Whether data, structure or statistics changed or, in check mode, would change.
      type: bool
      returned: always
    rows:
      description: Rows affected; V(null) where rows mean nothing.
      type: int
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    numbers:
      description:
        - What decided, and what was measured afterwards. Sizes in bytes, durations in seconds.
        - Of targets that stay as they are, only the first hundred of a step have them.
      type: dict
      returned: always
    statements:
      description: The SQL that was, or would be, sent; a repeated batch once.
      type: list
      elements: str
      returned: always
    counted_as:
      description: What became of the rows, such as V(purged), where totals add them up.
      type: str
      returned: for C(purge)
findings:
  description: What steps that only read have found. Whether that is a failure is for you to decide.
  returned: when connected
  type: list
  elements: dict
  contains:
    step:
      description: Number of the step, from 1.
      type: int
      returned: always
    check:
      description: What was looked at.
      type: str
      returned: always
    subject:
      description: What it is about.
      type: str
      returned: always
    level:
      description: V(info), V(warning) or V(critical).
      type: str
      returned: always
    message:
      description: What was found, in one sentence.
      type: str
      returned: always
    value:
      description: What was measured.
      type: raw
      returned: always
    threshold:
      description: What it was compared with; V(null) where nothing was.
      type: raw
      returned: always
    evidence:
      description: What else was seen.
      type: dict
      returned: always
    advice:
      description: What to do about it.
      type: str
      returned: always
warnings:
  description: What is worth knowing although nothing failed; also what the server warned of while an action ran.
  returned: when connected
  type: list
  elements: str
files:
  description: The files that were written on the machine that runs Ansible, as M(vtchat.maintenance.index_info) has some.
  returned: when a step asks for some
  type: list
  elements: str
totals:
  description: How many targets had which outcome.
  returned: when connected
  type: dict
  sample: {done: 1, unchanged: 2}
run_id:
  description: Number of the run in the history; V(null) without one.
  returned: when connected
  type: int
schedule:
  description: O(every) or O(at), as it was given; V(null) without either.
  returned: when connected
  type: dict
  sample: {every: 1h}
due:
  description: Why the plan is due, or why not.
  returned: when O(due=auto) and there is O(every) or O(at)
  type: str
retries:
  description: Attempts after the first ones, to connect and at statements that had waited for a lock in vain.
  returned: when connected
  type: int
counters:
  description:
    - What all recorded runs in this database have done together, by operation and outcome, this one included. They only grow.
    - Each has C(operation), C(outcome), C(actions) (targets), C(rows) (purged) and C(reclaimed_bytes).
  returned: when the run is recorded in a history of version 5 at least
  type: list
  elements: dict
recent:
  description: Up to ten earlier runs of the plan, newest first.
  returned: when connected
  type: list
  elements: dict
  contains:
    run_id:
      description: Number of the run.
      type: int
      returned: always
    started:
      description: When it began, in UTC.
      type: str
      returned: always
    status:
      description: V(ok), V(partial), V(failed), V(abandoned) or V(running).
      type: str
      returned: always
    seconds:
      description: How long it took; V(null) where it has no end.
      type: float
      returned: always
    rows:
      description: Rows affected by all its actions; V(null) where rows mean nothing.
      type: int
      returned: always
seconds:
  description: How long the run took, connecting included.
  returned: when connected
  type: float
server:
  description: Host, database, version and provider of the server.
  returned: when connected
  type: dict
  sample: {host: db.example.com, database: app, version: "18.6", provider: neon}
turns:
  description: Round trips to the server after connecting.
  returned: when connected
  type: int
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("run")


if __name__ == "__main__":
    main()
