# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The tables of the history: how they are made, and whether those that are there are ours.

Whoever owns a table, its schema, or anything on it that runs by itself (a trigger, a rule, a default, the check of a domain)
has that run with the rights of whoever writes to it. A history is used only where all of that belongs to the present role,
to a role that it is a member of, or to a superuser, and is as it was made here.
"""

from __future__ import annotations

from typing import Any

from .._postgres.names import display, quote
from .._postgres.server import Server

SCHEMA = "maintenance"
VERSION = 5

# Without IF NOT EXISTS: a schema that somebody has made meanwhile is not ours.
NEW_SCHEMA = "CREATE SCHEMA maintenance;"

# One statement per version; entry n brings version n to n + 1. Run as one string, so each is one transaction. A table that
# an upgrade adds gets the owner and the privileges of those that are there.
UPGRADES: tuple[str, ...] = (
    """
CREATE TABLE maintenance.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan text NOT NULL,
    status text,
    message text,
    role text NOT NULL DEFAULT current_user,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    backend_pid integer NOT NULL DEFAULT pg_backend_pid(),
    backend_start timestamptz NOT NULL,
    steps jsonb NOT NULL,
    totals jsonb
);
CREATE INDEX run_open ON maintenance.run (id) WHERE finished_at IS NULL;
CREATE INDEX run_started_at ON maintenance.run (started_at);
CREATE TABLE maintenance.action (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES maintenance.run ON DELETE CASCADE,
    step integer NOT NULL,
    operation text NOT NULL,
    target text NOT NULL,
    outcome text,
    reason text NOT NULL,
    statements text[] NOT NULL,
    numbers jsonb NOT NULL,
    measured jsonb,
    row_count bigint,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX action_run_id ON maintenance.action (run_id);
CREATE TABLE maintenance.state (
    operation text NOT NULL,
    target text NOT NULL,
    value jsonb NOT NULL,
    seconds double precision,
    deferred boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation, target)
);
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 1';
COMMENT ON COLUMN maintenance.run.status IS 'ok, partial, failed, abandoned; NULL while the run is under way';
COMMENT ON COLUMN maintenance.action.numbers IS 'what decided';
COMMENT ON COLUMN maintenance.action.measured IS 'what was measured afterwards';
COMMENT ON TABLE maintenance.state IS 'what the next run must know: fingerprint, duration in seconds, whether it was deferred';
""",
    """
CREATE TABLE maintenance.finding (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES maintenance.run ON DELETE CASCADE,
    step integer NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    value jsonb,
    threshold jsonb,
    evidence jsonb NOT NULL,
    advice text NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX finding_run_id ON maintenance.finding (run_id);
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 2';
DO $do$
DECLARE
    owner text; privilege text; grantee text;
BEGIN
    SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class WHERE oid = 'maintenance.action'::regclass;
    IF owner <> current_user THEN
        EXECUTE format('ALTER TABLE maintenance.finding OWNER TO %I', owner);
    END IF;
    FOR privilege, grantee IN
        SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = 'maintenance.action'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON maintenance.finding TO %s', privilege, grantee);
    END LOOP;
END $do$;
COMMENT ON TABLE maintenance.finding IS 'what was measured and is worth knowing';
COMMENT ON COLUMN maintenance.finding.level IS 'info, warning, critical';
""",
    """
ALTER TABLE maintenance.state ADD COLUMN size bigint, ADD COLUMN deferred_since timestamptz,
    ADD COLUMN deferrals integer NOT NULL DEFAULT 0, ADD COLUMN cut_off integer NOT NULL DEFAULT 0;
UPDATE maintenance.state SET deferred_since = updated_at, deferrals = 1 WHERE deferred;
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 3';
COMMENT ON COLUMN maintenance.state.seconds IS 'how long the action took, or was at work until the budget ended';
COMMENT ON COLUMN maintenance.state.size IS 'bytes of the target then';
COMMENT ON COLUMN maintenance.state.deferred_since IS 'since when it has waited for a run that has time for it';
COMMENT ON COLUMN maintenance.state.deferrals IS 'how many runs in a row have put it off before it began';
COMMENT ON COLUMN maintenance.state.cut_off IS 'how many times in a row the budget ended while it ran';
""",
    """
ALTER TABLE maintenance.run ADD COLUMN schedule jsonb, ADD COLUMN retries integer NOT NULL DEFAULT 0;
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 4';
COMMENT ON COLUMN maintenance.run.schedule IS 'when the plan is due, as it says it: every or at; NULL where it does not';
COMMENT ON COLUMN maintenance.run.retries IS 'attempts after the first ones: to connect, and at what waited for a lock in vain';
""",
    """
ALTER TABLE maintenance.run ADD COLUMN budget double precision, ADD COLUMN host text, ADD COLUMN collection text,
    ADD COLUMN server_version text;
CREATE TABLE maintenance.sample (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES maintenance.run ON DELETE CASCADE,
    relation text NOT NULL,
    bytes bigint NOT NULL,
    index_bytes bigint,
    live_rows bigint,
    dead_rows bigint,
    freeze_age bigint,
    sampled_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sample_run_id ON maintenance.sample (run_id);
CREATE INDEX sample_sampled_at ON maintenance.sample (sampled_at);
CREATE TABLE maintenance.counter (
    operation text NOT NULL,
    outcome text NOT NULL,
    actions bigint NOT NULL DEFAULT 0,
    row_count bigint NOT NULL DEFAULT 0,
    reclaimed_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (operation, outcome)
);
INSERT INTO maintenance.counter
SELECT operation, outcome, sum(CASE WHEN target ~ '^[0-9]{1,9} more$' THEN split_part(target, ' ', 1)::bigint ELSE 1 END),
       least(coalesce(sum(row_count) FILTER (WHERE operation = 'purge'), 0), 9223372036854775807 / 2),
       coalesce(sum(CASE WHEN measured ->> 'won_bytes' ~ '^[0-9]{1,16}$' THEN (measured ->> 'won_bytes')::bigint END), 0)
FROM maintenance.action WHERE outcome IS NOT NULL GROUP BY operation, outcome;
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 5';
DO $do$
DECLARE
    owner text; privilege text; grantee text; made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['sample', 'counter'] LOOP
        SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class WHERE oid = 'maintenance.action'::regclass;
        IF owner <> current_user THEN
            EXECUTE format('ALTER TABLE maintenance.%I OWNER TO %I', made, owner);
        END IF;
        FOR privilege, grantee IN
            SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = 'maintenance.action'::regclass AND a.grantee <> c.relowner
        LOOP
            EXECUTE format('GRANT %s ON maintenance.%I TO %s', privilege, made, grantee);
        END LOOP;
    END LOOP;
END $do$;
COMMENT ON COLUMN maintenance.run.budget IS 'seconds that it might take; NULL where nobody has said it';
COMMENT ON COLUMN maintenance.run.host IS 'what it was executed by: a machine, or the address of a run of a workflow';
COMMENT ON COLUMN maintenance.run.collection IS 'version of vtchat.maintenance';
COMMENT ON TABLE maintenance.sample IS 'how large the database (relation is empty) and its largest tables were';
COMMENT ON COLUMN maintenance.sample.bytes IS 'all files of the database; of a table, without its indexes, by its relpages';
COMMENT ON COLUMN maintenance.sample.freeze_age IS 'age of the oldest transaction ID';
COMMENT ON TABLE maintenance.counter IS 'what all runs together have done; never pruned';
COMMENT ON COLUMN maintenance.counter.actions IS 'targets';
COMMENT ON COLUMN maintenance.counter.row_count IS 'rows purged';
""",
)

# The tables that there are from each version on.
TABLES = {1: ("run", "action", "state"), 2: ("finding",), 5: ("sample", "counter")}

# What is on the tables. A membership counts as it stands in the catalog: a superuser is not a member of everybody here.
FOUND = """
WITH RECURSIVE mine (oid) AS (
    SELECT oid FROM pg_roles WHERE rolname = current_user
    UNION SELECT m.roleid FROM mine JOIN pg_auth_members AS m ON m.member = mine.oid
), trusted (oid) AS (SELECT oid FROM mine UNION SELECT oid FROM pg_roles WHERE rolsuper),
space AS (SELECT oid, nspowner FROM pg_namespace WHERE nspname = 'maintenance'),
ours AS (SELECT c.* FROM pg_class AS c JOIN space ON c.relnamespace = space.oid
         AND c.relname IN ('run', 'action', 'state', 'finding', 'sample', 'counter')),
part (name, kind, text) AS (
    SELECT c.relname::text, 'column', concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
           'identity ' || nullif(a.attidentity::text, ''),
           'generated ' || nullif(a.attgenerated::text, ''))
    FROM ours AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT c.relname, 'constraint', pg_get_constraintdef(k.oid)
    FROM ours AS c JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype NOT IN ('n', 't')
    UNION ALL
    SELECT c.relname, 'trigger', g.tgname FROM ours AS c JOIN pg_trigger AS g ON g.tgrelid = c.oid
    WHERE NOT g.tgisinternal OR g.tgconstrrelid NOT IN (SELECT oid FROM ours)
    UNION ALL
    SELECT c.relname, 'rule', r.rulename FROM ours AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid
    UNION ALL
    SELECT c.relname, 'policy', y.polname FROM ours AS c JOIN pg_policy AS y ON y.polrelid = c.oid
    UNION ALL
    SELECT c.relname, 'index', pg_get_indexdef(i.indexrelid) FROM ours AS c JOIN pg_index AS i ON i.indrelid = c.oid
    WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR 16384 <= ANY (i.indclass::oid[])
    UNION ALL
    SELECT c.relname, 'inheritance', h.inhrelid::regclass::text
    FROM ours AS c JOIN pg_inherits AS h ON c.oid IN (h.inhrelid, h.inhparent)
    UNION ALL
    SELECT c.relname, 'kind', concat(c.relkind, c.relpersistence, CASE WHEN c.relrowsecurity THEN ' row security' END)
    FROM ours AS c WHERE c.relkind <> 'r' OR c.relpersistence <> 'p' OR c.relrowsecurity
)
SELECT jsonb_build_object(
    'schema_owner', (SELECT pg_get_userbyid(nspowner) FROM space WHERE nspowner NOT IN (SELECT oid FROM trusted)),
    'owners', (SELECT jsonb_object_agg(relname, pg_get_userbyid(relowner)) FROM ours
               WHERE relowner NOT IN (SELECT oid FROM trusted)),
    'parts', (SELECT jsonb_agg(jsonb_build_array(name, kind, text)) FROM part))
"""

# What there was on each table when it was made, as FOUND says it.
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("column", "id bigint NOT NULL identity a"),
        ("column", "plan text NOT NULL"),
        ("column", "status text"),
        ("column", "message text"),
        ("column", "role text NOT NULL DEFAULT CURRENT_USER"),
        ("column", "started_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()"),
        ("column", "finished_at timestamp with time zone"),
        ("column", "backend_pid integer NOT NULL DEFAULT pg_backend_pid()"),
        ("column", "backend_start timestamp with time zone NOT NULL"),
        ("column", "steps jsonb NOT NULL"),
        ("column", "totals jsonb"),
        ("constraint", "PRIMARY KEY (id)"),
        ("index", "CREATE INDEX run_open ON maintenance.run USING btree (id) WHERE (finished_at IS NULL)"),
    ),
    "action": (
        ("column", "id bigint NOT NULL identity a"),
        ("column", "run_id bigint NOT NULL"),
        ("column", "step integer NOT NULL"),
        ("column", "operation text NOT NULL"),
        ("column", "target text NOT NULL"),
        ("column", "outcome text"),
        ("column", "reason text NOT NULL"),
        ("column", "statements text[] NOT NULL"),
        ("column", "numbers jsonb NOT NULL"),
        ("column", "measured jsonb"),
        ("column", "row_count bigint"),
        ("column", "started_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()"),
        ("column", "finished_at timestamp with time zone"),
        ("constraint", "PRIMARY KEY (id)"),
        ("constraint", "FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE"),
    ),
    "state": (
        ("column", "operation text NOT NULL"),
        ("column", "target text NOT NULL"),
        ("column", "value jsonb NOT NULL"),
        ("column", "seconds double precision"),
        ("column", "deferred boolean NOT NULL DEFAULT false"),
        ("column", "updated_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()"),
        ("constraint", "PRIMARY KEY (operation, target)"),
    ),
    "finding": (
        ("column", "id bigint NOT NULL identity a"),
        ("column", "run_id bigint NOT NULL"),
        ("column", "step integer NOT NULL"),
        ("column", "name text NOT NULL"),
        ("column", "subject text NOT NULL"),
        ("column", "level text NOT NULL"),
        ("column", "message text NOT NULL"),
        ("column", "value jsonb"),
        ("column", "threshold jsonb"),
        ("column", "evidence jsonb NOT NULL"),
        ("column", "advice text NOT NULL"),
        ("column", "found_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()"),
        ("constraint", "PRIMARY KEY (id)"),
        ("constraint", "FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE"),
    ),
    "sample": (
        ("column", "id bigint NOT NULL identity a"),
        ("column", "run_id bigint NOT NULL"),
        ("column", "relation text NOT NULL"),
        ("column", "bytes bigint NOT NULL"),
        ("column", "index_bytes bigint"),
        ("column", "live_rows bigint"),
        ("column", "dead_rows bigint"),
        ("column", "freeze_age bigint"),
        ("column", "sampled_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()"),
        ("constraint", "PRIMARY KEY (id)"),
        ("constraint", "FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE"),
    ),
    "counter": (
        ("column", "operation text NOT NULL"),
        ("column", "outcome text NOT NULL"),
        ("column", "actions bigint NOT NULL DEFAULT 0"),
        ("column", "row_count bigint NOT NULL DEFAULT 0"),
        ("column", "reclaimed_bytes bigint NOT NULL DEFAULT 0"),
        ("constraint", "PRIMARY KEY (operation, outcome)"),
    ),
}


# The columns that later versions have added to tables of earlier ones.
ADDED: dict[int, dict[str, tuple[tuple[str, str], ...]]] = {
    3: {
        "state": (
            ("column", "size bigint"),
            ("column", "deferred_since timestamp with time zone"),
            ("column", "deferrals integer NOT NULL DEFAULT 0"),
            ("column", "cut_off integer NOT NULL DEFAULT 0"),
        ),
    },
    4: {"run": (("column", "schedule jsonb"), ("column", "retries integer NOT NULL DEFAULT 0"))},
    5: {
        "run": (
            ("column", "budget double precision"),
            ("column", "host text"),
            ("column", "collection text"),
            ("column", "server_version text"),
        ),
    },
}


def tables(version: int) -> list[str]:
    """The tables of a version."""
    return [table for since, added in TABLES.items() if since <= version for table in added]


def parts(version: int) -> set[tuple[str, str, str]]:
    """What there is on the tables of a version, as FOUND says it."""
    made = {(table, kind, text) for table in tables(version) for kind, text in PARTS[table]}
    later = [added for since, added in ADDED.items() if since <= version]
    return made | {(table, kind, text) for added in later for table, texts in added.items() for kind, text in texts}


def strangers(found: dict[str, Any], server: Server) -> str:
    """Who owns the history that is there, if that is nobody whose code we may run; "" if we may."""
    user = quote(server.user)
    owners = {f"table {display(SCHEMA, table)}": owner for table, owner in (found["owners"] or {}).items()}
    if found["schema_owner"]:
        owners = {f"schema {SCHEMA}": found["schema_owner"], **owners}
    if not owners:
        return ""
    what, owner = next(iter(owners.items()))
    kind, _space, name = what.partition(" ")
    return (
        f"{what} belongs to {quote(owner)}, whose code would run with the rights of {user}, since {user} is no member of "
        f"{quote(owner)}: set role: {owner} if its history is meant, or ALTER {kind.upper()} {name} OWNER TO {user} after a "
        "look at what is in it"
    )


def differences(found: dict[str, Any], version: int) -> str:
    """What is not as it was made in this version, "" if all is."""
    there = {(name, kind, text) for name, kind, text in found["parts"] or []}
    made = parts(version)
    more, less = sorted(there - made), sorted(made - there)
    if not more and not less:
        return ""
    (name, kind, text), verb = (more[0], "has") if more else (less[0], "lacks")
    return (
        f"table {display(SCHEMA, name)} is not as this collection made it: it {verb} the {kind} {text}. Undo that, or "
        f"DROP SCHEMA {SCHEMA} CASCADE to begin anew"
    )
