#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fill the history of the embedded database with an invented quarter."""

from __future__ import annotations

DOCUMENTATION = r"""
module: example_history
short_description: An invented quarter of maintenance in the history of the embedded database
description:
  - Writes runs, actions, findings and sizes of 90 days into the schema maintenance, so that a report shows something before there
    is anything to show. Each such run has C(generated example) in its column C(host).
  - What an earlier call has written is replaced. Runs that somebody has made stay as they are, and nothing is invented for the
    time between the first and the last of them.
  - Only ever connects to the socket of the server that M(embedded_postgres) has started, and writes only if that server's files
    are in O(directory) and O(database) was loaded by that module. It takes no address of another server.
options:
  directory:
    description: Directory of the server, as M(embedded_postgres) has returned it.
    type: path
    required: true
  database:
    description: Database with the history.
    type: str
    required: true
  plans:
    description: The plans by name, as the variable maintenance_plans has them. Those with a schedule are invented.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Tells how many runs would be written.
author:
  - the vtchat.maintenance authors
"""

EXAMPLES = r"""
- name: Invent a quarter
  example_history:
    directory: /srv/demo/.embedded
    database: vtchat
    plans: "{{ maintenance_plans }}"
"""

RETURN = r"""
runs:
  description: How many runs were written.
  returned: success
  type: int
replaced:
  description: How many runs of an earlier call were there before.
  returned: success
  type: int
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.embedded_server import EmbeddedServer, Place, ServerError
from ansible.module_utils.example_history import ExampleError, fill

ARGUMENT_SPEC = {
    "directory": {"type": "path", "required": True},
    "database": {"type": "str", "required": True},
    "plans": {"type": "dict", "required": True},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    directory = Path(module.params["directory"])
    try:
        server = EmbeddedServer(Place(directory, Path("/nonexistent")))
        found = fill(server, module.params["database"], module.params["plans"], module.check_mode)
    except (ExampleError, ServerError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found["runs"] or found["replaced"]), **found)


if __name__ == "__main__":
    main()
