-- Active subscriptions by plan; the others are never asked for by plan.

CREATE INDEX idx_user_subscriptions_plan_status ON public.user_subscriptions (plan, status) WHERE status = 'active';
