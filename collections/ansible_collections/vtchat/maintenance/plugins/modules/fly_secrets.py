#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fly_secrets
short_description: Set and unset secrets of a Fly app
version_added: 1.0.0
description:
  - Sets and unsets secrets of an app on Fly by the Machines API, all of them in one request, which happens as a whole or not at
    all.
  - Fly never gives a value back. On what the verdict rests that a secret already has its value is chosen by O(basis), and is in
    the result for each name.
  - After a write, Fly's digest of each value is compared with the one before. Where they are the same the value was there
    already, and nothing counts as changed. What Fly computes its digests from is not documented, so they are never computed here.
  - Secrets are staged, as by C(fly secrets set --stage). Machines go on with the values that they started with until they are
    updated, by the next C(fly deploy) or by O(deploy=true).
  - Bytes of a value are kept exactly, including C(#), quotes and line breaks at the end.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  secrets:
    description:
      - Mapping of names to values. With O(state=absent) a list of names will do.
      - A name consists of letters, digits and C(_), does not begin with a digit, and V(a) is not V(A). A value has at most 64 KiB
        in UTF-8 and is not empty. Both are checked before anything is sent.
    type: raw
  unset:
    description: Names of secrets that must not be there, in the same request.
    type: list
    elements: str
  state:
    description: Whether O(secrets) are to be there.
    type: str
    choices: [present, absent]
    default: present
  deploy:
    description:
      - Whether to update the machines of the app that do not run with the secrets as they are now, all secrets of the app and not
        only those named here. One after the other, each until it has started and its checks pass; the first one that does
        not become healthy ends it, and the others go on as before.
      - A machine that is stopped or suspended is updated and stays so. Machines of release commands and consoles are
        left alone.
      - An updated machine keeps its configuration and gets C(vtchat_maintenance_secrets) in its metadata, a hash over the
        names and digests of the secrets. By that the next run knows that there is nothing to do. Without it, the time of
        the machine's last update is compared with the times at which the secrets were written.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that one machine may take to start and pass its checks.
    type: float
    default: 300
  basis:
    description:
      - On what it rests that a secret has its value already. Without it, V(fingerprint) when there is O(fingerprint_key), else
        V(always).
      - With V(fingerprint), a keyed fingerprint of the value and Fly's digest are kept in O(fingerprint_file) when it is
        written, and both have to match. Also finds a value that was changed by somebody else.
      - With V(presence), a secret that is there is left as it is. A value that differs is not seen.
      - With V(always), every value is written in every run. Only Fly's digests say whether something changed.
    type: str
    choices: [fingerprint, presence, always]
  fingerprint_key:
    description:
      - Key of the fingerprints, of 32 bytes or more. With another key everything is written once more.
    type: str
  fingerprint_file:
    description:
      - File in which the fingerprints are kept, on the host where the module runs. It is made with mode 0600, and refused if
        others may open it. Several apps, and other modules, may share one.
    type: path
  token:
    description:
      - The token, as C(fly tokens create deploy) prints it, with or without C(FlyV1) before it. A deploy token of the app is
        enough.
      - The environment variables E(FLY_API_TOKEN) and E(FLY_ACCESS_TOKEN) are used if it is not set.
    type: str
    required: true
  api_url:
    description: Address of the API. It begins with C(https://), except on this machine itself.
    type: str
    default: https://api.machines.dev
  ca_path:
    description: File with the certificates to trust, in PEM format, instead of those of the system.
    type: path
  timeout:
    description: Seconds of silence after which a request has failed.
    type: int
    default: 30
  patience:
    description:
      - Seconds that one request may take with its repetitions. It is repeated after lost connections, C(5xx), and limits of
        the rate; C(Retry-After) is kept to.
    type: int
    default: 120
attributes:
  check_mode:
    description: Reads, decides, and returns what a run would do, with the reasons.
    support: partial
    details:
      - Exact for what can be known; RV(unknown) says what cannot. With O(basis=always) every value counts as changed.
  diff_mode:
    description: Names, never values.
    support: full
  idempotent:
    description: A second run right after the first changes nothing.
    support: partial
    details:
      - With O(basis=fingerprint), a second run sends nothing. With O(basis=always) it writes, and it changes nothing if Fly's
        digests of equal values are equal.
seealso:
  - module: vtchat.maintenance.github_secrets
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Stage the token of the maintenance endpoints
  vtchat.maintenance.fly_secrets:
    app: my-app
    token: "{{ fly_token }}"
    secrets:
      CRON_SECRET_TOKEN: "{{ cron_secret_token }}"
    fingerprint_key: "{{ fingerprint_key }}"
    fingerprint_file: ~/.local/state/maintenance/fingerprints.json

- name: Replace one secret by another, and let the machines start with that
  vtchat.maintenance.fly_secrets:
    app: my-app
    secrets:
      DATABASE_URL: "{{ database_url }}"
    unset: [POSTGRES_URL]
    deploy: true
"""

RETURN = r"""
status:
  description: V(ok) or V(failed).
  returned: always
  type: str
plan:
  description: V(fly_secrets).
  returned: always
  type: str
actions:
  description: One entry for each name, in the order of the options, and for each machine if O(deploy=true).
  returned: always; empty when nothing was begun
  type: list
  elements: dict
  contains:
    step:
      description: Always V(1).
      type: int
      returned: always
    kind:
      description: V(secret) or V(machine).
      type: str
      returned: always
    target:
      description: The name, or the machine's identifier and region.
      type: str
      returned: always
    operation:
      description: V(create), V(update), V(delete) or V(keep); V(deploy) or V(keep) for machines.
      type: str
      returned: always
    outcome:
      description: V(done), V(unchanged), V(planned) (check mode), V(failed), or V(skipped) (not tried after a failure).
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
    basis:
      description:
        - V(fingerprint), V(presence), V(always), V(digest) (Fly's digests before and after are equal) or, for machines,
          V(mark).
      type: str
      returned: always
    changed:
      description: Whether it changed or, in check mode, would.
      type: bool
      returned: always
    rows:
      description: Always V(null).
      type: int
      returned: always
    seconds:
      description: Always V(0), as several targets may go in one request.
      type: float
      returned: always
    numbers:
      description: Always empty.
      type: dict
      returned: always
    statements:
      description: Always empty.
      type: list
      elements: str
      returned: always
totals:
  description: How many entries had which outcome.
  returned: when Fly could be read
  type: dict
  sample: {done: 1, unchanged: 2}
server:
  description: The service, its host, and the app.
  returned: when Fly could be read
  type: dict
  sample: {provider: fly, host: api.machines.dev, target: my-app}
basis:
  description: On what the verdicts about values rest.
  returned: when Fly could be read
  type: str
  sample: fingerprint
version:
  description:
    - Version of the app's secrets after the write; V(null) if nothing was written.
    - C(fly secrets sync) makes Fly's command line aware of it.
  returned: when Fly could be read
  type: int
staged:
  description: Whether secrets changed, or would change, that no machine runs with yet.
  returned: when Fly could be read
  type: bool
unknown:
  description: What cannot be said about the values, in sentences.
  returned: when Fly could be read
  type: list
  elements: str
findings:
  description: Always empty.
  returned: when Fly could be read
  type: list
  elements: dict
check_mode:
  description: Whether this was check mode.
  returned: when Fly could be read
  type: bool
seconds:
  description: How long everything took.
  returned: when Fly could be read
  type: float
turns:
  description: Requests sent, with their repetitions.
  returned: when Fly could be read
  type: int
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._module import serve
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import fly_secrets


def main() -> None:
    serve("fly_secrets", fly_secrets)


if __name__ == "__main__":
    main()
