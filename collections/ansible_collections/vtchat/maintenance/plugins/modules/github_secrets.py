#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: github_secrets
short_description: Keep secrets and variables of GitHub Actions as they should be
version_added: 1.0.0
description:
  - Writes many secrets and variables of one repository, environment or organization in one call, and removes them.
  - Values are sealed with GitHub's public key before they leave this machine, and are kept byte for byte.
  - GitHub never gives a secret's value back. Whether it has to be written is therefore decided on a stated O(basis), and
    the basis is part of the result. Variables can be read, and are compared by value.
  - A secret that failed does not stop the others, unless the failure shows that they would fail as well. The result lists
    all of them in every case.
  - Values never appear in results, differences or logs, and neither do the password in a URL or encoded forms of both.
  - Runs where GitHub can be reached, usually on the controller (C(connection=local)).
requirements:
  - PyNaCl, for writing secrets
options:
  repository:
    description:
      - The repository, as C(owner/name).
      - Exactly one of O(repository) and O(organization) is needed.
    type: str
  organization:
    description: The organization, for secrets that several of its repositories share.
    type: str
  environment:
    description: Name of an environment of the repository. Without it, the secrets are those of the repository itself.
    type: str
  create_environment:
    description:
      - Whether to create an environment that is missing, without protection rules. One that exists is never touched.
      - Without this, a missing environment is an error.
    type: bool
    default: false
  secrets:
    description:
      - A mapping of names to values. With O(state=absent), a list of names.
      - A name consists of letters, digits and C(_), does not begin with a digit or C(GITHUB_), and is stored in upper case.
        A value is text of 1 to 49152 bytes; numbers and booleans belong in quotes.
    type: raw
  variables:
    description: The same for variables, which everybody who may read the repository can read.
    type: raw
  state:
    description: Whether the listed secrets and variables are to be there or not.
    type: str
    choices:
      - present
      - absent
    default: present
  purge:
    description:
      - Delete what is there and not listed, of the named kinds. An empty mapping then means that all are to go.
      - Variables that hold fingerprints are spared.
    type: list
    elements: str
    choices:
      - secrets
      - variables
    default: []
  visibility:
    description:
      - Which repositories of the organization see the secrets and variables. What other repositories see is written again, on
        any O(basis).
      - V(private) if nothing is given.
    type: str
    choices:
      - all
      - private
      - selected
  selected_repositories:
    description: Names of the repositories for O(visibility=selected). An empty list means none.
    type: list
    elements: str
  basis:
    description:
      - On what it is judged whether a secret that exists has the wanted value.
      - V(fingerprint) compares a keyed fingerprint of the value, and GitHub's time of the last change, with what was kept
        when it was last written. A value that was changed by somebody else is found and written again.
      - V(presence) takes any value for the wanted one. Only missing secrets are written.
      - V(always) writes every secret in every run, and always reports a change.
      - The default is V(fingerprint) with a O(fingerprint_key) and V(always) without one.
    type: str
    choices:
      - fingerprint
      - presence
      - always
  fingerprint_key:
    description:
      - At least 32 bytes that only the operator knows, such as 48 random bytes in base64 from a vault. Must not be stored
        on GitHub. With another key, everything is written once more.
    type: str
  fingerprint_file:
    description:
      - A local file in which the fingerprints are kept. It is created with mode C(0600), and its folder if need be. Refused
        when others may open it.
      - Without it, each fingerprint is kept beside its secret in a variable C(MAINTENANCE_FP_) plus the secret's name.
        Those of an organization are visible to no repository.
    type: path
  token:
    description:
      - A token that may write what is written here (see the notes).
      - Taken from the environment variables E(GH_TOKEN) or E(GITHUB_TOKEN) if it is not given.
    type: str
    required: true
  api_url:
    description:
      - Address of the API; C(https://HOST/api/v3) for GitHub Enterprise Server.
      - Taken from the environment variable E(GITHUB_API_URL) if it is not given.
    type: str
    default: https://api.github.com
  ca_path:
    description: File with the certificates to trust, for a server with a certificate of one's own.
    type: path
  timeout:
    description: Seconds of silence after which a request is given up or repeated.
    type: int
    default: 30
  patience:
    description:
      - Seconds that one request may take with all its repetitions. GitHub's rate limits are waited for if they end within.
    type: int
    default: 120
attributes:
  check_mode:
    description:
      - Lists exactly what a run would do. What cannot be known without doing it is in RV(unknown).
    support: full
  diff_mode:
    description: Shows names, and of variables the values. Values of secrets are not shown.
    support: partial
  idempotent:
    description:
      - A second run changes nothing with O(basis=fingerprint) and O(basis=presence). With O(basis=always) it writes again.
    support: partial
notes:
  - A fine-grained token or an app needs the repository permissions C(Secrets) (write) for secrets and C(Variables) (write)
    for variables and for fingerprints that are kept in variables; for environments C(Environments) (write) instead; for
    organizations the organization permissions of the same names. Creating an environment needs C(Administration) (write).
  - The C(GITHUB_TOKEN) that a workflow is given cannot write secrets.
  - GitHub's time of change counts in seconds. A value that somebody else writes within the same second, right after this
    module, is not found by O(basis=fingerprint).
  - With O(state=absent) or O(purge), fingerprints are removed together with their secrets only if O(fingerprint_key) is given.
seealso:
  - module: vtchat.maintenance.fly_secrets
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Secrets of the production environment
  vtchat.maintenance.github_secrets:
    repository: example/app
    environment: production
    create_environment: true
    secrets:
      DATABASE_URL: "{{ lookup('ansible.builtin.env', 'DATABASE_URL') }}"
      CRON_SECRET_TOKEN: "{{ vault_cron_secret_token }}"
    variables:
      FLY_APP_URL: https://app.example.com
    fingerprint_key: "{{ vault_fingerprint_key }}"
    token: "{{ vault_github_token }}"

- name: A secret for two repositories of an organization
  vtchat.maintenance.github_secrets:
    organization: example
    visibility: selected
    selected_repositories: [app, worker]
    secrets:
      REGISTRY_PASSWORD: "{{ vault_registry_password }}"
    basis: presence
    token: "{{ vault_github_token }}"

- name: Remove what is no longer used
  vtchat.maintenance.github_secrets:
    repository: example/app
    secrets: [OLD_TOKEN]
    state: absent
    fingerprint_key: "{{ vault_fingerprint_key }}"
    token: "{{ vault_github_token }}"
"""

RETURN = r"""
status:
  description: V(ok) or V(failed).
  returned: always
  type: str
plan:
  description: V(github_secrets).
  returned: always
  type: str
actions:
  description: One entry for each secret, variable and environment, in the order in which they were dealt with.
  returned: always; empty when nothing was begun
  type: list
  elements: dict
  contains:
    step:
      description: Always V(1).
      type: int
      returned: always
    kind:
      description: V(environment), V(secret), V(variable), or V(fingerprint) (one whose secret is gone).
      type: str
      returned: always
    target:
      description: The name.
      type: str
      returned: always
    operation:
      description: V(create), V(update), V(delete) or V(keep).
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
      description: On what this was judged; V(value) for variables.
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
  returned: when GitHub could be read
  type: dict
  sample: {done: 1, unchanged: 2}
server:
  description: The service, its host, and the repository, environment or organization.
  returned: when GitHub could be read
  type: dict
  sample: {provider: github, host: api.github.com, target: "example/app, environment production"}
basis:
  description: On what it was judged whether secrets that exist have the wanted value.
  returned: when GitHub could be read
  type: str
  sample: fingerprint
unknown:
  description: What cannot be known, in sentences.
  returned: when GitHub could be read
  type: list
  elements: str
  sample: ["whether the value of DATABASE_URL is the wanted one"]
findings:
  description: Always empty.
  returned: when GitHub could be read
  type: list
  elements: dict
check_mode:
  description: Whether this was check mode.
  returned: when GitHub could be read
  type: bool
seconds:
  description: How long everything took.
  returned: when GitHub could be read
  type: float
turns:
  description: Requests sent, with their repetitions.
  returned: when GitHub could be read
  type: int
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._module import serve
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import github_secrets


def main() -> None:
    serve("github_secrets", github_secrets)


if __name__ == "__main__":
    main()
