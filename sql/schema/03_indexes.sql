-- Indexes and foreign keys of the application, built after the rows: quicker, and the indexes start without bloat.
-- Like in the application, users.email has an index besides its unique one.

CREATE UNIQUE INDEX users_email_unique ON users (email);
CREATE UNIQUE INDEX users_normalized_email_unique ON users (normalized_email);
CREATE INDEX idx_users_role ON users (role);
CREATE INDEX idx_users_banned ON users (banned);
CREATE INDEX idx_users_protected ON users (protected);
CREATE INDEX idx_users_plan_slug ON users (plan_slug);
CREATE INDEX idx_users_email ON users (email);

CREATE INDEX idx_sessions_user_id ON sessions (user_id);
CREATE INDEX idx_sessions_token ON sessions (token);
CREATE INDEX idx_sessions_user_token ON sessions (user_id, token);
CREATE INDEX idx_sessions_expires_at ON sessions (expires_at);
CREATE INDEX idx_sessions_user_expires ON sessions (user_id, expires_at);
CREATE INDEX idx_sessions_impersonated_by ON sessions (impersonated_by);

CREATE INDEX idx_accounts_provider ON accounts (provider_id, account_id, user_id);
CREATE INDEX idx_provider_usage_user ON provider_usage (user_id, request_timestamp);
CREATE INDEX idx_provider_usage_time ON provider_usage (request_timestamp, provider);
CREATE INDEX idx_vtplus_usage_user ON vtplus_usage (user_id, feature, period_start);
CREATE UNIQUE INDEX vtplus_usage_user_unique ON vtplus_usage (user_id, feature, period_start);
CREATE UNIQUE INDEX user_rate_limits_user_model_unique ON user_rate_limits (user_id, model_id);
CREATE UNIQUE INDEX quota_configs_feature_plan_unique ON quota_configs (feature, plan);

ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE accounts ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE user_subscriptions ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE feedback ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE provider_usage ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE vtplus_usage ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE user_rate_limits ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE resources ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
