#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alerts
short_description: Tell people what has changed in the health of a database
version_added: 1.0.0
description:
  - Looks at the C(findings) in the results of other modules of this collection, and tells by issues on GitHub, by webhooks and by
    mail when a check gets worse, and when it is well again. Nobody is told twice of what has not changed.
  - All findings of one check are one alert, by the key C(name/check), of the worst level among them. A result that failed
    before it reached its database is an alert of its own, C(name/unreachable).
  - Told is the first V(warning) or V(critical), whatever is worse than that, the same again after O(remind), and the recovery.
    What gets better and is not well changes an issue and sends no message. A check is well when it says so by a finding of the
    level V(info); one that is missing, or could not look (V(unknown)), leaves everything as it is.
  - What was told is kept in the history of the database, so that it does not matter which machine tells. Issues keep it as well,
    for the time when the database cannot be reached. Other channels are told again in each run then.
  - A channel that cannot be reached does not fail the task. It is V(deferred), and told by the next run. The others go on.
options:
  results:
    description:
      - Results of modules of this collection, as they were registered, or as the callback P(vtchat.maintenance.summary#callback)
        writes them to its file. The results of a loop are taken one by one.
    type: list
    elements: dict
    required: true
  name:
    description:
      - What all of O(results) are about, such as the name of the host in the inventory. It stands in all messages, and alerts
        of different names are different alerts.
      - Without it, the host that a result names (C(inventory_host)), else its database.
    type: str
  channels:
    description:
      - Who is told, and how. Each is one of O(channels[].github), O(channels[].webhook) and O(channels[].mail).
      - Without any, nobody is told, and the result says so.
    type: list
    elements: dict
    default: []
    suboptions:
      github:
        description:
          - Issues of a repository, one for each alert. It is opened, edited, commented and closed by itself.
          - It is found again by its number, which is remembered, or by a comment of HTML in its text that nobody sees, and only
            among those that have the first of O(channels[].github.labels). The title means nothing.
          - An issue that somebody has closed stays closed until it gets worse, or has been well in between.
        type: dict
        suboptions:
          repository:
            description: The repository, as C(owner/name).
            type: str
            required: true
          token:
            description:
              - A token that may write issues of the repository.
              - Without it, the environment variable E(GH_TOKEN) or E(GITHUB_TOKEN) is read.
            type: str
            required: true
          api_url:
            description: Address of the API. Without it, the environment variable E(GITHUB_API_URL) is read.
            type: str
            default: https://api.github.com
          labels:
            description: Labels of new issues. By the first one they are found again.
            type: list
            elements: str
            default: [database-maintenance]
          assignees:
            description: Who new issues are assigned to.
            type: list
            elements: str
      webhook:
        description: An address to which each message is sent, by one POST.
        type: dict
        suboptions:
          url:
            description: The address. It is a secret of most services, and never shown but for its host.
            type: str
            required: true
          format:
            description:
              - What the service takes. V(slack), V(discord) and V(teams) are theirs.
              - V(json) is for programs of one's own, an object with C(version), C(event) (V(raised), V(worse), V(reminder) or
                V(recovered)), C(key), C(name), C(check), C(level), C(title), C(since), C(findings), C(more) and C(link).
            type: str
            choices: [json, slack, discord, teams]
            default: json
          headers:
            description: Headers of the request, a mapping of names to values. The values are never shown.
            type: raw
      mail:
        description: A message by SMTP.
        type: dict
        suboptions:
          host:
            description: The server.
            type: str
            required: true
          port:
            description: Its port; by default 587, 465 or 25, by O(channels[].mail.tls).
            type: int
          to:
            description: The recipients.
            type: list
            elements: str
            required: true
          from:
            description: The sender.
            type: str
            required: true
          username:
            description: The name to log in with. It needs O(channels[].mail.password).
            type: str
          password:
            description: The password to log in with.
            type: str
          tls:
            description:
              - How the connection is encrypted. V(starttls) begins in the open and insists on encryption, V(tls) is encrypted
                from the first byte. The certificate is checked.
              - V(none) is for a server on the same machine only.
            type: str
            choices: [starttls, tls, none]
            default: starttls
  remind:
    description:
      - After how long somebody is told again of what has not changed, as a number with a unit (V(s), V(m), V(h), V(d), V(w)).
      - What comes again within that time after it was well opens the same issue again, and later a new one.
    type: str
    default: 7d
  link:
    description: An address at which more is to be read, such as that of the workflow's run. It stands in all messages.
    type: str
  history:
    description:
      - Whether to remember in the schema C(maintenance) of the database what was told, which a run of a plan or provisioning has
        made. Without it, nobody is connected to, and only issues know what they were told.
    type: bool
    default: true
  ca_path:
    description: File with the certificates to trust; without it, those of the system.
    type: path
  timeout:
    description: Seconds of silence after which a channel counts as down.
    type: int
    default: 10
  patience:
    description: Seconds for one request with all its repetitions.
    type: int
    default: 20
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    description: Reads what was told, and returns who would be told what.
    support: full
  diff_mode:
    description: Shows the text of each message.
    support: full
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.history_info
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Run the plan health, and tell whatever comes of it
  block:
    - name: Look
      vtchat.maintenance.plan:
        plan: health
      register: health
  always:
    - name: Tell
      vtchat.maintenance.alerts:
        dsn: "{{ maintenance_dsn }}"
        results: ["{{ health }}"]
        name: "{{ inventory_hostname }}"
        channels:
          - github:
              repository: example/app
              token: "{{ lookup('ansible.builtin.env', 'GITHUB_TOKEN') }}"
          - webhook:
              url: "{{ slack_url }}"
              format: slack
          - mail:
              host: smtp.example.com
              from: maintenance@example.com
              to: [team@example.com]
              username: maintenance
              password: "{{ mail_password }}"
"""

RETURN = r"""
status:
  description:
    - V(ok), or V(partial) where a channel could not be told, or V(skipped) where there are no channels.
  returned: always
  type: str
  sample: ok
plan:
  description: The name of this module.
  returned: always
  type: str
  sample: alerts
actions:
  description: One entry for each alert and channel that there is something to say about.
  returned: always
  type: list
  elements: dict
  contains:
    operation:
      description: Always V(alert).
      type: str
      returned: always
    target:
      description: The key of the alert, C(name/check).
      type: str
      returned: always
    channel:
      description: The channel, for people.
      type: str
      returned: always
    outcome:
      description:
        - V(done), told; V(unchanged), nothing was to be told; V(planned), would be told; V(deferred), the channel could not be
          told, and is told by the next run.
      type: str
      returned: always
    reason:
      description: What was told, or why it was not.
      type: str
      returned: always
server:
  description: Host, database, version and provider of the server whose history is used; empty without one.
  returned: when the options are right
  type: dict
warnings:
  description: Why what was told is not remembered.
  returned: when the options are right
  type: list
  elements: str
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("alerts")


if __name__ == "__main__":
    main()
