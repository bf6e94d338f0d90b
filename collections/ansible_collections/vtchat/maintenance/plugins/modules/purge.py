#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: purge
short_description: Delete expired rows in small batches
version_added: 1.0.0
description:
  - Deletes the rows of a table whose time has come, in batches with a transaction each.
  - One cut-off is computed on the server at the start. A row is deleted only if its time is not after the cut-off when it
    is deleted; V(NULL) and C(infinity) never expire. A C(date) has passed when its whole day has.
  - Batches adapt their size to O(batch_ms), leave rows alone that other sessions have locked, slow down when others would feel
    them (see O(pace)), and wait while a replica is more than 64 MiB behind and comes nearer; one that does not, such as a
    delayed one, is named in the reason. Rows that stay locked are reported as C(left), which is not counted beyond 1001.
  - Few expired rows are found by an index, the oldest first; many of them page by page (see O(order)).
  - What was deleted stays deleted when a run is stopped; the next one continues.
  - Refuses a large table in which no index serves O(column) unless a large share of it has expired, and one which large tables
    refer to by a foreign key without an index, directly or through tables whose rows go with it (see O(require_index)).
  - Refuses a table whose row-level security hides rows from the role, one with a rule on C(DELETE), and one whose rows take
    others with them that have not expired (see O(cascade)).
  - Triggers of the table fire, with the rights of the role and the search_path that it has. They are named in the result.
  - A row that a trigger, a foreign key or the archive refuses to let go stays, and all others go. Such a run is C(failed), with
    the number of these rows as C(refused), or as C(kept) where others refer to them, and the first error. It stops after 100 of
    them one after the other, and after 1000, and the next one begins behind them; but not for rows to which others refer, as
    long as the role may read the tables that do. An error about everything, such as a missing right or a full disk, stops it
    at once.
  - Check mode counts rows to which others refer, as C(kept), where it counts rows at all and the role may read these tables.
  - Where somebody is in the way, the reason names the session, if it can still be seen.
  - Refuses a table, and tables whose rows go or change with it, that logical replication publishes in a way in which the server
    would refuse the C(DELETE) in the middle, without replica identity, or with a row filter or list of columns that does not
    fit it.
  - The role needs C(SELECT), C(UPDATE) and C(DELETE) on the table; C(UPDATE) because rows are locked before they are
    deleted. On tables of O(with) it needs the same.
options:
  table:
    description:
      - The table, or partitioned table. Each part of the name is taken literally, upper case and spaces included; a part
        with a dot or a double quote in it is written in double quotes.
    type: str
    required: true
  column:
    description:
      - The column that says when a row expires. A C(timestamptz); a C(timestamp) or C(date) with O(timezone); a number with
        O(epoch); a C(uuid) or text with O(format).
      - One of O(column) and O(conditions) is needed.
    type: str
  older_than:
    description:
      - How long a row is kept after the time in O(column). A number of seconds, or a number with V(s), V(m), V(h), V(d) or
        V(w).
    type: str
    default: "0"
  where:
    description:
      - An SQL condition that the rows must fulfil as well.
      - Goes into the statement as it is. Only trusted text belongs here.
    type: str
  timezone:
    description:
      - The zone in which the times were written when O(column) has none, such as V(UTC) or V(Asia/Ho_Chi_Minh).
        Compulsory then, an error otherwise. An abbreviation of a summer time such as C(EDT) is refused.
      - Where clocks are turned back, a time that occurs twice is taken for the later one.
      - With text that says no zone itself, its zone. With an C(interval) in O(ttl_column), the zone in which
        its days and months are counted, V(UTC) if it is not given.
      - With O(premake), also the zone by whose midnights the partitions of a C(timestamptz) begin.
    type: str
  epoch:
    description:
      - The unit of a number in O(column) that counts from 1970-01-01 UTC, seconds, milliseconds or microseconds.
        Compulsory for a number, an error otherwise.
      - Numbers before 1971 in that unit, 0 and negative numbers among them, never expire. A whole number has to be over
        before its row goes. Where a few pages of the column show another unit, or none, nothing is deleted, and the
        failure says so.
    type: str
    choices: [s, ms, us]
  format:
    description:
      - How the time stands in a column that is no time, V(uuidv7) and V(ulid) for identifiers that begin with the
        millisecond in which they were made, V(iso) for text such as C(2026-01-31T08:00:00Z). Compulsory for C(text) and C(uuid).
      - What cannot be read so never expires, such as a UUID of another version. Where nothing can, that is a failure, or a
        warning if the history knows that an earlier run has seen what can.
      - The millisecond of an identifier, the second of a text has to be over. An index on text serves only where it sorts by
        bytes (C(COLLATE "C")).
    type: str
    choices: [uuidv7, ulid, iso]
  ttl_column:
    description:
      - A column that says for each row how long it lives after the time in O(column), an C(interval) or a number. It is
        added to O(older_than).
      - V(NULL), 0, negative and infinite times mean that the row never expires. No index helps to find these rows.
    type: str
  ttl_unit:
    description:
      - The unit of O(ttl_column) where that is a number.
    type: str
    choices: [ms, s, m, h, d]
    default: s
  null_means:
    description:
      - Whether a row expires that has no time, V(never) or V(always).
    type: str
    choices: [never, always]
    default: never
  conditions:
    description:
      - Several ways to expire, in place of O(column). A row goes when any of them holds, and O(where) as well.
    type: list
    elements: dict
    suboptions:
      column:
        description:
          - As O(column).
        type: str
        required: true
      older_than:
        description:
          - How long a row is kept after the time in O(conditions[].column). A number of seconds, or a number with V(s), V(m),
            V(h), V(d) or V(w).
        type: str
        default: "0"
      where:
        description:
          - An SQL condition that the rows must fulfil as well.
          - Goes into the statement as it is. Only trusted text belongs here.
        type: str
      timezone:
        description:
          - The zone in which the times were written when O(conditions[].column) has none, such as V(UTC) or V(Asia/Ho_Chi_Minh).
            Compulsory then, an error otherwise. An abbreviation of a summer time such as C(EDT) is refused.
          - Where clocks are turned back, a time that occurs twice is taken for the later one.
          - With text that says no zone itself, its zone. With an C(interval) in O(conditions[].ttl_column), the zone in which
            its days and months are counted, V(UTC) if it is not given.
        type: str
      epoch:
        description:
          - The unit of a number in O(conditions[].column) that counts from 1970-01-01 UTC, seconds, milliseconds or microseconds.
            Compulsory for a number, an error otherwise.
          - Numbers before 1971 in that unit, 0 and negative numbers among them, never expire. A whole number has to be over
            before its row goes. Where a few pages of the column show another unit, or none, nothing is deleted, and the
            failure says so.
        type: str
        choices: [s, ms, us]
      format:
        description:
          - How the time stands in a column that is no time, V(uuidv7) and V(ulid) for identifiers that begin with the
            millisecond in which they were made, V(iso) for text such as C(2026-01-31T08:00:00Z). Compulsory for C(text) and
            C(uuid).
          - What cannot be read so never expires, such as a UUID of another version. Where nothing can, that is a failure, or a
            warning if the history knows that an earlier run has seen what can.
          - The millisecond of an identifier, the second of a text has to be over. An index on text serves only where it sorts by
            bytes (C(COLLATE "C")).
        type: str
        choices: [uuidv7, ulid, iso]
      ttl_column:
        description:
          - A column that says for each row how long it lives after the time in O(conditions[].column), an C(interval) or a
            number. It is added to O(conditions[].older_than).
          - V(NULL), 0, negative and infinite times mean that the row never expires. No index helps to find these rows.
        type: str
      ttl_unit:
        description:
          - The unit of O(conditions[].ttl_column) where that is a number.
        type: str
        choices: [ms, s, m, h, d]
        default: s
      null_means:
        description:
          - Whether a row expires that has no time, V(never) or V(always).
        type: str
        choices: [never, always]
        default: never
  max_rows:
    description: Delete at most this many rows in one run.
    type: int
  batch_ms:
    description:
      - How many milliseconds a batch should take. While others work it is less, see O(pace).
    type: int
    default: 250
  pace:
    description:
      - V(auto) looks around once a second. Alone, it goes at full speed; while other sessions work it makes short batches with
        pauses in between, and longer pauses while others wait for rows that it holds or commits become slow.
      - V(full) never pauses for others. A share of the time such as V(25%) pauses after each batch so that no more than that
        is spent in deleting.
      - The pauses and their causes stand in the result, as C(paused_seconds) and C(paused_for).
    type: str
    default: auto
  order:
    description:
      - V(index) takes the oldest rows first, and needs an index that serves O(column). V(heap) reads all pages of the table
        once, in their order.
      - V(auto) goes through the pages when there are two expired rows or more for each page, or no index serves. With
        O(max_rows) it goes by the index, so that the oldest rows go. Where statistics do not settle it, some of the pages do.
      - The result says which way was taken, and why.
    type: str
    choices: [auto, index, heap]
    default: auto
  require_index:
    description:
      - Whether to refuse a table of more than 8 MB of which few rows have expired and in which no index serves O(column), and
        foreign keys that refer to it from tables of more than 8 MB without an index.
      - A day long the table is C(skipped) after a run that has deleted a large share of it, and a walk that has stopped in the
        middle is brought to its end, as far as the history is kept.
    type: bool
    default: true
  cascade:
    description:
      - Whether rows may go whose own time has not come, because they refer with C(ON DELETE CASCADE) to rows whose time has.
      - This is about tables that have a column named as O(column), the table itself among them, unless the foreign key takes
        that column along. Rows of other tables follow the rows that they refer to, as their foreign key says.
      - Rows of the table that go with others of it are among those that the result counts, unless they are archived, but not
        among those that check mode counts. With them a run may delete more than O(max_rows). With O(keep_referenced) in its place
        they go when their own time has come.
    type: bool
    default: false
  keep_referenced:
    description:
      - Whether rows stay that others refer to by a foreign key with C(RESTRICT) or C(NO ACTION), directly or through rows that
        would go with them. They are counted as C(kept). Otherwise they stay as well, and the run is C(failed).
      - Rows of the same table that refer to each other go in layers, those to which nothing refers first. That holds for a
        foreign key with C(CASCADE) of the table to itself as well, unless O(cascade) says that rows may go with others; those
        that refer to each other in a circle stay.
    type: bool
    default: false
  with:
    description:
      - Tables that refer to the table, directly or through each other, whose rows are dealt with first, in batches of their
        own, so that no single row takes millions with it in one transaction.
      - Rows go where the foreign key says C(CASCADE), C(RESTRICT) or C(NO ACTION), whatever their own time is; where it says
        C(SET NULL) or C(SET DEFAULT) their columns are set.
      - No transaction deletes more rows than a batch. A row that is given another time meanwhile stays, with what is left of
        those that refer to it; so does one to which a row refers that somebody has locked, or that a trigger keeps.
      - Rows of one of these tables that refer to each other go layer by layer, those to which nothing refers first. Where they
        refer to each other in a circle they stay, with the row that they hang on, and are reported as left.
      - Tables that refer to each other in a circle are refused, and tables whose rows a trigger might keep after those that
        refer to them are gone (C(BEFORE DELETE FOR EACH ROW)), unless O(cascade) says that it keeps none.
      - The result counts them by table, in C(with). With O(archive.schema) or O(archive.directory) they are archived as well.
    type: list
    elements: str
    default: []
  archive:
    description:
      - Where rows go before they are gone, one of O(archive.table), O(archive.schema) and O(archive.directory).
      - Rows that go by C(ON DELETE CASCADE) are not among them. That is refused, unless O(cascade) says that it is meant, or
        O(with) names their tables.
    type: dict
    suboptions:
      table:
        description:
          - A table with the same columns, as C(CREATE TABLE archive.t (LIKE public.t)) makes it. Rows are inserted there in the
            transaction that deletes them. It may have more columns, with a default or V(NULL).
          - The role needs C(INSERT) on it. What would lose something, such as a missing column, is refused beforehand.
        type: str
      schema:
        description:
          - A schema in which there is such a table for each table that loses rows, with the same name, those of O(with) among
            them.
        type: str
      directory:
        description:
          - An absolute path on the machine where the module runs, of a directory that exists. Rows are written there as
            compressed files of C(COPY), with a manifest and a script that puts them back, and are on the disk before the
            transaction that deletes them ends.
          - A file whose transaction was committed without an answer has C(.in-doubt) at the end of its name. The next run finds
            out what became of it.
        type: path
  partitions:
    description:
      - For a table that is partitioned by ranges of O(column) alone, what becomes of partitions of which all rows have
        expired. V(drop) detaches and drops them, V(detach) leaves each as a table of its own.
      - They are judged by their bounds and never by their names. A partition goes when its upper bound, which is exclusive,
        is not after the cut-off; rows of a partition that is not over yet stay until it is. The last partition always stays.
      - Expired rows in the C(DEFAULT) partition are deleted row by row with V(drop), and stay with V(detach).
      - A partition stays, and that is a failure, while rows of other tables refer to it, or when other objects depend on it
        that would go with it. Nothing is ever dropped with C(CASCADE).
      - A detach that was interrupted is finished. A table that was detached in order to be dropped is dropped by the next
        run; it is known by a mark at the end of its comment.
      - A partition goes as a whole, so O(where), O(ttl_column), O(conditions), O(with), O(archive), O(max_rows) and
        O(keep_referenced) are errors.
      - The role must be a member of the owners of the table and of its partitions.
    type: str
    choices: [detach, drop]
  premake:
    description:
      - How many partitions there must be after the one that is in use now. What is missing is created before anything is
        dropped, each in a transaction of its own, like the newest one.
      - Without O(partitions) nothing else is done.
      - Rows in the C(DEFAULT) partition that belong into a new one are in its way. The reason says how many, and how to move
        them.
    type: int
  interval:
    description:
      - How long a new partition is, a number of hours, days, weeks, months, quarters or years such as V(1 month), where the
        bounds of the present ones do not tell.
    type: str
  concurrently:
    description:
      - Whether partitions are detached with C(CONCURRENTLY), which blocks neither readers nor writers. V(auto) does without
        it where PostgreSQL cannot, beside a C(DEFAULT) partition, under a lock that is waited for no longer than two seconds
        at a time; V(require) is a failure there.
    type: str
    choices: [auto, require, never]
    default: auto
extends_documentation_fragment:
  - vtchat.maintenance.connection
  - vtchat.maintenance.connection.run
  - vtchat.maintenance.attributes
attributes:
  diff_mode:
    support: full
    details: Shows the number of expired rows, and the bounds of partitions that go or come.
seealso:
  - module: vtchat.maintenance.run
author:
  - The vtchat.maintenance authors (@vtchat)
"""

EXAMPLES = r"""
- name: Delete expired sessions whose zone-less times were written in UTC
  vtchat.maintenance.purge:
    dsn: "{{ maintenance_dsn }}"
    table: sessions
    column: expires_at
    timezone: UTC

- name: Keep audit records for a year, but delete no more than a million an hour
  vtchat.maintenance.purge:
    table: audit.events
    column: created_at
    older_than: 365d
    where: not legal_hold
    max_rows: 1000000

- name: Delete tokens that have expired, were revoked a week ago, or have not been used for a quarter
  vtchat.maintenance.purge:
    table: tokens
    conditions:
      - {column: expires_at}
      - {column: revoked_at, older_than: 7d}
      - {column: last_used_ms, epoch: ms, older_than: 90d}

- name: Delete cache entries whose own time to live, in seconds, is over
  vtchat.maintenance.purge:
    table: cache
    column: created_at
    ttl_column: ttl
    order: heap

- name: Delete events after a month by the time in their key, a UUID of version 7
  vtchat.maintenance.purge:
    table: events
    column: id
    format: uuidv7
    older_than: 30d

- name: Drop partitions by month a quarter after their end, and have the next three ready
  vtchat.maintenance.purge:
    table: audit.events
    column: created_at
    older_than: 90d
    partitions: drop
    premake: 3
"""

RETURN = r"""
status:
  description: V(ok), V(partial), V(failed) or V(skipped), as RV(vtchat.maintenance.run#module:status).
  returned: when connected
  type: str
actions:
  description: One entry for each target; what is in it is documented at RV(vtchat.maintenance.run#module:actions).
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
    perform("purge")


if __name__ == "__main__":
    main()
