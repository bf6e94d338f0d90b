# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two databases that the README shows, a sick one and one that is well: what it shows is what health says of them."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._report.text import run_lines
from tests.health import look
from tests.runs import perform
from tests.servers import REPOSITORY, Database

SHOP = [
    "CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL, note text)",
    "INSERT INTO orders (customer, note) SELECT n % 100, 'note' FROM generate_series(1, 60000) AS n",
    "CREATE INDEX orders_customer_idx ON orders (customer); CREATE INDEX orders_note_idx ON orders (note)",
    "CREATE TABLE carts (id int PRIMARY KEY, expires_at timestamptz NOT NULL); CREATE INDEX ON carts (expires_at)",
    "SELECT pg_stat_force_next_flush()",
    "VACUUM ANALYZE",
]
ILL = [
    "DELETE FROM orders WHERE id <= 15000",
    "SELECT setval('orders_id_seq', 2040109466)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('orders_customer_idx'::regclass, 'orders_note_idx'::regclass)",
    # By the clock of now: three hours and half a minute would be told otherwise.
    "UPDATE maintenance.run SET started_at = now() - interval '3 h', finished_at = now() - interval '3 h'",
    "SELECT pg_stat_force_next_flush()",
]
PURGE = {"purge": {"table": "carts", "column": "expires_at"}}


def shown(database: Database) -> str:
    """What the summary shows, without what differs each time."""
    result: dict[str, Any] = {**look(database), "plan": "health"}
    result["server"]["database"] = "shop"
    text = "\n".join(line.text for line in run_lines("shop", result, 120))
    return stable(text.replace(database.name, "shop"))


def stable(text: str) -> str:
    text = re.sub(r"in \d+ ms|in [\d.]+ s", "in 99 ms", text)
    text = re.sub(r"PostgreSQL [\d.]+", "PostgreSQL 18", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-11-26 02:00 UTC", text)


def blocks() -> list[str]:
    """Those of the README that show health of the shop."""
    found = re.findall(
        r"```\n(health on shop.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return [stable(block.strip()) for block in found]


def test_the_readme_shows_what_health_says(database: Database) -> None:
    for statement in SHOP:
        database.sql(statement)
    perform("run", database.dsn, plan="hourly", steps=[PURGE], every="1h")
    well = shown(database)
    for statement in ILL:
        database.sql(statement)
    sick = shown(database)
    assert blocks() == [sick, well], f"{sick}\n\n{well}"
