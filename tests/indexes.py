# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What index_info says of a database, and all that a catalog has of its indexes, in forms that tests compare."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.runs import perform
from tests.servers import Database

# Everything but oids, files, and what was counted. What depends on what is told in words.
CATALOG = """
SELECT n.nspname || '.' || x.relname AS index, pg_get_indexdef(x.oid) AS definition, x.relkind, x.relpersistence,
       x.relowner::regrole::text, x.reloptions, x.relispartition, x.reltablespace, x.relacl::text,
       to_jsonb(i) - '{indexrelid,indrelid,indexprs,indpred}'::text[] AS flags, obj_description(x.oid, 'pg_class') AS comment,
       (SELECT jsonb_agg(to_jsonb(a) - 'attrelid' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = x.oid) AS columns,
       (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = x.oid) AS parent,
       (SELECT array_agg(deptype::text || ' ' || pg_describe_object(refclassid, refobjid, refobjsubid) ORDER BY 1) FROM (
            SELECT DISTINCT deptype, refclassid, refobjid, refobjsubid FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = x.oid) AS d) AS depends,
       (SELECT count(*) FROM pg_stats AS s WHERE s.schemaname = n.nspname AND s.tablename = x.relname) AS statistics
FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = x.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
"""


def review(database: Database, dsn: str = "", **options: Any) -> dict[str, Any]:
    """The result of index_info."""
    result = perform("index_info", dsn or database.dsn, **options)
    assert result["status"] == "ok", result
    return result


def found(result: dict[str, Any], *checks: str) -> dict[str, str]:
    """Index -> class of those of which something is said; of these classes only, if there are any."""
    about = result["server"]["database"]
    return {one["subject"]: one["check"] for one in result["findings"]
            if one["subject"] != about and (not checks or one["check"] in checks)}  # fmt: skip


def finding(result: dict[str, Any], subject: str) -> dict[str, Any]:
    """The one finding about an index."""
    (one,) = [one for one in result["findings"] if one["subject"] == subject]
    return dict(one)


def catalog(database: Database) -> dict[str, tuple[Any, ...]]:
    """All that there is of each index, by its name."""
    return {row[0]: row[1:] for row in database.sql(CATALOG)}


def psql(database: Database, script: str) -> str:
    """Run a script as people do; what was said."""
    program = [
        str(database.server.bin / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--set",
        "ON_ERROR_STOP=1",
        "--file",
        "-",
        database.dsn,
    ]
    done = subprocess.run(program, input=script, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
