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


OBJECTS = """
CREATE SCHEMA "The; schema"; CREATE EXTENSION btree_gin;
CREATE TABLE plain (id int PRIMARY KEY, a int, b text, c varchar, d int[], e tsvector, f jsonb, g box);
CREATE INDEX plain_a ON plain (a) WITH (fillfactor = 70, deduplicate_items = off); COMMENT ON INDEX plain_a IS 'it''s "so" \\ and
so';
CREATE INDEX plain_where ON plain (b COLLATE "C" text_pattern_ops DESC NULLS LAST, a) INCLUDE (c, id)
    WHERE b <> ' WHERE ' AND a > 0;
CREATE INDEX plain_gin ON plain USING gin (f jsonb_path_ops, a) WITH (fastupdate = off, gin_pending_list_limit = 100);
CREATE INDEX plain_gist ON plain USING gist (e tsvector_ops (siglen = 100)) WITH (buffering = on);
CREATE INDEX plain_hash ON plain USING hash (c) WITH (fillfactor = 50);
CREATE INDEX plain_brin ON plain USING brin (a int4_minmax_multi_ops (values_per_range = 16), id)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX plain_spgist ON plain USING spgist (g);
CREATE INDEX plain_cluster ON plain (a, c); ALTER TABLE plain CLUSTER ON plain_cluster;
CREATE INDEX plain_ext ON plain USING gin (b, a); ALTER INDEX plain_ext DEPENDS ON EXTENSION btree_gin;
CREATE INDEX plain_one ON plain (lower(b), (a + 1)); ALTER INDEX plain_one ALTER COLUMN 1 SET STATISTICS 321;
CREATE INDEX plain_two ON plain (lower(b), (a + 1)); ALTER INDEX plain_two ALTER COLUMN 1 SET STATISTICS 321;
CREATE UNIQUE INDEX plain_unique ON plain (c, a); CREATE UNIQUE INDEX plain_unique_2 ON plain (c, a);
CREATE UNLOGGED TABLE "The; schema"."T ""t" ("C c" int, "where" text);
CREATE INDEX "I; ""i" ON "The; schema"."T ""t" ("C c");
CREATE INDEX "where" ON "The; schema"."T ""t" ("where") WITH (fillfactor = 60) WHERE "where" <> '';
CREATE MATERIALIZED VIEW seen AS SELECT id, a FROM plain; CREATE INDEX seen_a ON seen (a);
CREATE TABLE parts (id int, a int, b int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (a);
CREATE TABLE parts_1_1 PARTITION OF parts_1 FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_1_2 PARTITION OF parts_1 FOR VALUES FROM (10) TO (20);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE INDEX whole ON parts (b) WITH (fillfactor = 77); CREATE INDEX whole_longer ON parts (b, a);
CREATE INDEX own ON parts_2 (b, id); COMMENT ON INDEX whole IS 'all'; COMMENT ON INDEX parts_2_b_idx IS 'a part';
ALTER INDEX parts_1_1_b_idx RENAME TO "another name"; ALTER INDEX parts_1_1_b_a_idx RENAME TO of_longer
"""  # fmt: skip
LEFT = """
CREATE INDEX plain_a_ccnew ON plain (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'plain_a_ccnew'::regclass
"""
LEFTOVER = "public.plain_a_ccnew"


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
    done = subprocess.run(program, input=script, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def scripts(database: Database, **options: Any) -> tuple[str, str]:
    """The texts of both scripts, as whoever writes them gets them."""
    result = review(database, drop_script="reports/drop.sql", unused_after="0", **options)
    assert list(result["files"]) == ["reports/drop.sql", "reports/undo.sql"]
    return result["files"]["reports/drop.sql"], result["files"]["reports/undo.sql"]


def dropped_and_made_again(database: Database) -> tuple[str, str]:
    """Both scripts for OBJECTS, applied: what can go was gone, and is as it was; but for what was not valid."""
    database.sql("INSERT INTO plain (id, a, b, c) SELECT n, n, 'b' || n, n FROM generate_series(1, 500) AS n")
    database.sql("ANALYZE")
    database.sql(LEFT)
    before = catalog(database)
    drop, undo = scripts(database)
    assert scripts(database) == (drop, undo), "a file is only written when something is different"
    psql(database, drop)
    stayed = set(catalog(database)) & set(before)
    assert stayed == {"public.plain_pkey", "public.plain_one", "public.plain_unique"}
    psql(database, undo)
    del before[LEFTOVER]
    assert catalog(database) == before
    assert database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    return drop, undo
