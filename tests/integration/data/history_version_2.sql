-- The schema of the history as a run of version 2 left it: pg_dump after two runs, the second of which died before its end.
CREATE SCHEMA maintenance;
CREATE TABLE maintenance.action (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    step integer NOT NULL,
    operation text NOT NULL,
    target text NOT NULL,
    outcome text,
    reason text NOT NULL,
    statements text[] NOT NULL,
    numbers jsonb NOT NULL,
    measured jsonb,
    row_count bigint,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone
);
COMMENT ON COLUMN maintenance.action.numbers IS 'what decided';
COMMENT ON COLUMN maintenance.action.measured IS 'what was measured afterwards';
ALTER TABLE maintenance.action ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME maintenance.action_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE maintenance.finding (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    step integer NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    value jsonb,
    threshold jsonb,
    evidence jsonb NOT NULL,
    advice text NOT NULL,
    found_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE maintenance.finding IS 'what was measured and is worth knowing';
COMMENT ON COLUMN maintenance.finding.level IS 'info, warning, critical';
ALTER TABLE maintenance.finding ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME maintenance.finding_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE maintenance.run (
    id bigint NOT NULL,
    plan text NOT NULL,
    status text,
    message text,
    role text DEFAULT CURRENT_USER NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    backend_pid integer DEFAULT pg_backend_pid() NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    steps jsonb NOT NULL,
    totals jsonb
);
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 2';
COMMENT ON COLUMN maintenance.run.status IS 'ok, partial, failed, abandoned; NULL while the run is under way';
ALTER TABLE maintenance.run ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME maintenance.run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE maintenance.state (
    operation text NOT NULL,
    target text NOT NULL,
    value jsonb NOT NULL,
    seconds double precision,
    deferred boolean DEFAULT false NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE maintenance.state IS 'what the next run must know: fingerprint, duration in seconds, whether it was deferred';
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'purge', 'public.t', 'done', 'at is before the cut-off', '{"WITH picked AS MATERIALIZED ( SELECT tableoid AS part, ctid AS place, \"at\" AS value FROM \"public\".\"t\" WHERE \"at\" OPERATOR(pg_catalog.<=) ''2026-11-26T00:11:05.318715+00:00''::pg_catalog.timestamptz AND true ORDER BY \"public\".\"t\".\"at\" LIMIT 1000 FOR UPDATE SKIP LOCKED ), gone AS ( DELETE FROM \"public\".\"t\" WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked)) AND \"at\" OPERATOR(pg_catalog.<=) ''2026-11-26T00:11:05.318715+00:00''::pg_catalog.timestamptz RETURNING 1 ) SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last"}', '{"cutoff": "2026-11-26T00:11:05.318715+00:00"}', '{"rows": 5, "batches": 2}', 5, '2026-11-26 00:11:05.320442+00', '2026-11-26 00:11:05.323246+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (2, 1, 2, 'refresh', 'public.v', 'done', 'no earlier refresh is known; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', '{"method": "plain", "seconds": 0.001, "inserted": 1, "bytes_after": 16384, "bytes_before": 16384}', 1, '2026-11-26 00:11:05.331727+00', '2026-11-26 00:11:05.345389+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (3, 1, 3, 'analyze', 'public.t', 'done', 'never analyzed', '{"ANALYZE (SKIP_LOCKED) \"public\".\"t\""}', '{"rows": null, "modified": 5, "threshold": 1}', '{}', NULL, '2026-11-26 00:11:05.348926+00', '2026-11-26 00:11:05.352315+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (5, 2, 2, 'analyze', 'public.t', 'deferred', '600 s of the budget of 600 s are left, it is expected to take 900 s; it goes first next time', '{}', '{"rows": 0, "modified": 1411, "threshold": 1}', NULL, NULL, '2026-11-26 00:11:05.398247+00', '2026-11-26 00:11:05.398247+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (4, 2, 1, 'refresh', 'public.v', NULL, 'public.t has changed (1 411 rows inserted) since the last refresh; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', NULL, 1, '2026-11-26 00:11:05.381435+00', NULL);
INSERT INTO maintenance.finding OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'size', 'public.t', 'info', 'it is small', NULL, NULL, '{}', '', '2026-11-26 00:11:05.402879+00');
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (1, 'hourly', 'ok', 'hourly: 3 done', 'postgres', '2026-11-26 00:11:05.313614+00', '2026-11-26 00:11:05.35302+00', 26711, '2026-11-26 00:11:05.293496+00', '[{"purge": {"table": "t", "where": null, "column": "at", "cascade": false, "batch_ms": 250, "max_rows": null, "timezone": null, "older_than": "0", "require_index": true}}, {"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}, {"analyze": {"jobs": 1, "tables": ["t"], "exclude": null, "include": null}}]', '{"done": 3}');
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (2, 'hourly', NULL, NULL, 'postgres', '2026-11-26 00:11:05.372558+00', NULL, 26714, '2026-11-26 00:11:05.360756+00', '[{"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}, {"analyze": {"jobs": 1, "tables": ["t"], "exclude": null, "include": null}}]', NULL);
INSERT INTO maintenance.state VALUES ('purge', 'public.t', '{}', 0.0022333689994411543, false, '2026-11-26 00:11:05.323278+00');
INSERT INTO maintenance.state VALUES ('refresh', 'public.v', '{"open": [], "doubt": "", "format": 2, "read_at": 1795651865.382107, "seconds": 0.002, "contents": [16487, 3, 0], "fingerprint": {"view": 16393, "since": {"began": ["1795651865.188172", "1795651864.803565", "", ""], "loaded": "1795651865.180901", "settings": ["", 0, 0, 0]}, "database": 16384, "relations": [[16385, "-6752876513345566596", 16385, 1411, 0, 5]], "definition": "5fcca8da8ef624ee5072d0155659e5c1"}}', 0.012720424001599895, false, '2026-11-26 00:11:05.394788+00');
INSERT INTO maintenance.state VALUES ('analyze', 'public.t', '{}', 810, true, '2026-11-26 00:11:05.398777+00');
SELECT pg_catalog.setval('maintenance.action_id_seq', 5, true);
SELECT pg_catalog.setval('maintenance.finding_id_seq', 1, true);
SELECT pg_catalog.setval('maintenance.run_id_seq', 2, true);
ALTER TABLE ONLY maintenance.action
    ADD CONSTRAINT action_pkey PRIMARY KEY (id);
ALTER TABLE ONLY maintenance.finding
    ADD CONSTRAINT finding_pkey PRIMARY KEY (id);
ALTER TABLE ONLY maintenance.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY maintenance.state
    ADD CONSTRAINT state_pkey PRIMARY KEY (operation, target);
CREATE INDEX action_run_id ON maintenance.action USING btree (run_id);
CREATE INDEX finding_run_id ON maintenance.finding USING btree (run_id);
CREATE INDEX run_open ON maintenance.run USING btree (id) WHERE (finished_at IS NULL);
CREATE INDEX run_started_at ON maintenance.run USING btree (started_at);
ALTER TABLE ONLY maintenance.action
    ADD CONSTRAINT action_run_id_fkey FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE;
ALTER TABLE ONLY maintenance.finding
    ADD CONSTRAINT finding_run_id_fkey FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE;
