# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of sql_object share: scripts, installing, and the promise that each installation has to keep."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import sql_object
from tests.runs import until
from tests.servers import Database

TABLE = """
CREATE TABLE item (id int PRIMARY KEY, name text, added timestamp);
INSERT INTO item SELECT n, 'n' || n FROM generate_series(1, 9) AS n
"""
FUNCTION = """
-- A comment of the file, with a 'quote' and a ; in it
CREATE OR REPLACE FUNCTION public.twice(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 2 $$;
COMMENT ON FUNCTION public.twice(int) IS 'Twice as much';
"""
VIEW = """CREATE MATERIALIZED VIEW public.items AS SELECT id, name FROM public.item;
COMMENT ON MATERIALIZED VIEW public.items IS 'All';
"""
INDEX = "CREATE UNIQUE INDEX items_id ON public.items (id)"

# A query for all rows of all catalogs of the database: how many there are, and which transactions wrote them. Whoever changes a
# row writes a new one, except in pg_class. What the server counts there it counts also where it is rolled back, as with an index
# that is tried out. Shared catalogs belong to all tests.
_COUNTED = "{relpages,reltuples,relallvisible,relallfrozen}"
_CATALOGS = f"""
SELECT string_agg(format('SELECT concat_ws(%L, %L, count(*), sum(t.xmin::text::bigint)) FROM pg_catalog.%I AS t', ' ', relname,
                         relname), E'\\nUNION ALL\\n')
       || ' UNION ALL SELECT md5(string_agg((to_jsonb(c) - ''{_COUNTED}''::text[])::text, NULL ORDER BY oid))'
       || ' FROM pg_catalog.pg_class AS c'
FROM pg_catalog.pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
"""


def catalog(database: Database) -> list[str]:
    """Everything that an installation could leave behind, as digests."""
    return [row[0] for row in database.sql(database.value(_CATALOGS))]


def install(database: Database, *scripts: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns."""
    given = {"dsn": database.dsn, "connect_deadline": 60.0, **options}
    if not {"sql", "src", "scripts"} & set(options):
        given["scripts"] = [{"name": f"{number}.sql", "sql": text} for number, text in enumerate(scripts, 1)]
    request = _edge.validated("sql_object", given)
    return sql_object.perform(request.connection, request.wanted, check, _edge.nobody).as_dict()


def results(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Objects and what was done about them, or is to be. Nothing has failed."""
    entries = result["actions"]
    assert (
        result["changed"]
        == any(one["changed"] for one in entries)
        == any(one["operation"] != "keep" for one in entries)
    )
    assert len(result["diff"]) == sum(one["changed"] for one in entries)
    return [(one["target"], one["operation"]) for one in entries]


def contended(result: dict[str, Any], pattern: str) -> list[tuple[str, str]]:
    """The targets that somebody else's lock has kept from being installed, and what was to be done about them."""
    assert (result["status"], result["changed"], result.get("failed")) == ("partial", False, None), result
    found = [one for one in result["actions"] if one["outcome"] == "contended"]
    assert found
    assert all(re.search(pattern, one["reason"]) for one in found), found
    assert any(re.search(f"Not installed: .*{pattern}", text) for text in [*result["warnings"], result["msg"]])
    return [(one["target"], one["operation"]) for one in found]


def exact(database: Database, *scripts: str, **options: Any) -> list[tuple[str, str]]:
    """Check, do, do again: the prediction must be exact and leave no trace, the second run must do nothing."""
    before = catalog(database)
    predicted = install(database, *scripts, check=True, **options)
    assert catalog(database) == before
    done = install(database, *scripts, **options)
    assert results(predicted) == results(done)
    assert predicted["diff"] == done["diff"]
    after = catalog(database)
    assert done["changed"] or after == before
    again = install(database, *scripts, **options)
    assert not again["changed"], again["diff"]
    assert catalog(database) == after
    return results(done)


class Readers:
    """Reads a view all the time; what it saw, and how long the slowest statement took."""

    def __init__(self, database: Database, query: str, number: int = 2) -> None:
        self.database, self.query = database, query
        self.stop = threading.Event()
        self.seen: set[Any] = set()
        self.errors: list[str] = []
        self.slowest = 0.0
        self.count = 0
        self.threads = [threading.Thread(target=self.read) for _number in range(number)]

    def read(self) -> None:
        """Until the end."""
        connection = self.database.connect()
        with connection.cursor() as cursor:
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    cursor.execute(self.query)
                    self.seen.add(cursor.fetchall()[0] if cursor.description else ())
                except psycopg2.Error as error:
                    self.errors.append(str(error))
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.count += 1
        connection.close()

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        until(lambda: self.count > 5)
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts it; its result, or its error, is in the list in the end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except MaintenanceError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found
