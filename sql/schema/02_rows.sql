-- Generated rows, the same at every load except that times count back from now (UTC).
-- Other numbers of rows: SET demo.users and demo.sessions before loading (demo.users of at least 100).
-- Rows are spread by multiplying their number with a prime, so that neighbours differ and no random number is needed.

SET LOCAL synchronous_commit = off;
SET LOCAL timezone = 'UTC';

CREATE TEMPORARY TABLE demo ON COMMIT DROP AS
SELECT
    coalesce(nullif(current_setting('demo.users', true), '')::integer, 20000) AS users,
    coalesce(nullif(current_setting('demo.sessions', true), '')::integer, 100000) AS sessions,
    now() AT TIME ZONE 'UTC' AS now;

INSERT INTO users (
    id, name, email, normalized_email, email_verified, image, role, banned, ban_reason, ban_expires, protected,
    plan_slug, creem_customer_id, created_at, updated_at
)
SELECT
    'user_' || n,
    (ARRAY['Nguyễn Văn An', 'Trần Thị Bích Hằng', 'Lê Hoàng Đức', 'Phạm Quỳnh', 'Ana 😀', 'محمد علي', 'דנה כהן',
           '山田太郎', 'O''Brien "Bob"', 'Zoë Müller', 'Đặng Thùy Trâm', 'plain name'])[1 + n * 7 % 12] || ' ' || n,
    'User.' || n || '@example.com',
    CASE WHEN n % 10 <> 0 THEN 'user' || n || '@example.com' END,
    n % 4 <> 0,
    CASE WHEN n % 3 = 0 THEN 'https://example.com/avatar/' || n || '.png' END,
    CASE WHEN n % 5000 = 1 THEN 'admin' ELSE 'user' END,
    n % 500 = 7,
    CASE WHEN n % 500 = 7 THEN 'lạm dụng 🚫' END,
    CASE WHEN n % 1000 = 7 THEN demo.now + interval '30 days' END,
    n % 5000 = 1,
    CASE WHEN n % 10 IN (1, 2) THEN 'vt_plus' WHEN n % 97 <> 0 THEN 'vt_base' END,
    CASE WHEN n % 10 < 4 THEN 'cust_' || md5(n::text) END,
    demo.now - interval '1 minute' * (n::bigint * 7919 % 1000000),
    demo.now - interval '1 minute' * (n::bigint * 7919 % 1000000 / 2)
FROM demo, generate_series(1, demo.users) AS n;

-- A third of the sessions is expired: a minute to 29 days ago. The others live for at least another hour
INSERT INTO sessions (id, expires_at, ip_address, user_agent, token, user_id, impersonated_by, created_at, updated_at)
SELECT
    'session_' || n,
    expires_at,
    CASE WHEN n % 11 <> 0 THEN '198.51.100.' || n % 256 END,
    CASE WHEN n % 13 <> 0 THEN 'Mozilla/5.0 (demo ' || n % 40 || ')' END,
    CASE WHEN n % 17 <> 0 THEN md5('token ' || n) END,
    'user_' || 1 + n::bigint * 7919 % demo.users,
    CASE WHEN n % 1999 = 0 THEN 'user_1' END,
    expires_at - interval '30 days',
    expires_at - interval '30 days'
FROM demo, generate_series(1, demo.sessions) AS n, LATERAL (
    SELECT CASE
        WHEN n % 3 = 0 THEN demo.now - interval '1 minute' * (1 + n::bigint * 104729 % 41760)
        ELSE demo.now + interval '1 hour' + interval '1 minute' * (n::bigint * 104729 % 40000)
    END AS expires_at
) AS spread;

-- Subscriptions over time. Of ten users: four never had one, two are VT+ (one of them again after cancelling), one has
-- cancelled (both spellings), one changed plans twice, one pays late or tries, one has the base plan
INSERT INTO user_subscriptions (
    id, user_id, plan, status, creem_customer_id, creem_subscription_id, current_period_start, current_period_end,
    created_at, updated_at
)
SELECT
    'sub_' || n || '_' || part,
    'user_' || n,
    plan,
    status,
    CASE WHEN n % 10 < 4 THEN 'cust_' || md5(n::text) END,
    CASE WHEN plan = 'vt_plus' THEN 'sub_' || md5(n || '/' || part) END,
    start,
    CASE WHEN n % 29 <> 0 THEN start + interval '30 days' END,
    start,
    start + interval '1 day'
FROM demo, generate_series(1, demo.users) AS n, LATERAL (
    VALUES
        (1, 1, 'vt_plus', 'active', 5),
        (2, 1, 'vt_plus', CASE WHEN n % 20 = 2 THEN 'canceled' ELSE 'cancelled' END, 200),
        (2, 2, 'vt_plus', 'active', 12),
        (3, 1, 'vt_plus', CASE WHEN n % 20 = 3 THEN 'canceled' ELSE 'cancelled' END, 90),
        (4, 1, 'vt_plus', 'expired', 300),
        (4, 2, 'vt_base', 'cancelled', 150),
        (4, 3, 'vt_base', 'active', 20),
        (5, 1, 'vt_plus', CASE WHEN n % 20 = 5 THEN 'past_due' ELSE 'trialing' END, 28),
        (6, 1, 'vt_base', 'active', 60)
) AS subscription (kind, part, plan, status, days), LATERAL (
    SELECT demo.now - interval '1 day' * days - interval '1 second' * (n % 86400) AS start
) AS period
WHERE kind = n % 10;

INSERT INTO accounts (id, account_id, provider_id, user_id, scope, expires_at, created_at, updated_at)
SELECT
    'account_' || n, md5('account ' || n), CASE WHEN n % 2 = 0 THEN 'google' ELSE 'github' END, 'user_' || n,
    'openid email', CASE WHEN n % 5 <> 0 THEN demo.now + interval '1 hour' END, demo.now, demo.now
FROM demo, generate_series(1, demo.users, 2) AS n;

INSERT INTO verifications (id, identifier, value, expires_at, created_at, updated_at)
SELECT
    'verification_' || n, 'User.' || n || '@example.com', md5('value ' || n),
    demo.now + interval '1 hour' * (n % 48 - 24), demo.now, demo.now
FROM demo, generate_series(1, demo.users / 100) AS n;

INSERT INTO feedback (id, user_id, feedback, metadata, created_at)
SELECT
    md5('feedback ' || n)::uuid, 'user_' || 1 + n::bigint * 31 % demo.users, 'Rất tốt 👍 ' || n,
    CASE WHEN n % 2 = 0 THEN json_build_object('rating', n % 5 + 1) END, demo.now - interval '1 hour' * n
FROM demo, generate_series(1, demo.users / 100) AS n;

INSERT INTO provider_usage (id, user_id, model_id, request_timestamp, created_at)
SELECT
    md5('usage ' || n)::uuid, 'user_' || 1 + n::bigint * 7919 % demo.users, 'model-' || n % 4,
    demo.now - interval '1 minute' * n, demo.now - interval '1 minute' * n
FROM demo, generate_series(1, demo.users / 2) AS n;

-- Daily quotas of the last 60 days: DR and PS by day, the older half is what the application deletes
INSERT INTO vtplus_usage (user_id, feature, period_start, used, created_at, updated_at)
SELECT
    'user_' || n, feature, demo.now::date - n / 10 % 60, n % 9, demo.now, demo.now
FROM demo, generate_series(1, demo.users, 10) AS n, unnest(ARRAY['DR', 'PS', 'RAG']) AS feature;

INSERT INTO user_rate_limits (id, user_id, model_id, daily_request_count, last_daily_reset, created_at, updated_at)
SELECT
    'limit_' || n, 'user_' || n, 'model-' || n % 4, (n % 20)::text, demo.now - interval '1 hour', demo.now, demo.now
FROM demo, generate_series(1, demo.users, 20) AS n;

INSERT INTO quota_configs (id, feature, plan, quota_limit, quota_window)
SELECT
    feature || '_' || plan, feature, plan, CASE WHEN plan = 'vt_plus' THEN 50 ELSE 5 END,
    CASE WHEN feature = 'RAG' THEN 'monthly' ELSE 'daily' END
FROM unnest(ARRAY['DR', 'PS', 'RAG']) AS feature, unnest(ARRAY['vt_base', 'vt_plus']) AS plan;

INSERT INTO resources (id, user_id, content)
SELECT
    'resource_' || n, 'user_' || n, 'ghi chú 📝 ' || n
FROM demo, generate_series(1, demo.users, 50) AS n;
