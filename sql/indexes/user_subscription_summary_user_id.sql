-- The application looks users up by this; REFRESH MATERIALIZED VIEW CONCURRENTLY needs it to be unique.

CREATE UNIQUE INDEX user_subscription_summary_user_id ON public.user_subscription_summary (user_id);
