#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reindex
short_description: Rebuild indexes that have become too large or cannot be used, beside the application
version_added: 1.0.0
description:
  - Rebuilds those of the indexes that need it with C(REINDEX INDEX CONCURRENTLY), one after the other; most bytes won per second
    first. An index needs it when a rebuild would win the share O(bloat) of its bytes and at least O(min_gain), when it is not
    valid, or when the rules of a collation that it goes by have changed since it was built.
  - Bloat is reckoned against an index of the same fillfactor that is built now. All indexes are judged by numbers of the
    catalog first; only what seems due, or what nothing is known about, is measured with C(pgstatindex) of the extension
    C(pgstattuple), up to O(exact_limit) bytes. Where that is not possible the number of bytes per row is compared with the
    best that the history knows of, or is estimated from the statistics of the columns; then the table is analyzed before the
    rebuild, and the index is left as it is if it turns out not to be bloated.
  - Each number says by which method it was found, and how far it can be trusted. There is none, and the reason says why, where
    statistics are out of date, were reset or are hidden from the role, and for indexes whose size they do not tell, which are
    partial ones, those over expressions, those that may store equal keys once, and all that are not B-trees.
  - Before PostgreSQL 19, C(INSERT ... ON CONFLICT) fails now and then while a unique index is rebuilt concurrently. So unique
    indexes of tables, primary keys among them, are V(skipped), with the bytes to be won, unless O(unique) or O(quiet) says
    otherwise.
  - Transactions that a rebuild would have to wait for are waited for before it begins, up to a minute. If they do not end, the
    outcome is V(contended), and others go on. A table that is being vacuumed, analyzed or changed is V(contended) at once.
  - What interrupted rebuilds have left (C(_ccnew), C(_ccold), with digits, cut at 63 bytes, of TOAST tables too) is removed with
    C(DROP INDEX CONCURRENTLY), unless somebody is building it. What cannot be told by its name, its table and its definition to
    be a copy of an index is never dropped, nor is an index that enforces a constraint.
  - After a rebuild its effect is compared with what was predicted. A method that was wrong about an index is not believed about
    it the next time. After two failures in a row an index is left out of 2, 4, 8 and so on runs, unless O(indexes) names it.
  - Indexes of exclusion constraints, of system catalogs and of temporary tables are never rebuilt, BRIN indexes never need it,
    and PostgreSQL 14.0 to 14.3 is refused. Where a minor release has a fault that concerns an index, that index is V(skipped).
  - The pending list of a GIN index is flushed where it is large; its size is known where C(pgstatginindex) may be called.
options:
  tables:
    description:
      - Tables, partitioned tables and materialized views, all of whose indexes are meant, those of their TOAST tables too. Each
        part of a name is taken literally; a part with a dot or a double quote in it is written in double quotes.
      - One of O(tables), O(include) and O(indexes) is needed.
    type: list
    elements: str
  indexes:
    description:
      - Indexes by name. A partitioned index means all of its parts. One that is named is tried again even after failures.
    type: list
    elements: str
  include:
    description:
      - Shell patterns (C(*), C(?), C([abc]), C([!abc])), compared with C(schema.table) and with C(schema.index), without any
        quotes. V('*') means all. A pattern that nothing has is a warning.
    type: list
    elements: str
  exclude:
    description:
      - Patterns, compared likewise, of what O(include) would choose and that is left out.
    type: list
    elements: str
  min_size:
    description:
      - Bytes, or V(10M). How large an index must be for its bloat to matter. Invalid indexes, changed collations and what is left
        of interrupted rebuilds are dealt with at any size.
      - A rebuild waits for all other transactions of the database several times, and writes the new index to WAL as well; that is
        not worth it for what the cache holds anyway.
    type: bytes
    default: 10M
  max_size:
    description:
      - Bytes. No index that is larger is rebuilt, for whatever reason.
    type: bytes
  bloat:
    description:
      - The share of its bytes that a rebuild must win, from 0.1 to less than 1. Random inserts alone leave the pages of a B-tree
        69 per cent full, which is 0.23.
    type: float
    default: 0.4
  min_gain:
    description:
      - Bytes that a rebuild must win.
    type: bytes
    default: 1M
  method:
    description:
      - How bloat is found out. With V(auto) by the best method that is possible, as described above. With another one by that
        method alone.
    type: str
    choices: [auto, exact, baseline, estimate]
    default: auto
  exact_limit:
    description:
      - Bytes up to which an index is read as a whole to measure it.
    type: bytes
    default: 1G
  unique:
    description:
      - Whether unique indexes are rebuilt at any time. Right where nobody uses C(INSERT ... ON CONFLICT) beside it, or
        where the application tries again after a duplicate key (SQLSTATE 23505) whose index ends with C(_ccnew) or C(_ccold).
      - From PostgreSQL 19 on it makes no difference.
    type: bool
    default: false
  quiet:
    description:
      - Hours of each day in which unique indexes are rebuilt although O(unique) is not set. A rebuild that is not finished when
        they end is stopped, and what it has left is removed.
    type: dict
    suboptions:
      not_before:
        description: Time of day at which the window opens, C(HH:MM).
        type: str
        required: true
      not_after:
        description: Time of day at which it closes; over midnight if it is the smaller one.
        type: str
        required: true
      timezone:
        description: An IANA name, such as V(Europe/Berlin).
        type: str
        default: UTC
  pending_list:
    description:
      - The share of C(gin_pending_list_limit) from which on the pending list of a GIN index is flushed.
    type: float
    default: 0.5
  overrides:
    description:
      - Other thresholds for some indexes. Where several entries have a name, later ones come before earlier ones.
    type: list
    elements: dict
    suboptions:
      match:
        description: A shell pattern, compared with C(schema.table) and with C(schema.index).
        type: str
        required: true
      bloat:
        description: Instead of O(bloat).
        type: float
      min_gain:
        description: Instead of O(min_gain).
        type: bytes
      method:
        description: Instead of O(method).
        type: str
        choices: [auto, exact, baseline, estimate]
      exact_limit:
        description: Instead of O(exact_limit).
        type: bytes
      unique:
        description: Instead of O(unique).
        type: bool
      pending_list:
        description: Instead of O(pending_list).
        type: float
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  check_mode:
    support: full
    details: Measures as a run would. That an analyzed table shows an index not to be bloated is known in a run only.
notes:
  - Needs ownership of the table or, from PostgreSQL 17 on, C(MAINTAIN) on it. Removing what an interrupted rebuild has left and
    flushing a pending list need ownership. Indexes of TOAST tables need C(USAGE) on the schema C(pg_toast) as well.
  - C(pgstattuple) may be in any schema; its functions may be called by members of C(pg_stat_scan_tables).
  - While an index is rebuilt both it and the new one are on the disk, and the new one is written to WAL too. C(needs_bytes) and
    C(wal_bytes) among the numbers of an entry are what that is expected to be; the free space of the disk cannot be seen by SQL.
seealso:
  - module: vtchat.maintenance.run
  - module: vtchat.maintenance.index
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: The indexes of the busy tables, where they need it
  vtchat.maintenance.reindex:
    dsn: "{{ maintenance_dsn }}"
    tables: [users, sessions]
    budget: 3600

- name: All of a database but the archive, unique ones at night
  vtchat.maintenance.reindex:
    dsn: "{{ maintenance_dsn }}"
    include: ['*']
    exclude: ['archive.*']
    quiet: {not_before: '02:00', not_after: '05:00', timezone: Europe/Berlin}
    overrides:
      - match: app.events_*
        bloat: 0.6

- name: One index, whatever its size
  vtchat.maintenance.reindex:
    dsn: "{{ maintenance_dsn }}"
    indexes: [app.orders_customer_idx]
    min_size: 0
    min_gain: 0
"""

RETURN = r"""
status:
  description: V(ok), V(partial), V(failed) or V(skipped), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description:
    - One entry for each index; what is in it is documented at RV(vtchat.maintenance.run#module:actions).
    - Its C(numbers) have C(bytes), C(rows), C(bloat), C(fresh_bytes), C(gain_bytes), C(method), C(confidence), C(threshold) and
      C(min_gain); for what is due also C(needs_bytes), C(wal_bytes) and C(expected_seconds); and after a rebuild C(bytes_after),
      C(won_bytes), C(rebuilt_seconds) and C(seconds_waited). Indexes below O(min_size) that a pattern chose have no entry.
  returned: when connected
  type: list
  elements: dict
totals:
  description: How many targets had which outcome.
  returned: when connected
  type: dict
  sample: {done: 1, unchanged: 2}
errors:
  description: All faults of the options, one by one.
  returned: when options are wrong
  type: list
  elements: str
"""

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import main as perform


def main() -> None:
    perform("reindex")


if __name__ == "__main__":
    main()
