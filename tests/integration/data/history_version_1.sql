-- The schema of the history as a run of version 1 left it: pg_dump after two runs, the second of which died before its end.
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
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 1';
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
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'purge', 'public.t', 'done', 'at is before the cut-off', '{"WITH picked AS MATERIALIZED ( SELECT tableoid AS part, ctid AS place, \"at\" AS value FROM \"public\".\"t\" WHERE \"at\" OPERATOR(pg_catalog.<=) ''2026-11-25T21:22:45.277277+00:00''::pg_catalog.timestamptz AND true ORDER BY \"public\".\"t\".\"at\" LIMIT 1000 FOR UPDATE SKIP LOCKED ), gone AS ( DELETE FROM \"public\".\"t\" WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked)) AND \"at\" OPERATOR(pg_catalog.<=) ''2026-11-25T21:22:45.277277+00:00''::pg_catalog.timestamptz RETURNING 1 ) SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last"}', '{"cutoff": "2026-11-25T21:22:45.277277+00:00"}', '{"rows": 5, "batches": 2}', 5, '2026-11-25 21:22:45.278942+00', '2026-11-25 21:22:45.281988+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (2, 1, 2, 'refresh', 'public.v', 'done', 'no earlier refresh is known; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', '{"method": "plain", "seconds": 0.002, "inserted": 1, "bytes_after": 16384, "bytes_before": 16384}', 1, '2026-11-25 21:22:45.291768+00', '2026-11-25 21:22:45.30796+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (3, 1, 3, 'analyze', 'public.t', 'done', 'never analyzed', '{"ANALYZE (SKIP_LOCKED) \"public\".\"t\""}', '{"rows": null, "modified": 5, "threshold": 1}', '{}', NULL, '2026-11-25 21:22:45.311797+00', '2026-11-25 21:22:45.31561+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (4, 2, 2, 'refresh', 'public.v', 'done', 'public.t has changed (5 rows inserted) since the last refresh; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', '{"method": "plain", "seconds": 0.002, "inserted": 1, "bytes_after": 16384, "bytes_before": 16384}', 1, '2026-11-25 21:22:56.86014+00', '2026-11-25 21:22:56.883413+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (5, 2, 3, 'analyze', 'public.t', 'done', '5 rows changed since the last analyze (threshold 1)', '{"ANALYZE (SKIP_LOCKED) \"public\".\"t\""}', '{"rows": 0, "modified": 5, "threshold": 1}', '{}', NULL, '2026-11-25 21:22:56.889252+00', '2026-11-25 21:22:56.894005+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (6, 2, 1, 'purge', 'public.t', 'unchanged', 'no row of at is before the cut-off', '{}', '{"cutoff": "2026-11-25T21:22:45.337353+00:00"}', NULL, NULL, '2026-11-25 21:22:56.8998+00', '2026-11-25 21:22:56.8998+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (7, 2, 4, 'purge', 'nothing', 'failed', 'there is no table nothing in the search_path of database test_43560325143f', '{}', '{}', NULL, NULL, '2026-11-25 21:22:56.8998+00', '2026-11-25 21:22:56.8998+00');
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (1, 'hourly', 'ok', 'hourly: 3 done', 'postgres', '2026-11-25 21:22:45.271734+00', '2026-11-25 21:22:45.316215+00', 13645, '2026-11-25 21:22:45.247643+00', '[{"purge": {"table": "t", "where": null, "column": "at", "cascade": false, "batch_ms": 250, "max_rows": null, "timezone": null, "older_than": "0", "require_index": true}}, {"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}, {"analyze": {"tables": ["t"]}}]', '{"done": 3}');
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (2, 'hourly', NULL, 'hourly: 1 unchanged, 2 done, 1 failed. purge nothing: there is no table nothing in the search_path of database test_43560325143f', 'postgres', '2026-11-25 21:22:45.332466+00', NULL, 13648, '2026-11-25 21:22:45.318673+00', '[{"purge": {"table": "t", "where": null, "column": "at", "cascade": false, "batch_ms": 250, "max_rows": null, "timezone": null, "older_than": "0", "require_index": true}}, {"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}, {"analyze": {"tables": ["t"]}}, {"purge": {"table": "nothing", "where": null, "column": "at", "cascade": false, "batch_ms": 250, "max_rows": null, "timezone": null, "older_than": "0", "require_index": true}}]', '{"done": 2, "failed": 1, "unchanged": 1}');
INSERT INTO maintenance.state VALUES ('purge', 'public.t', '{}', 0.001961800999197294, false, '2026-11-25 21:22:45.282018+00');
INSERT INTO maintenance.state VALUES ('refresh', 'public.v', '{"open": [], "doubt": "", "format": 2, "read_at": 1795641776.861459, "seconds": 0.002, "contents": [16465, 3, 0], "fingerprint": {"view": 16393, "since": {"began": ["1795641765.081154", "1795641764.522999", "", ""], "loaded": "1795641765.073268", "settings": ["", 0, 0, 0]}, "database": 16384, "relations": [[16385, "-6752876513345566596", 16385, 5, 0, 5]], "definition": "5fcca8da8ef624ee5072d0155659e5c1"}}', 0.021706309998990037, false, '2026-11-25 21:22:56.883488+00');
INSERT INTO maintenance.state VALUES ('analyze', 'public.t', '{}', 0.0039333240001724334, false, '2026-11-25 21:22:56.89407+00');
SELECT pg_catalog.setval('maintenance.action_id_seq', 7, true);
SELECT pg_catalog.setval('maintenance.run_id_seq', 2, true);
ALTER TABLE ONLY maintenance.action
    ADD CONSTRAINT action_pkey PRIMARY KEY (id);
ALTER TABLE ONLY maintenance.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY maintenance.state
    ADD CONSTRAINT state_pkey PRIMARY KEY (operation, target);
CREATE INDEX action_run_id ON maintenance.action USING btree (run_id);
CREATE INDEX run_open ON maintenance.run USING btree (id) WHERE (finished_at IS NULL);
CREATE INDEX run_started_at ON maintenance.run USING btree (started_at);
ALTER TABLE ONLY maintenance.action
    ADD CONSTRAINT action_run_id_fkey FOREIGN KEY (run_id) REFERENCES maintenance.run(id) ON DELETE CASCADE;
