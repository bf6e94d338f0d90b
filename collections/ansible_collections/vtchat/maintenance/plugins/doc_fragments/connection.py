# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options that the database modules share; _edge.CONNECTION and _edge.RUN are their argument specs."""

from __future__ import annotations


class ModuleDocFragment:
    """connection: how to reach a database. connection.run: how a run behaves."""

    DOCUMENTATION = r"""
options:
  dsn:
    description:
      - Where the database is, as a URL (C(postgresql://user:password@host/database)) or as keywords
        (C(host=db.example.com dbname=app user=maintenance)).
      - Without it, the environment variable E(DATABASE_URL) is read, and without that, libpq's own settings decide, which are
        the environment variables C(PG*) and the connection service file. An empty string leaves E(DATABASE_URL) unread.
      - A string that names a host is not redirected by E(PGHOSTADDR), E(PGPORT) or E(PGSERVICE).
      - Never shown. No message repeats any part of it that could be a secret, a malformed one included. A string that can be
        read in two ways, such as one with an C(@) in the password that is not percent-encoded, is refused unread.
      - The password is masked wherever it would be in a message. One that is an ordinary word, such as C(postgres), is masked
        where passwords stand (in a URL, after C(password=)) and not where it is the name of something.
    type: str
  tls:
    description:
      - The least protection of a connection that leaves this machine. A weaker C(sslmode), be it in O(dsn) or in E(PGSSLMODE),
        is raised to it; a stronger one stays.
      - V(require) encrypts. V(verify-full) also checks that the certificate was issued for this host, by an authority that
        the operating system trusts unless C(sslrootcert) names another.
      - V(private) leaves C(sslmode) as it is given, V(disable) included, for networks that encrypt by themselves, such as Fly's.
        Only where O(dsn) names its hosts, each by a private address (RFC 1918, RFC 4193) or by a name that ends in
        C(.internal) or C(.flycast); any other host is refused. Everybody in that network who can listen sees everything.
      - Sockets and loopback addresses are left as they are.
    type: str
    choices: [require, verify-full, private]
    default: require
  connect_deadline:
    description:
      - For how many seconds to try to connect, all attempts together. V(0) means one attempt.
      - Attempts are repeated only where waiting can help, such as for a server that is starting, or a serverless one that is
        waking up. A wrong password is reported at once.
    type: float
    default: 30.0
  role:
    description:
      - The role to take on after connecting, with C(SET ROLE). Rights are those of this role.
    type: str
  pooler:
    description:
      - What to do about a connection pooler in transaction mode, behind which locks and time limits do not hold.
      - V(refuse) fails and says where to connect instead.
      - V(direct) connects to the direct host of a Neon pooler, the one without C(-pooler) in its name. Any other pooler is
        refused.
      - V(allow) goes on. Two runs at once are no longer kept apart, and limits may reach other clients.
    type: str
    choices: [refuse, direct, allow]
    default: refuse
requirements:
  - Python >= 3.9
  - psycopg2 >= 2.9
  - PostgreSQL >= 14
"""

    # Used together with the standard fragment, by everything that acts.
    RUN = r"""
options:
  budget:
    description:
      - How many seconds the run may take.
      - What is not expected to fit into the rest is V(deferred). No statement gets more time than is left. Expected is how long
        it took the last time, by its size then and now; of what was never done, what others of that operation took for a byte.
      - What was deferred goes first in the next run, the longest waiting before all others, whatever step it belongs to. What
        needs more than the whole budget is tried now and then, ever more rarely, and the result says what budget it needs.
    type: float
    default: 600.0
  history:
    description:
      - Whether to record the run in the schema C(maintenance) of the database, which the first run creates, and never one in
        check mode. Records are kept for 90 days.
      - A role that may not create or use the schema runs without it, with a warning. What is lost then is the record, the
        predicted durations, the order of those that wait, and the skipping of refreshes that are not needed.
    type: bool
    default: true
  window:
    description:
      - The hours of each day in which the run may work. Outside of them it does nothing, connects to nobody, and its status is
        V(skipped); it says when the window opens. Inside, the budget never reaches beyond the end of the window.
      - The window is open while the clock on the wall of the time zone reads a time from O(window.not_before) on and before
        O(window.not_after), over midnight where the second is the smaller one. A time that is left out when the clock is put
        forward counts as passed; an hour that comes twice is in the window both times.
      - The time is that of the machine on which the module runs.
    type: dict
    suboptions:
      not_before:
        description: The first minute, as V(HH:MM) in quotes.
        type: str
        required: true
      not_after:
        description: The first minute that is too late, as V(HH:MM) in quotes.
        type: str
        required: true
      timezone:
        description:
          - A name of the IANA data base, such as V(Europe/Berlin). All but V(UTC) need the package tzdata of the operating
            system, or that of PyPI, on the machine on which the module runs.
        type: str
        default: UTC
"""
