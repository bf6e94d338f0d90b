#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sql_object
short_description: Install functions, views, indexes and grants from SQL, idempotently
version_added: 1.0.0
description:
  - Runs SQL scripts that define database objects, and changes nothing where the database has them already.
  - The scripts are tried out in a savepoint. What the server itself prints for the objects that they touched (definition,
    owner, privileges, comment) is compared before and after. If all is equal, everything is rolled back.
  - All scripts of a task are one transaction. If one fails, nothing is changed.
  - A script consists of statements that can be repeated, such as C(CREATE OR REPLACE FUNCTION), C(CREATE OR REPLACE VIEW),
    C(CREATE OR REPLACE TRIGGER), C(CREATE SCHEMA IF NOT EXISTS), C(COMMENT ON), C(GRANT) and C(REVOKE).
  - A script may begin with one C(CREATE MATERIALIZED VIEW) or C(CREATE INDEX), which cannot be repeated. Its definition is
    compared with that of the object in the database.
  - A materialized view with another definition is built anew beside the old one, with its indexes, privileges and
    comment, and then takes its place. The old one can be read until then. It is refused if other objects depend on it.
  - An index that is missing, different or not valid is built in the transaction, which keeps others from writing to the
    table meanwhile.
  - Statements that only have an effect on rows are run only when some object changes.
  - Tables, types, policies and other objects that cannot be compared are refused, as is everything that cannot run in a
    transaction, such as C(CREATE INDEX CONCURRENTLY), and C(COMMIT).
options:
  sql:
    description: The script. Trusted text.
    type: str
  name:
    description: What to call O(sql) in messages, usually the name of the file.
    type: str
    default: sql
  scripts:
    description: Several scripts, in the order in which they are to be installed.
    type: list
    elements: dict
    suboptions:
      name:
        description: What to call the script in messages, usually the name of the file.
        type: str
        required: true
      sql:
        description: The script. Trusted text.
        type: str
        required: true
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    support: full
    description: Locks are taken as in a run, for as long as the comparison takes; views and indexes are not built.
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Install a function from a file
  vtchat.maintenance.sql_object:
    dsn: "{{ maintenance_dsn }}"
    name: functions/cleanup.sql
    sql: "{{ lookup('ansible.builtin.file', 'sql/functions/cleanup.sql') }}"

- name: Install a view and its index in one transaction
  vtchat.maintenance.sql_object:
    scripts:
      - name: active_users
        sql: CREATE MATERIALIZED VIEW app.active_users AS SELECT id, email FROM app.users WHERE active
      - name: active_users_id
        sql: CREATE UNIQUE INDEX active_users_id ON app.active_users (id)
"""

RETURN = r"""
objects:
  description: The objects that the scripts define, in the scripts' order.
  returned: success
  type: list
  elements: dict
  contains:
    script:
      description: Name of the script.
      type: str
      returned: always
    object:
      description: The object, schema-qualified and quoted where SQL needs it.
      type: str
      returned: always
    kind:
      description: Kind of object, such as V(function) or V(materialized view).
      type: str
      returned: always
    result:
      description: V(created), V(replaced), V(dropped) or V(unchanged); in check mode, what would become of it.
      type: str
      returned: always
server:
  description: Host, database, version and provider of the server.
  returned: success
  type: dict
  sample: {host: db.example.com, database: app, version: "18.6", provider: neon}
turns:
  description: Round trips to the server after connecting.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.vtchat.maintenance.plugins.module_utils._driver import IMPORT_ERROR
from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import CONNECTION, _connection
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import (
    UNCHANGED,
    Change,
    Script,
    install,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._session import open_session

SCRIPT: dict[str, Any] = {"name": {"type": "str", "required": True}, "sql": {"type": "str", "required": True}}
SPEC: dict[str, Any] = {
    "sql": {"type": "str"},
    "name": {"type": "str", "default": "sql"},
    "scripts": {"type": "list", "elements": "dict", "options": SCRIPT},
}


def perform(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Install and say what changed. Raises MaintenanceError."""
    given = parameters["scripts"] or [{"name": parameters["name"], "sql": parameters["sql"]}]
    session = open_session(_connection(parameters), "vtchat.maintenance sql_object")
    try:
        changes = install(session, [Script(one["name"], one["sql"]) for one in given], check)
        server = session.server.summary()
    finally:
        session.close()
    changed = [change for change in changes if change.result != UNCHANGED]
    return {
        "changed": bool(changed),
        "objects": [{"script": c.script, "object": c.object, "kind": c.kind, "result": c.result} for c in changes],
        "diff": [difference(change) for change in changed],
        "server": server,
        "turns": session.turns,
    }


def difference(change: Change) -> dict[str, str]:
    """One object for --diff."""
    header = f"{change.kind} {change.object}"
    return {
        "before_header": header,
        "after_header": f"{header} ({change.script})",
        "before": change.before or "",
        "after": change.after or "",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CONNECTION, **SPEC},
        mutually_exclusive=[("sql", "scripts")],
        required_one_of=[("sql", "scripts")],
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=IMPORT_ERROR)
    try:
        result = perform(module.params, module.check_mode)
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
