# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refresh is left out for, and what it never is: the list of what is covered, and each kind of change."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import refresh
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.refresh import covered, fingerprint_sql
from tests.bench.application import install_view
from tests.integration.test_refresh import TABLE, VIEW, Runner, assert_true, commit_uncounted, fresh, other_session
from tests.raw import FLUSH, RawClient
from tests.servers import Database, Server, Servers


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """Apart from the other tests: settings of roles and databases that they change would cost a refresh here."""
    return servers.shared("proof")


@pytest.fixture
def runner(database: Database) -> Runner:
    """A view that has just been refreshed."""
    return fresh(database)


# The rules by which functions of PostgreSQL are covered: immutable, with all their parts, and none of these.
NOT_COVERED = re.compile(
    r"acl|makeaclitem|hash_aclitem|.*equalimage$|gin_|gist_|spg_|pg_snapshot_|txid_|pg_visible_in_snapshot|pg_walfile_name"
    r"|pg_partition_root|satisfies_hash_partition|pg_indexam_progress|pg_encoding_max|postgresql_fdw|icu_unicode|unicode_version"
    r"|quote_ident$|jsonb_path_|date_add|date_subtract|ts_parse|ts_token_type|ts_headline|ts_lexize|reg\w+send|xml|xpath"
    r"|(void_|unknown|jsonb_|json_|jsonpath_|tsvector|tsquery|pg_ddl_command_)send$"
)
ZONED = re.compile(r"(timezone \{text|(age|date_trunc|generate_series) .*timestamp with time zone)")
TYPES = re.compile(r"cstring|internal|xml|regconfig|regdictionary|\"any\"\[\]|trigger|handler|pg_ddl_command")
IMMUTABLE = """
SELECT p.oid::bigint, p.proname || ' ' || array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) AS t)::text
       || ' ' || format_type(prorettype, NULL)
FROM pg_proc AS p
WHERE p.oid < 10000 AND p.provolatile = 'i' AND p.prokind <> 'p' AND p.prolang IN (12, 14) AND NOT EXISTS (
    SELECT FROM pg_aggregate AS a CROSS JOIN LATERAL unnest(ARRAY[
        aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn,
        aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[]) AS part JOIN pg_proc AS q ON q.oid = part
    WHERE a.aggfnoid = p.oid AND q.provolatile <> 'i')
"""
GONE_SINCE = {1843, 1844, 3325, 3549}  # parts of interval aggregates, until 16


def test_the_list_of_functions_is_what_the_rules_say(database: Database, postgres15: Server) -> None:
    for found in (database.sql(IMMUTABLE), postgres15.sql(IMMUTABLE)):
        ruled, there = set(), {oid for oid, _text in found}
        for oid, text in found:
            name, types = text.split(" ", 1)
            if not (NOT_COVERED.match(name) or ZONED.match(text) or TYPES.search(types)):
                ruled.add(oid)
        assert ruled - covered.COVERED - GONE_SINCE == set()
        assert (covered.COVERED & there) - ruled == set()


def test_what_compares_by_the_type_of_its_elements_is_on_that_list(database: Database) -> None:
    """Found by experiment: the functions of the server that call an operator of a type that only exists here."""
    found = database.sql(
        r"""SELECT p.oid::bigint, p.proname::text FROM pg_proc AS p WHERE p.oid < 10000 AND p.provolatile = 'i'
        AND EXISTS (SELECT FROM unnest(p.proargtypes::oid[]) AS t
                    WHERE t::regtype::text IN ('anyrange', 'anymultirange', 'record'))
        AND p.proname !~ '(image|send|_in|_out)'"""
    )
    assert {name for oid, name in found if oid in covered.COVERED and oid not in covered.BY_TYPE} == set()


OWN = """
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN small AS int; CREATE TYPE pair AS (a int, b text);
ALTER TABLE item ADD m mood DEFAULT 'ok', ADD s small DEFAULT 1, ADD p pair DEFAULT ROW(1, 'x'), ADD c citext DEFAULT 'C',
    ADD at timestamp DEFAULT '2024-05-05 12:00', ADD atz timestamptz DEFAULT '2024-05-05 12:00+00',
    ADD j jsonb DEFAULT '{"a": 1}',
    ADD r int4range DEFAULT '[1,5)', ADD n numeric DEFAULT 1.5;
CREATE TABLE part (id int, grp int) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE MATERIALIZED VIEW below AS SELECT grp, count(*) AS n FROM item GROUP BY grp;
CREATE VIEW plain AS SELECT id, grp FROM item WHERE id > 3;
CREATE VIEW twice AS SELECT p.id, q.grp FROM plain p JOIN plain q USING (id);
"""
ORDINARY = r"""
SELECT i.id, p.grp FROM item i LEFT JOIN part p USING (id);
SELECT * FROM item a FULL JOIN item b USING (id) WHERE a.grp IS DISTINCT FROM b.grp;
SELECT grp, count(*), sum(id), avg(n), min(label), max(at), bool_and(id > 1), string_agg(label, ',' ORDER BY id) FROM
    item GROUP BY 1;
SELECT grp, m, count(*) FILTER (WHERE id > 5), GROUPING(grp) FROM item GROUP BY ROLLUP (grp, m) HAVING count(*) > 0;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), mode() WITHIN GROUP (ORDER BY grp), stddev(id), corr(id, grp)
    FROM item;
SELECT id, rank() OVER w, lag(id) OVER w, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM item
    WINDOW w AS (ORDER BY id);
SELECT id, sum(id) OVER (ORDER BY id RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING), ntile(4) OVER (ORDER BY id) FROM item;
WITH a AS MATERIALIZED (SELECT * FROM item), b AS (SELECT grp FROM a) SELECT DISTINCT grp FROM b;
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT t.n, i.label FROM t JOIN item i ON
    i.id = t.n;
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n % 3 + 1 FROM t) CYCLE n SET is_cycle USING path SELECT n FROM t;
SELECT id FROM item UNION SELECT id FROM part EXCEPT SELECT n FROM below INTERSECT ALL SELECT grp FROM plain;
SELECT CASE grp WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE coalesce(label, '-') END, nullif(grp, 3), greatest(id, grp), id
    BETWEEN 2 AND 5 FROM item;
SELECT lower(label), upper(label) COLLATE "C", initcap(label), length(label), substr(label, 2), replace(label, 'i',
    'o'), md5(label), label ILIKE 'ITEM%', label ~ '^i', regexp_replace(label, '[0-9]+', ''), split_part(label, ' ', 2),
    trim(label), lpad(label, 20) FROM item;
SELECT id::text, n::text, m::text, 'sad'::text::mood, (id + 1)::text, j ->> 'a', j -> 'a', j @> '{"a": 1}', j ? 'a' FROM
    item;
SELECT date_trunc('day', at), at::date, at + interval '1 day', extract(year FROM at), at - timestamp '2020-01-01',
    age(at, at), at > '2020-01-01', atz > '2020-01-01', atz - atz, date_part('hour', at), to_timestamp(id) FROM item;
SELECT round(n, 1), abs(id), n * 2, id / 2, mod(id, 3), power(id, 2), sqrt(id), floor(n), id::numeric, n::int, div(n, 2)
    FROM item;
SELECT m, m > 'sad', s + 1, p, (p).a, p = ROW(1, 'x')::pair FROM item;
SELECT id, c, count(c) OVER (), item FROM item;
SELECT item FROM item;
SELECT count(DISTINCT p), count(*) FROM part p WHERE (p.*) IS NOT NULL;
SELECT ARRAY[id, grp], ARRAY[id] || grp, array_length(ARRAY[1, id], 1), id = ANY (ARRAY[1, 2]), (ARRAY[id, 2])[1],
    ARRAY(SELECT q.id FROM item q WHERE q.id < 3 ORDER BY 1), ARRAY[1, 2] && ARRAY[id], array_position(ARRAY[1, 2], id) FROM
    item;
SELECT r @> 3, lower(r), r * '[2,3)'::int4range, isempty(r), ROW(id, grp) < ROW(3, 4), r = '[1,5)' FROM item;
SELECT i.id, x.n, g.v, u.e FROM item i, LATERAL (SELECT count(*) AS n FROM part WHERE id = i.id) x, generate_series(1,
    2) AS g (v), unnest(ARRAY['a', 'b']) WITH ORDINALITY AS u (e, o), (VALUES (1), (2)) AS y (z), jsonb_array_elements('[1,
    2]') AS e (el);
SELECT * FROM twice JOIN below USING (grp) WHERE EXISTS (SELECT FROM part1) OR id IN (SELECT id FROM part) OR id > ALL
    (SELECT n FROM below);
SELECT tableoid::int, id FROM part;
SELECT encode(sha256('x'), 'hex') FROM item WHERE false OR id < 3;
SELECT DISTINCT ON (grp) grp, label FROM item ORDER BY grp, id LIMIT 5 OFFSET 1
""".split(";")


def test_what_is_ordinary_is_provable(database: Database) -> None:
    names = [f"o{number}" for number in range(len(ORDINARY))]
    database.sql("CREATE EXTENSION citext;" + TABLE + OWN)
    for name, query in zip(names, ORDINARY):
        with other_session(database) as cursor:
            cursor.execute(query)
            columns = ", ".join(f"c{number}" for number in range(len(cursor.description)))
            cursor.execute(f"CREATE MATERIALIZED VIEW {name} ({columns}) AS {query}")
    database._connection.close()
    runner = fresh(database, "SELECT", *names)
    result = runner.run()
    assert {view: why for view, (outcome, why) in result.items() if outcome != "unchanged"} == {}
    assert runner.turns == 1


def test_the_view_of_the_application(vtchat_database: Database) -> None:
    install_view(vtchat_database)
    vtchat_database._connection.close()
    runner = fresh(vtchat_database, "SELECT", "user_subscription_summary")
    assert runner.one()[0] == "unchanged"
    runner.sql("UPDATE user_subscriptions SET status = 'past' WHERE id = (SELECT min(id) FROM user_subscriptions)")
    assert "public.user_subscriptions has changed (1 row updated)" in runner.one()[1]


# Definitions of which something can change though no row is counted: what PostgreSQL or a user calls immutable, and so on.
OBSTACLES = {
    "age of timestamptz": ("SELECT age(atz, '2020-01-01 00:00+00') AS c FROM item", "calls age()"),
    "named time zone": ("SELECT timezone('Europe/Berlin', atz) AS c FROM item", "calls timezone()"),
    "text search": ("SELECT to_tsvector('english', label) AS c FROM item", "calls to_tsvector()"),
    "quote_ident": ("SELECT quote_ident(label) AS c FROM item", "calls quote_ident()"),
    "output function": ("SELECT float8out(0.1::float8 * id)::text AS c FROM item", "calls float8out()"),
    "json path": ("SELECT jsonb_path_query_first(j, '$.a') AS c FROM item", "calls jsonb_path_query_first()"),
    "stable window frame": (
        "SELECT count(*) OVER (ORDER BY atz RANGE BETWEEN '1 day' PRECEDING AND CURRENT ROW) AS c FROM item", "calls in_range()"),
    "user's function": (
        "SELECT own(id) AS c FROM item", "calls own(), whose result can change by itself (it was made by a user)"),
    "user's operator in a join": ("SELECT a.id AS c FROM item a JOIN item b USING (c)", "calls citext_eq()"),
    "grouping by a user's operator": ("SELECT c FROM item GROUP BY c", "calls citext_"),
    "greatest of a user's type": ("SELECT greatest(c, 'x'::citext) AS c FROM item", "compares values of the type public.citext"),
    "array of a user's type": ("SELECT ARRAY[c] = ARRAY[c] AS c FROM item", "compares values of the type public.citext"),
    "row with a user's type": ("SELECT DISTINCT i FROM item AS i", "compares values of the type public.citext"),
    "system column": ("SELECT xmax AS c FROM item", "reads a system column"),
    "place of a row": ("SELECT ctid AS c FROM item", "reads a system column"),
    "text of a timestamp": ("SELECT at::text AS c FROM item", "converts to or from text"),
    "text of an array of dates": ("SELECT ARRAY[at::date]::text[] AS c FROM item", "converts to or from text"),
    "cast to a domain": ("SELECT id::small AS c FROM item", "casts to a domain"),
    "virtual column": ("SELECT old AS c FROM virtual", "calls age()"),
    "view of information_schema": ("SELECT count(*) AS c FROM information_schema.tables", "system catalog"),
    "another access method": ("SELECT id AS c FROM elsewhere", "stored in another way than PostgreSQL's own"),
    "partition in another access method": ("SELECT id AS c FROM parted", "stored in another way than PostgreSQL's own"),
}  # fmt: skip
ODD = """
CREATE FUNCTION own(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE TABLE virtual (at timestamptz, old interval GENERATED ALWAYS AS (age(at, '2020-01-01 00:00+00')) VIRTUAL);
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE elsewhere (id int) USING other;
CREATE TABLE parted (id int) PARTITION BY LIST (id); CREATE TABLE parted1 PARTITION OF parted DEFAULT USING other;
"""


def test_what_can_change_uncounted_is_an_obstacle(database: Database) -> None:
    views = {case: f"v{number}" for number, case in enumerate(OBSTACLES)}
    made = "".join(
        f"CREATE MATERIALIZED VIEW v{number} AS {query};" for number, (query, _) in enumerate(OBSTACLES.values())
    )
    runner = fresh(database, "CREATE EXTENSION citext;" + TABLE + OWN + ODD + made, *views.values())
    result = runner.run()
    wrong = {case: result[f"public.{view}"] for case, view in views.items()
             if result[f"public.{view}"][0] != "done" or OBSTACLES[case][1] not in result[f"public.{view}"][1]}  # fmt: skip
    assert wrong == {}


OF_THE_DATABASE = {
    "CREATE OPERATOR CLASS mine FOR TYPE int4 USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, "
    "OPERATOR 5 >, FUNCTION 1 btint4cmp(int4, int4)": "an operator class that a user made",
    "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET track_counts = off AS 'SELECT 1'": "track_counts is off",
    "ALTER DATABASE {} SET gin_fuzzy_search_limit = 5": "gin_fuzzy_search_limit is set",
    "ALTER DATABASE {} SET track_counts = off": "track_counts is off",
}


@pytest.mark.parametrize("statement", OF_THE_DATABASE)
def test_what_is_an_obstacle_for_a_whole_database(runner: Runner, statement: str) -> None:
    runner.sql(statement.format(runner.database.name))
    outcome, why = runner.one()
    assert (outcome, OF_THE_DATABASE[statement] in why) == ("done", True), why


def test_a_fingerprint_that_was_taken_while_an_obstacle_stood_is_worth_nothing(database: Database) -> None:
    runner = fresh(database)
    role = runner.role()
    runner.sql(f"GRANT ALL ON item, per_group TO {role}", f"ALTER TABLE item OWNER TO {role}",
               f"ALTER MATERIALIZED VIEW per_group OWNER TO {role}")  # fmt: skip
    runner.one()
    hide, show = (
        "ALTER TABLE item FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE item DISABLE ROW LEVEL SECURITY",
    )
    runner.sql(hide, "CREATE POLICY few ON item USING (grp < 3)")
    assert "row-level security" in runner.one()[1]
    runner.sql(show)
    outcome, why = runner.one()
    assert outcome == "done"
    assert why.startswith(
        "nothing could be proved at the last refresh (its definition reads public.item, which has row-level security"
    )
    assert runner.one()[0] == "unchanged"
    # The same while we refresh, and taken back after it.
    between(runner, before=(hide,), after=(show,))
    outcome, why = runner.one()
    assert (outcome, "was altered meanwhile" in why) == ("done", True), why
    assert_true(database, "public.per_group")


def between(runner: Runner, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> None:
    """Refresh, with statements of somebody else's just before and after the refresh itself."""
    with runner.session() as session:
        runner.options["force"] = True
        [action] = runner.decide(session)
        runner.options["force"] = False
        original = session.row

        def interfere(query: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
            ours = "REFRESH" in session.text(query)
            if ours and before:
                runner.sql(*before)
            found = original(query, *arguments, **keywords)
            if ours and after:
                runner.sql(*after)
            return found

        session.row = interfere  # type: ignore[method-assign]
        assert runner.execute(session, action).status == "done"
        pid = session.server.backend_pid
    runner.wait_until_gone(pid)


@pytest.mark.parametrize("how", ["role", "role with a run in between", "database"])
def test_counting_switched_off_for_a_while(runner: Runner, how: str) -> None:
    role = runner.role()
    runner.sql(f"GRANT ALL ON item TO {role}")
    assert runner.one()[0] == "unchanged"
    whose = f"DATABASE {runner.database.name}" if how == "database" else f"ROLE {role}"
    runner.sql(f"ALTER {whose} SET track_counts = off")
    if "run" in how:
        assert "track_counts is off" in runner.one()[1]
    with other_session(runner.database, role) as cursor:
        cursor.execute("DELETE FROM item WHERE grp = 2")
        pid = cursor.connection.info.backend_pid
    runner.wait_until_gone(pid)
    runner.sql(f"ALTER {whose} RESET track_counts")
    assert runner.one()[0] == "done"
    assert_true(runner.database, "public.per_group")


def test_whole_rows_and_a_dropped_column(database: Database) -> None:
    runner = fresh(database, TABLE + """
        UPDATE item SET label = NULL WHERE id < 10; CREATE VIEW between AS SELECT i FROM item AS i;
        CREATE MATERIALIZED VIEW v AS SELECT id, (i.*) IS NOT NULL AS whole FROM item AS i;
        CREATE MATERIALIZED VIEW w AS SELECT count(DISTINCT i) AS n FROM between;
        """, "v", "w")  # fmt: skip
    assert {outcome for outcome, _ in runner.run().values()} == {"unchanged"}
    runner.sql("ALTER TABLE item DROP COLUMN label")
    result = runner.run()
    assert {outcome for outcome, _ in result.values()} == {"done"}
    assert_true(database, "public.v")
    assert_true(database, "public.w")


def test_counters_that_were_reset_to_the_same_numbers(runner: Runner) -> None:
    runner.sql(
        "TRUNCATE item",
        "SELECT pg_stat_reset_single_table_counters('item'::regclass)",
        "INSERT INTO item VALUES (1, 1)",
    )
    assert runner.one()[0] == "done"
    runner.sql(
        "DELETE FROM item",
        "SELECT pg_stat_reset_single_table_counters('item'::regclass)",
        "INSERT INTO item VALUES (1, 2)",
    )
    assert runner.one()[0] == "done"
    assert_true(runner.database, "public.per_group")


# Somebody else's refresh


@pytest.mark.parametrize(("ours", "how"), [("auto", ""), ("never", ""), ("never", "CONCURRENTLY")])
def test_somebody_elses_refresh_is_not_taken_for_ours(runner: Runner, how: str, ours: str) -> None:
    """It has an old snapshot, and commits between our refresh and whatever we read after it."""
    runner.options["concurrently"] = ours
    with other_session(runner.database) as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM item")
        runner.sql("INSERT INTO item VALUES (300, 1, 'x')")

        with runner.session() as session:
            [action] = runner.decide(session)
            original = session.row

            def interfere(query: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
                found = original(query, *arguments, **keywords)
                if "REFRESH" in session.text(query):
                    cursor.execute(f"REFRESH MATERIALIZED VIEW {how} per_group; COMMIT")
                return found

            session.row = interfere  # type: ignore[method-assign]
            assert runner.execute(session, action).status == "done"
        pid = cursor.connection.info.backend_pid
    runner.wait_until_gone(pid)
    outcome, why = runner.one()
    assert outcome == "done"
    assert why.startswith("it has been refreshed or rewritten by somebody else")
    assert_true(runner.database, "public.per_group")
    assert runner.one()[0] == "unchanged"


# Sessions by the protocol


def raw_change(runner: Runner, client: RawClient, commit: Callable[[], None]) -> None:
    """Delete a row so that the counters do not show it, as commit_uncounted() does."""
    counter = "SELECT pg_stat_get_tuples_deleted('item'::regclass)"
    for row in range(1, 10):
        before = runner.sql(counter)
        client.query(f"BEGIN; DELETE FROM item WHERE id = {row}")
        commit()
        if runner.sql(counter) == before:
            return
        runner.one()
    pytest.fail("every change was counted at once: there is nothing to show")


def flush_without_sync(client: RawClient) -> None:
    client.extended("COMMIT", end=FLUSH)


def error_without_sync(client: RawClient) -> None:
    client.extended("COMMIT", end=FLUSH)
    client.fail()


def with_sync(client: RawClient) -> None:
    client.extended("COMMIT")


@pytest.mark.parametrize(
    ("commit", "meanwhile"),
    [
        (with_sync, RawClient.sync),
        (with_sync, lambda client: client.parse("SELECT 1")),
        (flush_without_sync, lambda client: None),
        (error_without_sync, lambda client: None),
    ],
    ids=["Sync", "Parse", "Flush", "error"],
)
def test_a_session_that_has_not_reported(
    runner: Runner, commit: Callable[[RawClient], None], meanwhile: Callable[[RawClient], None]
) -> None:
    client = RawClient(runner.database.server, runner.database.name)
    try:
        raw_change(runner, client, lambda: commit(client))

        def sleep(seconds: float) -> None:
            with contextlib.closing(runner.database.connect()) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [seconds])  # the pause, and a session that comes and goes
            meanwhile(client)

        runner.sleep, runner.seconds_left = sleep, 3.0 if commit is not with_sync else 600.0
        assert runner.one()[0] == "done"
        assert_true(runner.database, "public.per_group")
    finally:
        client.close()


def test_a_role_that_may_not_see_other_sessions(runner: Runner) -> None:
    role = runner.role()
    runner.sql(f"GRANT MAINTAIN ON per_group TO {role}")
    with other_session(runner.database) as cursor:
        commit_uncounted(runner, cursor)
        runner.dsn, runner.seconds_left = runner.database.dsn_as(role), 1.0
        outcome, why = runner.one()
        assert outcome == "done"
        assert "does not show its state (GRANT pg_read_all_stats to our role) and there is no time to wait" in why


def test_a_session_that_a_pool_handed_over(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the one before us changed in it is not counted yet, and we are not among the others that we look at."""
    with runner.session() as session:
        session.row("SELECT pg_stat_force_next_flush()")
        session.execute("UPDATE public.item SET label = label || 'x' WHERE id = 1")
        if runner.sql("SELECT pg_stat_get_tuples_updated('item'::regclass)") != [(0,)]:
            pytest.skip("counted at once on so slow a machine: there is nothing to show")
        monkeypatch.setattr(type(session), "inherited", True)
        [action] = runner.decide(session)
    assert "public.item has changed (1 row updated)" in action.reason


# The owner of the view


def test_what_the_owner_of_the_view_lacks(database: Database) -> None:
    runner = fresh(database, "CREATE SCHEMA s; CREATE FUNCTION s.own(int) RETURNS int LANGUAGE sql RETURN $1;" + TABLE + """
        CREATE TYPE pair AS (a int, b int); ALTER TABLE item ADD p pair;
        CREATE MATERIALIZED VIEW s.v AS SELECT s.own(grp) AS grp, count((p).a) FROM item GROUP BY 1;
        CREATE UNIQUE INDEX ON s.v (grp)
        """, "s.v")  # fmt: skip
    owner = runner.role()
    runner.sql(f"ALTER MATERIALIZED VIEW s.v OWNER TO {owner}", "REVOKE EXECUTE ON FUNCTION s.own FROM PUBLIC",
               f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")  # fmt: skip
    expected = [f"GRANT SELECT ON TABLE public.item TO {owner}", f"GRANT EXECUTE ON FUNCTION s.own(integer) TO {owner}",
                f"GRANT USAGE ON SCHEMA s TO {owner}", f"GRANT TEMPORARY ON DATABASE {database.name} TO {owner}"]  # fmt: skip
    with runner.session() as session:
        context = runner.context()
        context.check = True
        [action] = refresh_decide(runner, session, context)
    assert action.verdict == "failed"
    told = f"the owner of the view, role {owner}, needs rights too: " + "; ".join(expected)
    assert action.reason == told
    outcome, why = runner.one()
    assert (outcome, why.endswith(told)) == ("failed", True), why
    runner.sql(*expected)
    assert runner.one()[0] == "done"


def refresh_decide(runner: Runner, session: Any, context: Any) -> list[Any]:
    options = refresh.read(runner.options)
    return list(refresh.decide(refresh.facts(session, options, context), options, context))


PATHS = """
CREATE SCHEMA s; CREATE TABLE s.rate (n int); INSERT INTO s.rate VALUES (2); SET search_path = s, public;
CREATE FUNCTION s.rated(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 * (SELECT n FROM rate); END';
CREATE MATERIALIZED VIEW s.v AS SELECT s.rated(3) AS n WITH NO DATA;
"""


def test_a_function_that_relies_on_the_search_path(database: Database, postgres15: Server) -> None:
    """17 and later run a refresh under a path of their own; before that functions have the path that their user has."""
    runner = Runner(database, "s.v")
    runner.sql(PATHS, f"ALTER DATABASE {database.name} SET search_path = s, public")
    outcome, why = runner.one()
    assert outcome == "failed"
    assert "since PostgreSQL 17 a refresh runs with search_path = pg_catalog, pg_temp" in why
    alter = "ALTER FUNCTION s.rated(integer) SET search_path = s, public"
    assert why.endswith(alter)
    runner.sql(alter)
    assert runner.one()[0] == "done"
    older = postgres15.create_database()
    try:
        runner = Runner(older, "s.v")
        runner.sql(PATHS, f"ALTER DATABASE {older.name} SET search_path = s, public")
        assert runner.one()[0] == "done"
        assert older.sql("SELECT n FROM s.v") == [(6,)]
    finally:
        older.close()


# The plan of the statement


@pytest.mark.parametrize(
    "setting", ["enable_nestloop", "enable_hashjoin", "enable_bitmapscan", "enable_memoize", "none"]
)
def test_no_catalog_is_read_whole_for_each_view(database: Database, setting: str) -> None:
    """Whatever the planner prefers: for each single object there is the index of the catalog, and nothing else."""
    many = "BEGIN FOR i IN 1..400 LOOP EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY, b text)', i); END LOOP; END"
    runner = fresh(database, f"DO $$ {many} $$;" + TABLE + VIEW)
    options = "" if setting == "none" else f" options='-c {setting}=off'"
    runner.dsn = database.dsn + options
    with runner.session() as session:
        text = session.text(fingerprint_sql.statement(session.server, ["per_group"] * 30))
        plan = "\n".join(row["QUERY PLAN"] for row in session.rows("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + text))
    read = re.findall(r"Seq Scan on (pg_(?:class|attribute|depend|rewrite|type|index))\b.*loops=(\d+)", plan)
    assert [(catalog, times) for catalog, times in read if int(times) > 1] == [], plan
