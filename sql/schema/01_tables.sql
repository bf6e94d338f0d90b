-- VTChat's tables, for the demo and the tests. Times are without zone, in UTC, as the application writes them.

CREATE TABLE users (
    id text PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    normalized_email text,
    email_verified boolean NOT NULL DEFAULT false,
    image text,
    role text DEFAULT 'user',
    banned boolean DEFAULT false,
    ban_reason text,
    ban_expires timestamp,
    protected boolean DEFAULT false,
    plan_slug text DEFAULT 'vt_base',
    creem_customer_id text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    id text PRIMARY KEY,
    expires_at timestamp NOT NULL,
    ip_address text,
    user_agent text,
    token text,
    user_id text NOT NULL,
    impersonated_by text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE accounts (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    provider_id text NOT NULL,
    user_id text NOT NULL,
    access_token text,
    refresh_token text,
    id_token text,
    expires_at timestamp,
    access_token_expires_at timestamp,
    refresh_token_expires_at timestamp,
    scope text,
    password text,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE verifications (
    id text PRIMARY KEY,
    identifier text NOT NULL,
    value text NOT NULL,
    expires_at timestamp NOT NULL,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE user_subscriptions (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    plan text NOT NULL DEFAULT 'vt_base',
    status text NOT NULL DEFAULT 'active',
    creem_customer_id text,
    creem_subscription_id text,
    current_period_start timestamp,
    current_period_end timestamp,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE feedback (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    feedback text NOT NULL,
    metadata json,
    created_at timestamp DEFAULT now()
);

CREATE TABLE provider_usage (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    model_id text NOT NULL,
    request_timestamp timestamp NOT NULL DEFAULT now(),
    provider text NOT NULL DEFAULT 'gemini',
    created_at timestamp DEFAULT now()
);

CREATE TABLE vtplus_usage (
    id bigserial PRIMARY KEY,
    user_id text NOT NULL,
    feature text NOT NULL,
    period_start date NOT NULL,
    used integer NOT NULL DEFAULT 0,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE user_rate_limits (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    model_id text NOT NULL,
    daily_request_count text NOT NULL DEFAULT '0',
    minute_request_count text NOT NULL DEFAULT '0',
    last_daily_reset timestamp,
    last_minute_reset timestamp,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE quota_configs (
    id text PRIMARY KEY,
    feature text NOT NULL,
    plan text NOT NULL,
    quota_limit integer NOT NULL DEFAULT 0,
    quota_window text NOT NULL DEFAULT 'daily',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);

CREATE TABLE resources (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    content text NOT NULL,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);
