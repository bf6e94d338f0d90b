# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of frameworks for which docs/retention.md has steps: the columns and indexes that their schemas have, and rows.

Each row has a name that begins with ``gone`` or ``kept``: what is to become of it.
"""

from __future__ import annotations

from dataclasses import dataclass

# now(), so many days ago; as Unix time in seconds and in milliseconds; in UTC.
HELPERS = """
CREATE FUNCTION ago(days float8) RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() - days * interval '1 day' $$;
CREATE FUNCTION utc(days float8) RETURNS timestamp LANGUAGE sql AS $$ SELECT ago(days) AT TIME ZONE 'UTC' $$;
CREATE FUNCTION s(days float8) RETURNS int LANGUAGE sql AS $$ SELECT extract(epoch FROM ago(days))::int $$;
CREATE FUNCTION ms(days float8) RETURNS bigint LANGUAGE sql AS $$ SELECT (extract(epoch FROM ago(days)) * 1000)::bigint $$;
CREATE FUNCTION v7(days float8) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex(ms(days)), 12, '0') || '7abc8' || substr(md5(random()::text), 1, 15))::uuid $$;
CREATE FUNCTION tag(word text) RETURNS uuid LANGUAGE sql AS $$ SELECT md5(word)::uuid $$;
"""


@dataclass(frozen=True)
class Preset:
    """A heading of the page: its tables with rows, and by table the column that names the rows."""

    schema: str
    names: dict[str, str]


PRESETS = {
    "connect-pg-simple (Express)": Preset(
        """
CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL);
CREATE INDEX ON session (expire);
INSERT INTO session VALUES ('gone', '{}', utc(0.01)), ('kept', '{}', utc(-0.01));
""",
        {"session": "sid"},
    ),
    "Django": Preset(
        """
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL);
CREATE INDEX ON django_session (expire_date);
INSERT INTO django_session VALUES ('gone', '', ago(0.01)), ('kept', '', ago(-0.01));
""",
        {"django_session": "session_key"},
    ),
    "Rails (activerecord-session_store)": Preset(
        """
CREATE TABLE sessions (id bigserial PRIMARY KEY, session_id varchar NOT NULL UNIQUE, data text,
                       created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE INDEX ON sessions (updated_at);
INSERT INTO sessions (session_id, created_at, updated_at) VALUES ('gone', utc(90), utc(31)), ('kept', utc(90), utc(29));
""",
        {"sessions": "session_id"},
    ),
    "Laravel": Preset(
        """
CREATE TABLE sessions (id varchar(255) PRIMARY KEY, user_id bigint, ip_address varchar(45), user_agent text,
                       payload text NOT NULL, last_activity int NOT NULL);
CREATE INDEX ON sessions (user_id); CREATE INDEX ON sessions (last_activity);
INSERT INTO sessions (id, payload, last_activity) VALUES ('gone', '', s(1.1)), ('kept', '', s(0.9)), ('kept 0', '', 0);
""",
        {"sessions": "id"},
    ),
    "Better Auth": Preset(
        """
CREATE TABLE "user" (id text PRIMARY KEY);
CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
                      "userId" text NOT NULL REFERENCES "user" ON DELETE CASCADE);
CREATE TABLE verification (id text PRIMARY KEY, identifier text NOT NULL, value text NOT NULL, "expiresAt" timestamptz NOT NULL);
INSERT INTO "user" VALUES ('kept');
INSERT INTO session VALUES ('gone', ago(0.1), 'a', 'kept'), ('kept', ago(-0.1), 'b', 'kept');
INSERT INTO verification VALUES ('gone', 'a', 'a', ago(0.1)), ('kept', 'a', 'a', ago(-0.1));
""",
        {"session": "id", "verification": "id", "user": "id"},
    ),
    "Auth.js (pg adapter)": Preset(
        """
CREATE TABLE users (id serial PRIMARY KEY, name varchar(255));
CREATE TABLE sessions (id serial PRIMARY KEY, "userId" int NOT NULL, expires timestamptz NOT NULL,
                       "sessionToken" varchar(255) NOT NULL);
CREATE TABLE verification_token (identifier text, expires timestamptz NOT NULL, token text, PRIMARY KEY (identifier, token));
INSERT INTO sessions ("userId", expires, "sessionToken") VALUES (1, ago(0.1), 'gone'), (1, ago(-0.1), 'kept');
INSERT INTO verification_token VALUES ('gone', ago(0.1), 'a'), ('kept', ago(-0.1), 'a');
""",
        {"sessions": '"sessionToken"', "verification_token": "identifier"},
    ),
    "Lucia": Preset(
        """
CREATE TABLE app_user (id serial PRIMARY KEY, username text);
CREATE TABLE user_session (id text PRIMARY KEY, user_id int REFERENCES app_user, expires_at timestamptz NOT NULL,
                           active_expires bigint NOT NULL, idle_expires bigint NOT NULL);
INSERT INTO user_session VALUES ('gone', NULL, ago(0.1), ms(1), ms(-1)), ('gone of version 2', NULL, ago(-0.1), ms(1), ms(0.1)),
                                ('kept', NULL, ago(-0.1), ms(1), ms(-0.1));
""",
        {"user_session": "id"},
    ),
    "Keycloak": Preset(
        """
CREATE TABLE event_entity (id varchar(36) PRIMARY KEY, realm_id varchar(255), event_time bigint, type varchar(255));
CREATE INDEX ON event_entity (realm_id, event_time);
CREATE TABLE admin_event_entity (id varchar(36) PRIMARY KEY, realm_id varchar(255), admin_event_time bigint);
CREATE INDEX ON admin_event_entity (realm_id, admin_event_time);
CREATE TABLE offline_user_session (
    user_session_id varchar(36), user_id varchar(255) NOT NULL, realm_id varchar(36) NOT NULL, created_on int NOT NULL,
    offline_flag varchar(4), data text, last_session_refresh int NOT NULL DEFAULT 0,
    PRIMARY KEY (user_session_id, offline_flag));
CREATE INDEX ON offline_user_session (realm_id, offline_flag, last_session_refresh);
CREATE TABLE offline_client_session (
    user_session_id varchar(36), client_id varchar(255), offline_flag varchar(4), "timestamp" int, data text,
    client_storage_provider varchar(36) DEFAULT 'local', external_client_id varchar(255) DEFAULT 'local',
    PRIMARY KEY (user_session_id, client_id, client_storage_provider, external_client_id, offline_flag));
INSERT INTO event_entity VALUES ('gone', 'r', ms(91)), ('kept', 'r', ms(89)), ('kept null', 'r', NULL);
INSERT INTO admin_event_entity VALUES ('gone', 'r', ms(366)), ('kept', 'r', ms(364));
INSERT INTO offline_user_session VALUES
    ('gone', 'u', 'r', s(90), '1', '', s(61)), ('kept', 'u', 'r', s(90), '1', '', s(59)),
    ('kept online', 'u', 'r', s(90), '0', '', s(61)), ('kept 0', 'u', 'r', s(90), '1', '', 0);
INSERT INTO offline_client_session VALUES
    ('gone', 'a', '1', s(61)), ('gone', 'b', '1', s(80)), ('kept', 'a', '1', s(80)), ('kept young', 'a', '1', s(59)),
    ('kept online', 'a', '0', s(61));
""",
        {"event_entity": "id", "admin_event_entity": "id", "offline_user_session": "user_session_id",
         "offline_client_session": "user_session_id"},
    ),
    "Celery": Preset(
        """
CREATE TABLE celery_taskmeta (id int PRIMARY KEY, task_id varchar(155) UNIQUE, status varchar(50), result bytea,
                              date_done timestamp);
CREATE TABLE celery_tasksetmeta (id int PRIMARY KEY, taskset_id varchar(155) UNIQUE, result bytea, date_done timestamp);
CREATE TABLE django_celery_results_taskresult (
    id serial PRIMARY KEY, task_id varchar(255) UNIQUE, status varchar(50) NOT NULL, date_done timestamptz NOT NULL);
CREATE INDEX ON django_celery_results_taskresult (date_done);
INSERT INTO celery_taskmeta VALUES (1, 'gone', 'SUCCESS', '', utc(8)), (2, 'kept', 'SUCCESS', '', utc(6)),
                                   (3, 'kept null', 'PENDING', '', NULL);
INSERT INTO celery_tasksetmeta VALUES (1, 'gone', '', utc(8)), (2, 'kept', '', utc(6));
INSERT INTO django_celery_results_taskresult (task_id, status, date_done) VALUES
    ('gone', 'SUCCESS', ago(8)), ('gone failed', 'FAILURE', ago(8)), ('kept', 'SUCCESS', ago(6)),
    ('kept at work', 'STARTED', ago(8));
""",
        {"celery_taskmeta": "task_id", "celery_tasksetmeta": "taskset_id", "django_celery_results_taskresult": "task_id"},
    ),
    "Solid Queue": Preset(
        """
CREATE TABLE solid_queue_jobs (id bigserial PRIMARY KEY, queue_name varchar NOT NULL, class_name varchar NOT NULL,
                               finished_at timestamp(6), created_at timestamp(6) NOT NULL DEFAULT utc(40));
CREATE INDEX ON solid_queue_jobs (finished_at); CREATE INDEX ON solid_queue_jobs (queue_name, finished_at);
CREATE TABLE solid_queue_recurring_executions (
    id bigserial PRIMARY KEY, job_id bigint NOT NULL UNIQUE REFERENCES solid_queue_jobs ON DELETE CASCADE,
    task_key varchar NOT NULL, run_at timestamp(6) NOT NULL DEFAULT utc(40));
CREATE TABLE solid_queue_failed_executions (
    id bigserial PRIMARY KEY, job_id bigint NOT NULL UNIQUE REFERENCES solid_queue_jobs ON DELETE CASCADE, error text);
INSERT INTO solid_queue_jobs (id, queue_name, class_name, finished_at) VALUES
    (1, 'q', 'gone', utc(8)), (2, 'q', 'kept', utc(6)), (3, 'q', 'kept failed', NULL);
INSERT INTO solid_queue_recurring_executions (job_id, task_key) VALUES (1, 'gone'), (2, 'kept');
INSERT INTO solid_queue_failed_executions (job_id, error) VALUES (3, 'kept');
""",
        {"solid_queue_jobs": "class_name", "solid_queue_recurring_executions": "task_key",
         "solid_queue_failed_executions": "error"},
    ),
    "GoodJob": Preset(
        """
CREATE TABLE good_jobs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), queue_name text, finished_at timestamp(6),
                        created_at timestamp(6) NOT NULL DEFAULT utc(40), active_job_id uuid, retried_good_job_id uuid);
CREATE INDEX ON good_jobs (finished_at) WHERE retried_good_job_id IS NULL AND finished_at IS NOT NULL;
CREATE TABLE good_job_executions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamp(6) NOT NULL,
                                  active_job_id uuid NOT NULL, queue_name text);
CREATE INDEX ON good_job_executions (active_job_id, created_at);
INSERT INTO good_jobs (queue_name, finished_at, active_job_id) VALUES
    ('gone', utc(15), tag('1')), ('kept', utc(13), tag('2')), ('kept waiting', NULL, tag('3'));
INSERT INTO good_job_executions (created_at, active_job_id, queue_name) VALUES
    (utc(15), tag('1'), 'gone'), (utc(15), tag('2'), 'kept'), (utc(13), tag('4'), 'kept young');
""",
        {"good_jobs": "queue_name", "good_job_executions": "queue_name"},
    ),
    "Oban": Preset(
        """
CREATE TYPE oban_job_state AS ENUM ('available', 'scheduled', 'executing', 'retryable', 'completed', 'discarded', 'cancelled');
CREATE TABLE oban_jobs (
    id bigserial PRIMARY KEY, state oban_job_state NOT NULL DEFAULT 'available', queue text NOT NULL DEFAULT 'q',
    worker text NOT NULL, scheduled_at timestamp NOT NULL DEFAULT utc(40), priority int NOT NULL DEFAULT 0,
    completed_at timestamp, cancelled_at timestamp, discarded_at timestamp);
CREATE INDEX ON oban_jobs (state, queue, priority, scheduled_at, id);
CREATE INDEX ON oban_jobs (state, cancelled_at); CREATE INDEX ON oban_jobs (state, discarded_at);
INSERT INTO oban_jobs (worker, state, completed_at, cancelled_at, discarded_at) VALUES
    ('gone', 'completed', utc(2), NULL, NULL), ('kept', 'completed', utc(0.5), NULL, NULL),
    ('gone', 'cancelled', NULL, utc(8), NULL), ('kept', 'cancelled', NULL, utc(2), NULL),
    ('gone', 'discarded', NULL, NULL, utc(31)), ('kept', 'discarded', NULL, NULL, utc(8)),
    ('kept waiting', 'available', NULL, NULL, NULL);
""",
        {"oban_jobs": "worker"},
    ),
    "Audit logs": Preset(
        """
CREATE TABLE versions (id bigserial PRIMARY KEY, item_type varchar NOT NULL, created_at timestamp(6));
CREATE TABLE auditlog_logentry (id serial PRIMARY KEY, object_repr text NOT NULL, "timestamp" timestamptz NOT NULL);
CREATE INDEX ON auditlog_logentry ("timestamp", id);
CREATE TABLE audit_events (id uuid PRIMARY KEY, what text NOT NULL, legal_hold bool NOT NULL DEFAULT false);
CREATE SCHEMA archive; CREATE TABLE archive.audit_events (LIKE audit_events);
INSERT INTO versions (item_type, created_at) VALUES ('gone', utc(731)), ('kept', utc(729)), ('kept null', NULL);
INSERT INTO auditlog_logentry (object_repr, "timestamp") VALUES ('gone', ago(731)), ('kept', ago(729));
INSERT INTO audit_events VALUES (v7(366), 'gone', false), (v7(364), 'kept', false), (v7(366), 'kept for the court', true),
                                (gen_random_uuid(), 'kept of version 4', false);
""",
        {"versions": "item_type", "auditlog_logentry": "object_repr", "audit_events": "what"},
    ),
}  # fmt: skip
