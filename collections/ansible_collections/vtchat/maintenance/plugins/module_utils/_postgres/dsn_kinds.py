# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Connection strings that were meant for something else: what they are, and what to write instead. Never a part of the string."""

from __future__ import annotations

import re

# What a string begins with when it is no connection string of libpq, and what to do. The first that fits is told.
_KINDS = (
    (r"[\"'`\u201c\u2018]", "it begins with a quotation mark: those of an .env file or a shell do not belong to it"),
    (
        r"(?:export\s+|set\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*[\"']?(?:jdbc:|prisma\+)?postgres(?:ql)?(?:\+\w+)?://",
        "it begins with the name of a variable and =: only what follows belongs here",
    ),
    (r"psql\s", "it is a command: only the URL behind psql belongs here, without quotation marks"),
    (r"\$|\{\{|<", "it is a placeholder that nothing has replaced: most often a variable is not set where it is read from"),
    (r"jdbc:", "it is a URL of Java: leave out jdbc:, and put user and password before the host (postgresql://user:password@host/database)"),
    (
        r"prisma(?:\+postgres(?:ql)?)?://",
        "it is the address of Prisma's proxy and not of a database: take the database's own URL (directUrl in the schema)",
    ),
    (
        r"postgres(?:ql)?\+[A-Za-z0-9_]+://",
        "it is a URL of SQLAlchemy: leave out the driver, so that it begins with postgresql://",
    ),
    (r"https?://", "it is the address of a web page: the database's own URL begins with postgresql://"),
    (r"[A-Za-z][A-Za-z0-9+.-]*://", ""),
    (r"postgres(?:ql)?:", "the URL must begin with postgresql:// with both slashes"),
    (r"[A-Za-z ]+=[^;'\s]*;\s*[A-Za-z ]+=", "it is a string of .NET: write a URL, or keywords with spaces between them"),
    (r"//|[^=\s]*@[^=\s]*$", "the beginning is missing: a URL begins with postgresql://"),
)  # fmt: skip
# Compiled while Ansible loads this, once for the workers of all hosts.
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), said) for pattern, said in _KINDS)

# Parameters that other programs take, and what does the same here.
_ELSEWHERE = {
    "schema": "name tables with their schema (schema.table), or set the role's search_path",
    "currentSchema": "name tables with their schema (schema.table), or set the role's search_path",
    "search_path": "name tables with their schema (schema.table), or set the role's search_path",
    "pgbouncer": "connect to the server itself instead of the pool; pooler: direct does so on Neon",
    "sslaccept": "write sslmode=verify-full for strict, sslmode=require for accept_invalid_certs",
    "sslidentity": "write sslcert=… and sslkey=…",
    "ssl": "write sslmode=require or sslmode=verify-full",
    "tls": "write sslmode=require or sslmode=verify-full",
    "sslfactory": "write sslmode=require or sslmode=verify-full",
    "ApplicationName": "it is set here",
    "encoding": "it is set here",
    "charset": "it is set here",
    "connectTimeout": "use connect_deadline of the module",
    "loginTimeout": "use connect_deadline of the module",
    "timeout": "use connect_deadline of the module",
    "endpoint": "write options=endpoint%3D…",
    **dict.fromkeys(
        (
            *("connection_limit", "pool_timeout", "pool", "pool_size", "max_overflow", "pool_max_conns", "pool_mode"),
            *("socket_timeout", "statement_cache_size", "prepared_statement_cache_size", "statement_cache_capacity"),
            *("prepareThreshold", "prepared_statements", "preparedStatements", "default_query_exec_mode", "binaryTransfer"),
            *("conn_max_age", "max_lifetime_connection", "max_idle_connection_lifetime", "uselibpqcompat", "workaround"),
            *("connection_timeout", "reconnect", "checkout_timeout", "single_use_connections", "supa", "sslinline"),
        ),
        "it is not needed here",
    ),
}  # fmt: skip
# libpq's parameters that people mistype most; libpq itself tells which exist.
_COMMON = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options", "application_name", "connect_timeout", "channel_binding",
           "target_session_attrs", "hostaddr", "password", "user", "port", "host", "dbname", "service", "passfile")  # fmt: skip


def wrong_kind(text: str) -> str:
    """What a string is that is no connection string, with the way out; "" for one that may be."""
    text = text.strip()
    if "\0" in text:
        return "it holds a NUL character"
    if text.startswith("\ufeff"):
        return "it begins with an invisible character, a byte order mark: take it out"
    said = next((said for pattern, said in _PATTERNS if pattern.match(text)), "")
    if said or "://" not in text:
        return said
    if not text.isprintable():
        return "it holds a line break or another invisible character; inside a password it must be percent-encoded"
    return "it ends with a quotation mark, which does not belong to it" if text.endswith(('"', "'", "`")) else ""


def unknown_parameter(name: str, number: int) -> str:
    """What to do about the parameter of this name. Only names that many know are repeated: it may be half a password."""
    known = next((one for one in _ELSEWHERE if one.lower() == name.lower()), "")
    if known:
        return f"the parameter {known} is of another program: take it out; {_ELSEWHERE[known]}"
    import difflib  # in runs without a fault it would be loaded for nothing

    near = difflib.get_close_matches(name.lower(), _COMMON, 1, 0.75)
    hint = f", did you mean {near[0]}?" if near else "; take it out, or percent-encode the & of the value before it"
    return f"parameter {number} after the ? is not one of libpq's connection parameters{hint}"
