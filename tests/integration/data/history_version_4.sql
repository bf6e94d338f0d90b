-- The schema of the history as a run of version 4 left it: pg_dump after two runs, the second of which died before its end.
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
    totals jsonb,
    schedule jsonb,
    retries integer DEFAULT 0 NOT NULL
);
COMMENT ON TABLE maintenance.run IS 'vtchat.maintenance history, version 4';
COMMENT ON COLUMN maintenance.run.schedule IS 'when the plan is due, as it says it: every or at; NULL where it does not';
COMMENT ON COLUMN maintenance.run.retries IS 'attempts after the first ones: to connect, and at what waited for a lock in vain';
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
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    size bigint,
    deferred_since timestamp with time zone,
    deferrals integer DEFAULT 0 NOT NULL,
    cut_off integer DEFAULT 0 NOT NULL
);
COMMENT ON TABLE maintenance.state IS 'what the next run must know: fingerprint, duration in seconds, whether it was deferred';
COMMENT ON COLUMN maintenance.state.seconds IS 'how long the action took, or was at work until the budget ended';
COMMENT ON COLUMN maintenance.state.size IS 'bytes of the target then';
COMMENT ON COLUMN maintenance.state.deferred_since IS 'since when it has waited for a run that has time for it';
COMMENT ON COLUMN maintenance.state.deferrals IS 'how many runs in a row have put it off before it began';
COMMENT ON COLUMN maintenance.state.cut_off IS 'how many times in a row the budget ended while it ran';
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'purge', 'public.t', 'done', 'at is before the cut-off', '{"WITH picked AS MATERIALIZED ( SELECT tableoid AS part, ctid AS place, \"at\" AS value FROM \"public\".\"t\" WHERE \"at\" OPERATOR(pg_catalog.<=) ''2026-11-26T03:00:12.213340+00:00''::pg_catalog.timestamptz AND true ORDER BY \"public\".\"t\".\"at\" LIMIT 1000 FOR UPDATE SKIP LOCKED ), gone AS ( DELETE FROM \"public\".\"t\" WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT place FROM picked)) AND \"at\" OPERATOR(pg_catalog.<=) ''2026-11-26T03:00:12.213340+00:00''::pg_catalog.timestamptz RETURNING 1 ) SELECT (SELECT pg_catalog.count(*) FROM picked) AS picked, (SELECT pg_catalog.count(*) FROM gone) AS gone, (SELECT pg_catalog.max(value)::pg_catalog.text FROM picked) AS last"}', '{"cutoff": "2026-11-26T03:00:12.213340+00:00"}', '{"rows": 5, "batches": 2}', 5, '2026-11-26 03:00:12.215407+00', '2026-11-26 03:00:12.219441+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (2, 1, 2, 'refresh', 'public.v', 'done', 'no earlier refresh is known; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', '{"method": "plain", "seconds": 0.001, "inserted": 1, "bytes_after": 16384, "bytes_before": 8192}', 1, '2026-11-26 03:00:12.231589+00', '2026-11-26 03:00:12.248229+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (3, 1, 3, 'analyze', 'public.t', 'done', 'never analyzed', '{"ANALYZE (SKIP_LOCKED) \"public\".\"t\""}', '{"rows": null, "modified": 10, "threshold": 1}', '{}', NULL, '2026-11-26 03:00:12.252557+00', '2026-11-26 03:00:12.25696+00');
INSERT INTO maintenance.action OVERRIDING SYSTEM VALUE VALUES (4, 2, 2, 'refresh', 'public.v', NULL, 'public.t has changed (1 411 rows inserted) since the last refresh; plain, which blocks readers: no unique index on plain columns', '{"REFRESH MATERIALIZED VIEW public.v"}', '{"method": "plain"}', NULL, NULL, '2026-11-26 03:00:12.305802+00', NULL);
INSERT INTO maintenance.finding OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'size', 'public.t', 'info', 'it is small', NULL, NULL, '{}', '', '2026-11-26 03:00:12.266149+00');
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (1, 'hourly', 'ok', 'hourly: 3 done', 'postgres', '2026-11-26 03:00:12.207421+00', '2026-11-26 03:00:12.257811+00', 11851, '2026-11-26 03:00:12.183714+00', '[{"purge": {"table": "t", "where": null, "column": "at", "cascade": false, "batch_ms": 250, "max_rows": null, "timezone": null, "older_than": "0", "require_index": true}}, {"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}, {"analyze": {"jobs": 1, "tables": ["t"], "exclude": null, "include": null, "max_size": null, "min_size": null, "overrides": null, "threshold": 50, "scale_factor": 0.1}}]', '{"done": 3}', '{"every": "1h"}', 0);
INSERT INTO maintenance.run OVERRIDING SYSTEM VALUE VALUES (2, 'hourly', NULL, NULL, 'postgres', '2026-11-26 03:00:12.28897+00', NULL, 11857, '2026-11-26 03:00:12.273382+00', '[{"analyze": {"jobs": 1, "tables": ["t"], "exclude": null, "include": null, "max_size": null, "min_size": null, "overrides": null, "threshold": 50, "scale_factor": 0.1}}, {"refresh": {"view": "v", "force": false, "views": null, "max_age": 86400, "concurrently": "auto"}}]', NULL, '{"every": "1h"}', 0);
INSERT INTO maintenance.state VALUES ('purge', 'public.t', '{}', 0.0029871450024074875, false, '2026-11-26 03:00:12.219472+00', NULL, NULL, 0, 0);
INSERT INTO maintenance.state VALUES ('refresh', 'public.v', '{"open": [], "doubt": "", "format": 2, "read_at": 1795662012.232135, "seconds": 0.001, "contents": [16450, 2, 0], "fingerprint": {"view": 16391, "since": {"began": ["1795662012.083835", "1795662011.599174", "", ""], "loaded": "1795662012.076263", "settings": ["", 0, 0, 0]}, "database": 16384, "relations": [[16385, "-6752876513345566596", 16385, 5, 0, 5]], "definition": "2f881f40e5ec86589e32321435391769"}}', 0.01590817199758021, false, '2026-11-26 03:00:12.248267+00', NULL, NULL, 0, 0);
INSERT INTO maintenance.state VALUES ('analyze', 'public.t', '{}', 90, false, '2026-11-26 03:00:12.256987+00', 16384, NULL, 0, 0);
SELECT pg_catalog.setval('maintenance.action_id_seq', 4, true);
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
