#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sql_object
short_description: Install functions, views, types, triggers, comments and grants from SQL, idempotently
version_added: 1.0.0
description:
  - Runs SQL scripts that define database objects, and changes nothing where the database has them already.
  - The server tries the scripts out and undoes them in one statement. What it prints for the objects that they touched
    (definition, owner, privileges, comments, security labels) is compared before and after.
  - Where something differs, the scripts are installed in one transaction that consists of one statement. If one fails,
    nothing is changed.
  - Every catalog is compared, so whatever a script writes there is told. Server warnings, such as for a C(GRANT) without the
    right to it, are failures.
  - A script consists of statements that can be repeated, such as C(CREATE OR REPLACE FUNCTION), C(CREATE OR REPLACE VIEW),
    C(CREATE OR REPLACE TRIGGER), C(CREATE SCHEMA IF NOT EXISTS), C(COMMENT ON), C(GRANT) and C(REVOKE).
  - C(CREATE MATERIALIZED VIEW), C(CREATE TYPE) and C(CREATE DOMAIN), which cannot be repeated, may stand anywhere in a script.
    The definition is compared with that of the object in the database.
  - What a script sets, such as a role, a search path or a temporary object, holds in this script alone.
  - A materialized view with another definition is built under another name, with the indexes of the old one, and filled, while
    the old one can be read. Then it takes over the old one's owner, privileges, comments, security labels and statistics
    targets, and its name. Storage parameters are those of the script. What a killed installation has built is removed by
    the next one.
  - If the view needs something that an earlier script changes, it is built in the transaction instead.
  - Locks are waited for for two seconds in all and for a few tries, so that nobody who queues behind waits longer. Another
    installation in the same database is waited for for 30 seconds. When that was in vain, nothing is installed, what is
    missing is C(contended), the status is V(partial) and there is a warning; it is not a failure. A task that needs the
    objects repeats it with C(until), or says C(failed_when).
  - Refused, with the right place for it, are tables, indexes (M(vtchat.maintenance.index) is for these), policies, sequences,
    roles and settings of the server, scripts that change rows, statements that leave nothing to compare, and everything that
    cannot run in a transaction, such as C(COMMIT) and commands of psql.
options:
  sql:
    description:
      - The script. Trusted text.
      - Exactly one of O(sql), O(src) and O(scripts) is needed.
    type: str
  src:
    description: A file with the script, in UTF-8, read on the controller where files of tasks are looked for.
    type: path
  name:
    description: What to call the script in messages. By default O(src), if given.
    type: str
  scripts:
    description: Several scripts, in the order in which they are to be installed.
    type: list
    elements: dict
    suboptions:
      name:
        description: What to call the script in messages. By default O(scripts[].src), if given.
        type: str
      sql:
        description: The script. Trusted text.
        type: str
      src:
        description: A file with the script, read on the controller.
        type: path
  on_conflict:
    description:
      - What to do about a change that C(CREATE OR REPLACE) refuses, such as another return type or a column less, and about a
        materialized view or type with another definition that other objects depend on. For a type that is in use the failure says
        how to change it without losing data.
      - V(fail) names the objects that depend on it. V(recreate) drops it and makes it anew, and the views that depend on it, with
        owners, privileges and comments; if that fails, everything is as it was. Other objects than views that depend on it
        are never dropped.
    type: str
    choices: [fail, recreate]
    default: fail
  indexes:
    description:
      - Definitions of indexes, as for M(vtchat.maintenance.index). They are created concurrently after everything else, and
        replaced where they differ.
      - Other indexes of the materialized views that the scripts define are reported as drift. Without this option indexes are
        not looked at.
    type: list
    elements: str
  history:
    description:
      - Whether the schema C(maintenance), in which runs are recorded, is created too. Otherwise the first run does that.
      - Without the right to create it there is a warning.
    type: bool
    default: false
  budget:
    description: Seconds that the installation may take, the time for building materialized views and indexes included.
    type: float
    default: 600
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    support: full
    description:
      - Nothing is visible to others and nothing is left behind, but locks are taken as in a run, for as long as the comparison
        takes; materialized views are not filled.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: vtchat.maintenance.index
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Install a function from a file
  vtchat.maintenance.sql_object:
    dsn: "{{ maintenance_dsn }}"
    src: sql/functions/cleanup.sql

- name: Install a schema and a view in one transaction
  vtchat.maintenance.sql_object:
    scripts:
      - name: schema
        sql: CREATE SCHEMA IF NOT EXISTS app
      - name: active users
        sql: CREATE MATERIALIZED VIEW app.active_users AS SELECT id, email FROM public.users WHERE active

- name: A view that has lost a column
  vtchat.maintenance.sql_object:
    sql: CREATE OR REPLACE VIEW app.names AS SELECT id FROM public.users
    on_conflict: recreate
"""

RETURN = r"""
plan:
  description: Always V(sql_object).
  returned: always
  type: str
status:
  description:
    - V(ok), V(failed), or V(partial) if somebody else's lock, or the end of the budget, has kept something from being installed.
  returned: always
  type: str
actions:
  description:
    - The objects that the scripts define, in the scripts' order, what interrupted installations had left, then the indexes and
      the history. Where a lock has kept the scripts from being compared, one entry for all of them.
    - Empty if a script fails; then nothing was changed.
  returned: always
  type: list
  elements: dict
  contains:
    step:
      description: Always 1.
      type: int
      returned: always
    operation:
      description: V(create), V(replace), V(drop) or V(keep); V(install) for scripts that could not be compared.
      type: str
      returned: always
    kind:
      description: Kind of object, such as V(function), V(materialized view) or V(index).
      type: str
      returned: always
    target:
      description: The object, schema-qualified and quoted where SQL needs it.
      type: str
      returned: always
    outcome:
      description: V(done), V(unchanged), V(planned) (check mode), V(contended), or for indexes V(deferred) or V(failed).
      type: str
      returned: always
    reason:
      description: What is different, or why it was not done.
      type: str
      returned: always
    changed:
      description: Whether it was changed or, in check mode, would be.
      type: bool
      returned: always
    rows:
      description: Always V(null).
      type: int
      returned: always
    seconds:
      description: How long it took; for indexes.
      type: float
      returned: always
    numbers:
      description: For indexes what M(vtchat.maintenance.index) returns, otherwise empty.
      type: dict
      returned: always
    statements:
      description: The SQL, for indexes.
      type: list
      elements: str
      returned: always
    script:
      description: Name of the script; empty for something that an interrupted installation had left.
      type: str
      returned: always
    drift:
      description:
        - What the object has and no script asks for, such as C(privilege reader SELECT), C(comment) or an index that is not in
          O(indexes). It stays, and is also a warning. A script that says C(REVOKE) or C(COMMENT … IS NULL) removes it.
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
check_mode:
  description: Whether this was check mode.
  returned: when connected
  type: bool
seconds:
  description: How long it took, connecting not included.
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
    perform("sql_object")


if __name__ == "__main__":
    main()
