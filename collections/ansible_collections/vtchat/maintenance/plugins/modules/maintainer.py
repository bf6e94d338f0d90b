#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintainer
short_description: A login role with exactly the rights that maintenance plans need
version_added: 1.0.0
description:
  - Creates the role if it does not exist, and gives it what the steps of its plans need and what it does not have yet, be it
    through C(PUBLIC) or through another role.
  - C(purge) needs C(SELECT) and C(DELETE) on the table and C(UPDATE) on its column, because rows are locked first; with
    C(keep_referenced) also C(SELECT) on the tables that refer to it as they are now.
    C(refresh), C(analyze), C(vacuum) and C(reindex) need C(MAINTAIN) from PostgreSQL 17 on; before, and for C(index),
    membership in the owner, which gives all rights of the owner. Schemas need C(USAGE), the database C(CONNECT).
    C(amcheck) needs C(EXECUTE) on functions of the extension of that name, which must be there. C(health_info) and
    C(index_info) need no right; what the role may not see is V(unknown) there.
  - Somebody else's lock is waited for for two seconds and a few tries. After that nothing is changed, the status is
    V(partial) and there is a warning; it is not a failure. A task that needs the rights repeats it with C(until), or says
    C(failed_when).
  - All rights are given in one transaction. If the role that connects may not give one of them, none is given, and the
    failure names the statement and who may run it.
  - Rights that the role has beyond that are reported, and taken away only with O(exclusive). Only this database is looked
    at, and the memberships and attributes of the role, which belong to the whole server.
  - No role is dropped. To do that, run C(REASSIGN OWNED BY), C(DROP OWNED BY) and C(DROP ROLE).
options:
  name:
    description: The role. Taken literally, upper case included.
    type: str
    required: true
  password:
    description:
      - The password. Without it, none is set or changed.
      - It never stands in SQL. A SCRAM-SHA-256 verifier is made of it here, which the server stores as it is. The server cannot
        check its strength then. Neon refuses verifiers, so there this option fails before anything is changed.
    type: str
  update_password:
    description:
      - V(always) compares the password with the stored verifier and sets it if they differ. If the role that connects may
        not read C(pg_authid), as with most providers, it is set each time, which counts as a change.
      - V(on_create) sets it for a role that does not exist yet.
    type: str
    choices: [always, on_create]
    default: always
  steps:
    description: The steps of the plans, as in M(vtchat.maintenance.run). Their objects must exist.
    type: list
    elements: dict
    required: true
  history:
    description:
      - Whether the runs will be recorded. The schema C(maintenance) is created, and the role may create the tables in it;
        where they exist, it may read and write them.
    type: bool
    default: true
  read_all_stats:
    description:
      - Whether to make it a member of C(pg_read_all_stats), without which a run cannot tell that a refresh is not needed while
        others are connected, nor how far replicas are behind. If the role that connects can give only C(pg_monitor), it is that.
    type: bool
    default: true
  connection_limit:
    description: How many connections it may have at once; V(-1) is no limit. Without it, the limit is left as it is.
    type: int
  exclusive:
    description:
      - Whether to take away what it has beyond its needs, which are privileges, memberships and attributes such as
        C(CREATEDB). Objects that it owns, default privileges and policies are only reported.
      - Needs all plans of the role in O(steps), and those of other databases that need a membership as well.
    type: bool
    default: false
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  diff_mode:
    description: Shows the rights as statements, a password as stars.
    support: full
  idempotent:
    description: A second run changes nothing, unless a password is set that cannot be compared.
    support: partial
    details: See O(update_password).
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: The role that runs the hourly plan
  vtchat.maintenance.maintainer:
    dsn: "{{ owner_dsn }}"
    name: maintainer
    password: "{{ maintainer_password }}"
    connection_limit: 3
    steps:
      - purge: {table: sessions, column: expires_at, timezone: UTC}
      - refresh: {view: user_subscription_summary}
      - analyze: {tables: [users, user_subscriptions, sessions]}

- name: Take away what somebody gave it by hand
  vtchat.maintenance.maintainer:
    name: maintainer
    exclusive: true
    steps: "{{ checked.steps }}"
"""

RETURN = r"""
plan:
  description: Always V(maintainer).
  returned: always
  type: str
status:
  description: V(ok), V(failed), or V(partial) if somebody else's lock has kept the rights from being given.
  returned: always
  type: str
actions:
  description: One entry for each object that a right is about.
  returned: when connected
  type: list
  elements: dict
  contains:
    step:
      description: Always 1.
      type: int
      returned: always
    operation:
      description: Always V(maintainer).
      type: str
      returned: always
    kind:
      description: What the target is, such as V(table), V(schema), V(database) or V(role); empty if it does not exist.
      type: str
      returned: always
    target:
      description: The object, such as V(public.sessions), V(schema public), V(database app) or V(role maintainer).
      type: str
      returned: always
    outcome:
      description:
        - V(done), V(unchanged), V(planned) (check mode), V(failed), V(skipped) because something else failed, or V(contended)
          because somebody else held a lock.
      type: str
      returned: always
    reason:
      description: Which rights it has or has not, or why they cannot be given.
      type: str
      returned: always
    changed:
      description: Whether something was changed or, in check mode, would be.
      type: bool
      returned: always
    rows:
      description: Always V(null).
      type: int
      returned: always
    seconds:
      description: Always 0.
      type: float
      returned: always
    numbers:
      description: Always empty.
      type: dict
      returned: always
    statements:
      description: The SQL that was, would be or has to be run; stars stand for a password.
      type: list
      elements: str
      returned: always
findings:
  description: Always empty.
  returned: when connected
  type: list
  elements: dict
totals:
  description: How many targets had which outcome.
  returned: when connected
  type: dict
  sample: {done: 1, unchanged: 2}
password:
  description:
    - On what basis it was decided about the password. V(none) (none given), V(created) (the role is new), V(verifier) (compared),
      V(not_readable) (set without comparing), V(on_create) (not looked at).
  returned: when connected
  type: str
excess:
  description: The rights beyond its needs that are left.
  returned: when connected
  type: list
  elements: dict
  contains:
    target:
      description: The object.
      type: str
      returned: always
    grant:
      description: The right as a statement.
      type: str
      returned: always
    revoke:
      description: What takes it away.
      type: str
      returned: always
    grantor:
      description: Who gave it; empty for attributes.
      type: str
      returned: always
other:
  description: What else it owns, and what privileges it has on objects that no plan needs; not taken away.
  returned: when connected
  type: list
  elements: str
check_mode:
  description: Whether this was check mode.
  returned: when connected
  type: bool
server:
  description: Host, database, version and provider of the server.
  returned: when connected
  type: dict
  sample: {host: db.example.com, database: app, version: "18.6", provider: neon}
seconds:
  description: How long it took.
  returned: when connected
  type: float
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
    perform("maintainer")


if __name__ == "__main__":
    main()
