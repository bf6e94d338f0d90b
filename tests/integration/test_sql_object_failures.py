# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts that fail or are refused, and others at work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError, SqlError
from ansible_collections.vtchat.maintenance.plugins.module_utils._objects import install as _objects
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.objects import FUNCTION, TABLE, VIEW, catalog, contended, exact, install, results
from tests.servers import Database, Server


@pytest.fixture(scope="module")
def untouched(server: Server) -> Iterator[Database]:
    """One database for all failures: none of them may leave anything in it."""
    made = server.create_database()
    made.sql(TABLE)
    install(made, VIEW)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE OR REPLACE FUNCTION f() RETURNS int\nLANGUAGE sql AS\n$$ SELECT 1;\nSELECT nix $$", r'2\.sql:4: column "nix"'),
        ("-- x\nCREATE OR REPLACE PROCEDURE f() LANGUAGE plpgsql AS $$\nBEGIN\n  foo bar;\nEND $$", r"2\.sql:4: syntax error"),
        (VIEW + "\n\nGRANT NONSENSE;", r"2\.sql:5: syntax error at or near"),
        ("\nCREATE MATERIALIZED VIEW v AS\nSELECT nix\nFROM item;\nCOMMENT ON COLUMN v.a IS 'x'", r'2\.sql:3: column "nix"'),
        ("CREATE INDEX i ON item (id)", r"2\.sql:1: CREATE INDEX is what the module index is for"),
        ("SELECT 1;\nSELECT 1 / 0", r"2\.sql:2: division by zero"),
        ("COMMIT", r"2\.sql:1: .*transaction commands.*begins and ends by itself"),
        ("BEGIN; CREATE OR REPLACE VIEW v AS SELECT 1; COMMIT", r"2\.sql:1: .*transaction commands"),
        ("DO $$ BEGIN COMMIT; END $$", r"2\.sql:1: invalid transaction termination"),
        ("CREATE INDEX CONCURRENTLY i ON item (id)", r"2\.sql:1: CREATE INDEX is what the module index is for"),
        ("REINDEX TABLE CONCURRENTLY item", r"2\.sql:1: REINDEX is what the module index is for"),
        ("VACUUM item", r"2\.sql:1: VACUUM cannot"),
        ("SELECT 1;\n\\i other.sql", r"2\.sql:2: syntax error .*Commands of psql"),
        ("COPY item FROM stdin;\n1\n\\.", r"2\.sql:1: COPY … FROM stdin, .* is for psql"),
        ("CREATE TABLE other (id int)", r"2\.sql: table public\.other: objects of this kind"),
        ("DROP TABLE item CASCADE", r"2\.sql: table public\.item"),
        ("ALTER TABLE item ADD COLUMN extra int", r"2\.sql: table public\.item: objects of this kind .*extra integer"),
        ("ALTER TABLE item ADD CHECK (id > 0)", r"2\.sql: table constraint item_id_check on public\.item: objects of this kind"),
        ("CREATE POLICY p ON item", r"2\.sql: policy p on public\.item: objects of this kind"),
        ("UPDATE item SET name = 'x'", r"2\.sql:1: UPDATE changes rows"),
        ("SELECT 1", r"2\.sql: it defines no function"),
        ("CREATE MATERIALIZED VIEW item AS SELECT 1 AS a", r"2\.sql: there is another object .* public\.item"),
    ],
)  # fmt: skip
def test_a_failure_points_at_its_place_and_leaves_nothing(untouched: Database, script: str, message: str) -> None:
    before, rows = catalog(untouched), untouched.sql("SELECT * FROM item ORDER BY id")
    for check in (True, False):
        with pytest.raises((SqlError, OptionError), match=message):
            install(untouched, FUNCTION, script, check=check)
        assert catalog(untouched) == before
    assert untouched.sql("SELECT * FROM item ORDER BY id") == rows


def test_changes_of_others_meanwhile_are_not_taken_for_ours(items: Database) -> None:
    """Another session creates and replaces functions all the time, committing and rolling back."""
    install(items, FUNCTION)
    stop = threading.Event()

    def disturb() -> None:
        connection = items.connect()
        connection.autocommit = False
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("CREATE OR REPLACE FUNCTION public.other() RETURNS int LANGUAGE sql AS 'SELECT 1'")
                connection.commit()
                cursor.execute("SAVEPOINT s; COMMENT ON TABLE item IS 'x'; ROLLBACK TO SAVEPOINT s")
                connection.commit()
        connection.close()

    other = threading.Thread(target=disturb)
    other.start()
    try:
        for _round in range(30):
            assert results(install(items, FUNCTION)) == [("public.twice(n integer)", "keep")]
    finally:
        stop.set()
        other.join()


def test_two_installations_at_once(items: Database) -> None:
    """One creates everything, the other waits and finds everything there."""
    found: list[set[str]] = []
    start = threading.Barrier(2)

    def run() -> None:
        start.wait()
        found.append({one["operation"] for one in install(items, FUNCTION, VIEW)["actions"]})

    threads = [threading.Thread(target=run) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [{"create"}, {"keep"}]


def test_a_script_that_changes_rows_is_refused_with_the_table(items: Database) -> None:
    for script in ("INSERT INTO item VALUES (77)", "DO $$ BEGIN DELETE FROM item WHERE id = 1; END $$"):
        with pytest.raises(OptionError, match=r"1\.sql:(5: INSERT changes rows| it changes rows of public\.item)"):
            install(items, FUNCTION + script)
    assert items.value("SELECT count(*) FROM item") == 9


def test_ten_statements_of_which_the_seventh_fails(items: Database) -> None:
    good = [f"CREATE OR REPLACE FUNCTION public.f{n}() RETURNS int\nLANGUAGE sql AS 'SELECT {n}'" for n in range(10)]
    for bad in ("GRANT SELECT ON public.missing TO PUBLIC", "COMMENT ON FUNCTION public.missing() IS ';'",
                "DO $$ BEGIN RAISE 'no'; END $$"):  # fmt: skip
        script = ";\n".join([*good[:6], bad, *good[7:]])
        before = catalog(items)
        for check in (True, False):
            with pytest.raises(SqlError, match=r"2\.sql:13: "):
                install(items, FUNCTION, script, check=check)
        assert catalog(items) == before


def test_another_installation_is_waited_for_and_then_given_up(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "OTHERS_WORK", 0.3)
    holder = items.connect()
    with holder.cursor() as cursor:
        cursor.execute(_objects.LOCK)
        assert contended(install(items, FUNCTION), "another installation") == [("1.sql", "install")]
        cursor.execute(
            "SELECT pg_advisory_unlock_all()"
        )  # a server notices some time later that a connection is closed
    holder.close()
    assert install(items, FUNCTION)["changed"]


def test_where_the_server_does_not_count(items: Database) -> None:
    """Then all catalogs are looked at, and rows are known by the locks that they take."""
    items.sql(f'ALTER DATABASE "{items.name}" SET track_counts = off')
    exact(items, FUNCTION, VIEW, "COMMENT ON TABLE public.item IS 'x'; REVOKE ALL ON public.item FROM PUBLIC")
    assert exact(items, "DROP FUNCTION IF EXISTS public.twice(int)") == [("public.twice(n integer)", "drop")]
    for script, reason in (
        ("DELETE FROM public.item WHERE id = 3", r"may change rows of public\.item.*track_counts"),
        ("CREATE ROLE made_in_a_script", "pg_authid"),
        ("TRUNCATE public.item", r"empties or rewrites public\.item"),
        ("ALTER TABLE public.item FORCE ROW LEVEL SECURITY", r"table public\.item"),
    ):
        before = catalog(items)
        for check in (True, False):
            with pytest.raises(OptionError, match=reason):
                install(items, f"DO $$ BEGIN {script}; END $$", check=check)
        assert catalog(items) == before
    assert items.value("SELECT count(*) FROM item") == 9
