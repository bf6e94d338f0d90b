# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of docs/monitoring.md, each as it stands there, against doubles of the services that it names."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.checkout import ROOT, Checkout
from tests.doubles.mail import PASSWORD, USER, MailServer
from tests.runs import perform
from tests.servers import Database

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The commands of the page, those of several lines as one."""
    blocks = re.findall(r"^ *```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


FILE, PUSH, RULES, NAGIOS, ALERTS, REPORT, SEND = commands()


class Gateway:
    """A Pushgateway, as far as a push is concerned: what was put where."""

    def __init__(self) -> None:
        pushed = self.pushed = dict[str, str]()

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers["Content-Length"])
                pushed[self.path] = self.rfile.read(length).decode()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("monitoring") / "checkout")
    (made.directory / ".venv").symlink_to(Path(sys.prefix))
    return made


def test_metrics_and_one_line_of_the_same_run(
    checkout: Checkout, vtchat_database: Database, gateway: Gateway, tmp_path: Path
) -> None:
    """The file that a collector would read is what the gateway gets; the next playbook adds to it."""
    folder = "/var/lib/node_exporter"
    assert FILE.startswith(f"VTCHAT_MAINTENANCE_METRICS_FILE={folder}/maintenance.prom ")
    perform("analyze", vtchat_database.dsn, tables=["users"])
    checkout.run(FILE.replace(folder, str(tmp_path)), DATABASE_URL=vtchat_database.dsn)
    before = (tmp_path / "maintenance.prom").read_text(encoding="utf-8")
    both = {"DATABASE_URL": vtchat_database.dsn, "VTCHAT_MAINTENANCE_METRICS_FILE": str(tmp_path / "maintenance.prom")}
    line = checkout.command(NAGIOS, **both)
    word = line.stdout.removeprefix("MAINTENANCE ").partition(":")[0]
    assert ("expired-rows" in line.stdout, line.stdout.count("\n")) == (True, 1), line.stdout + line.stderr
    assert line.returncode == {"WARNING": 1, "CRITICAL": 2}[word]
    checkout.run(PUSH.replace(folder, str(tmp_path)), PUSHGATEWAY_URL=gateway.url)
    [(path, pushed)] = gateway.pushed.items()
    assert path == "/metrics/job/maintenance"
    assert pushed == (tmp_path / "maintenance.prom").read_text(encoding="utf-8") != before
    samples = [one for family in prometheus(pushed) for one in family.samples]
    analyzed = [
        one for one in samples if one.name == "pg_maintenance_action_total" and one.labels["operation"] == "analyze"
    ]
    assert [one.value for one in analyzed] == [1]
    assert {one.labels["plan"] for one in samples if one.name == "pg_maintenance_run_success"} == {"health"}


def test_alert_rules(checkout: Checkout) -> None:
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (Debian's package prometheus)")
    assert "SUCCESS" in checkout.run(RULES)


def test_mails(checkout: Checkout, vtchat_database: Database, tmp_path: Path) -> None:
    """An alert about a database with expired rows, and the report with all that is in it; no password is among the arguments."""
    perform("analyze", vtchat_database.dsn, tables=["users"])
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    server = MailServer(tmp_path, tls="starttls", login=True)
    try:
        known = {
            "DATABASE_URL": vtchat_database.dsn,
            "ALERT_MAIL_PORT": str(server.port),
            "ALERT_MAIL_USERNAME": USER,
            "ALERT_MAIL_PASSWORD": PASSWORD,
            "SSL_CERT_FILE": str(server.certificate),
        }
        checkout.command(ALERTS.replace("smtp.example.com", "127.0.0.1"), **known)
        checkout.run(REPORT, DATABASE_URL=vtchat_database.dsn)
        assert PASSWORD not in SEND
        line = SEND.replace("smtp.example.com:587", f"127.0.0.1:{server.port}")
        checkout.run(line, HOME=str(tmp_path), CURL_CA_BUNDLE=str(server.certificate))
        *alerts, report = server.messages
    finally:
        server.close()
    assert any("expired-rows" in str(alert["Subject"]) for alert in alerts)
    assert report["Subject"] == "Maintenance of the database"
    text, page = report.iter_parts()
    assert text.get_content().strip() == "The report is attached."
    assert page.get_content_type() == "text/html"
    assert page.get_filename() == "index.html"
    sent = page.get_payload(decode=True)
    assert isinstance(sent, bytes)
    assert sent.replace(b"\r\n", b"\n") == (checkout.directory / "report" / "index.html").read_bytes().replace(
        b"\r\n", b"\n"
    )
