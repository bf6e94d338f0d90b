-- The application looks sessions up by their token, and by nothing but equality: a hash index holds 4 bytes of each.

CREATE INDEX idx_sessions_token_hash ON public.sessions USING hash (token);
