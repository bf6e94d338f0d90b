#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_secrets
short_description: Secrets that GitHub and Fly must have the same
version_added: 1.0.0
description:
  - Sets secrets of GitHub Actions and of an app on Fly to the same value, in one run on both sides or on neither.
  - A value that nobody gives is made from 48 random bytes. It exists in the memory of this module only; it is in no result, fact,
    file or log, and cannot be read back from either side.
  - A new value is made when a side lacks the secret, when O(rotate=true), when somebody else has written it, and when a run did
    not get to its end. Otherwise both sides are left alone.
  - Beside the GitHub secret there is a record of when both sides were written. It says V(pending) from before the first write
    until after the last. Whatever happens in between, also that the run is killed, the next one sees that and sets both again.
  - Fly is written first. What is written there is staged, so that running machines still accept the old value should GitHub
    refuse the new one.
options:
  secrets:
    description:
      - Mapping of names to values. A value that is empty or V(null) is made by this module.
      - A name consists of upper-case letters, digits and C(_), and does not begin with a digit or C(GITHUB_). A value has at most
        49152 bytes.
    type: raw
    required: true
  rotate:
    description: Whether to make new values, whatever there is. Not together with values that are given.
    type: bool
    default: false
  minimum_length:
    description: Characters that a value must have at least.
    type: int
    default: 32
  repository:
    description: The repository on GitHub, as C(owner/name).
    type: str
    required: true
  environment:
    description: Name of an environment of the repository, which must be there.
    type: str
  app:
    description: Name of the app on Fly.
    type: str
    required: true
  deploy:
    description:
      - Whether to update the machines of the app once both sides have the value, as M(vtchat.maintenance.fly_secrets) does.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that one machine may take to start and pass its checks.
    type: float
    default: 300
  fingerprint_key:
    description:
      - At least 32 bytes that only the operator knows. Lets values that are given be compared with those written last; without
        it, they are written in every run. Values that are made need none.
    type: str
  fingerprint_file:
    description:
      - A local file for the records, with mode C(0600). Without it, each is kept in a variable C(MAINTENANCE_FP_) plus the
        secret's name, in the same place on GitHub. It holds times and, with O(fingerprint_key), keyed fingerprints.
    type: path
  github_token:
    description:
      - A token that may write secrets and, without O(fingerprint_file), variables there.
      - Taken from the environment variables E(GH_TOKEN) or E(GITHUB_TOKEN) if it is not given.
    type: str
    required: true
  github_api_url:
    description:
      - Address of GitHub's API.
      - Taken from the environment variable E(GITHUB_API_URL) if it is not given.
    type: str
    default: https://api.github.com
  fly_token:
    description:
      - A deploy token of the app.
      - Taken from the environment variables E(FLY_API_TOKEN) or E(FLY_ACCESS_TOKEN) if it is not given.
    type: str
    required: true
  fly_api_url:
    description: Address of Fly's API.
    type: str
    default: https://api.machines.dev
  ca_path:
    description: File with the certificates to trust, in PEM format, instead of those of the system.
    type: path
  timeout:
    description: Seconds of silence after which a request is given up or repeated.
    type: int
    default: 30
  patience:
    description: Seconds that one request may take with all its repetitions.
    type: int
    default: 120
attributes:
  check_mode:
    description: Reads, decides, and returns what a run would do, with the reasons. Makes no values.
    support: full
  diff_mode:
    description: Names, never values.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: partial
    details:
      - Except with O(rotate=true), and with values that are given without O(fingerprint_key).
notes:
  - Do not manage the same names with M(vtchat.maintenance.github_secrets) or M(vtchat.maintenance.fly_secrets), nor let their
    purging remove them.
  - A secret that both sides had before this module came is left alone. Nothing says whether it is the same; RV(unknown) tells
    so, and O(rotate=true) makes sure.
  - While the two sides are being written, and until the machines have been updated, they do not have the same value.
requirements:
  - PyNaCl, for writing
seealso:
  - module: vtchat.maintenance.github_secrets
  - module: vtchat.maintenance.fly_secrets
  - module: vtchat.maintenance.endpoint
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: A token that GitHub Actions and the application share, made if there is none
  vtchat.maintenance.shared_secrets:
    repository: example/app
    app: my-app
    secrets:
      CRON_SECRET_TOKEN:
    github_token: "{{ vault_github_token }}"
    fly_token: "{{ vault_fly_token }}"

- name: A new one, with which the machines are started at once
  vtchat.maintenance.shared_secrets:
    repository: example/app
    app: my-app
    secrets:
      CRON_SECRET_TOKEN:
    rotate: true
    deploy: true
"""

RETURN = r"""
status:
  description: V(ok) or V(failed).
  returned: always
  type: str
plan:
  description: V(shared_secrets).
  returned: always
  type: str
actions:
  description: One entry for each name and side, and one for each machine if O(deploy=true).
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
      description: The name and the side, as in C(CRON_SECRET_TOKEN on Fly); or the machine's identifier and region.
      type: str
      returned: always
    operation:
      description: V(create), V(update) or V(keep); V(deploy) or V(keep) for machines.
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
        - On what the verdict rests. V(record) (both sides are as they were after the last run), V(fingerprint) (and the value is
          the one written last), V(presence) (both have one, or one lacks it), V(always) or, for machines, V(mark).
      type: str
      returned: always
    platform:
      description: The side, V(Fly) or V(GitHub).
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
  returned: when both sides could be read
  type: dict
  sample: {unchanged: 2}
server:
  description: The services, their hosts, and both places.
  returned: when both sides could be read
  type: dict
  sample: {provider: github and fly, host: api.github.com and api.machines.dev, target: example/app and my-app}
version:
  description:
    - Version of the app's secrets after the write; V(null) if nothing was written.
    - C(fly secrets sync) makes Fly's command line aware of it.
  returned: when both sides could be read
  type: int
staged:
  description: Whether secrets changed, or would change, that no machine runs with yet.
  returned: when both sides could be read
  type: bool
unknown:
  description: What cannot be known, in sentences.
  returned: when both sides could be read
  type: list
  elements: str
findings:
  description: Always empty.
  returned: when both sides could be read
  type: list
  elements: dict
check_mode:
  description: Whether this was check mode.
  returned: when both sides could be read
  type: bool
seconds:
  description: How long everything took.
  returned: when both sides could be read
  type: float
turns:
  description: Requests sent, with their repetitions.
  returned: when both sides could be read
  type: int
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._module import serve
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import shared_secrets


def main() -> None:
    serve("shared_secrets", shared_secrets)


if __name__ == "__main__":
    main()
