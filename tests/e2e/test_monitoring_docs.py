# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of docs/monitoring.md, each as it stands there, with Prometheus' own programs and a double of a mail server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as prometheus
from prometheus_client.samples import Sample

from tests.checkout import ROOT, Checkout
from tests.doubles.mail import PASSWORD, USER, MailServer
from tests.runs import perform, until
from tests.servers import Database, free_port

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The commands of the page, those of several lines as one."""
    blocks = re.findall(r"^ *```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


FILE, PUSH, RULES, NAGIOS, ALERTS, REPORT, SEND = commands()


@contextmanager
def running(name: str, *arguments: str) -> Iterator[str]:
    """The address of a program of Prometheus, which is started for this."""
    program = shutil.which(f"prometheus-{name}")
    if not program:
        assert not os.environ.get("CI"), f"{name} is missing"
        pytest.skip(f"needs prometheus-{name} (Debian's package of that name)")
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--web.listen-address={address}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(address))
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def answers(address: str) -> bool:
    try:
        return bool(scraped(f"http://{address}"))
    except OSError:
        return False


def scraped(url: str) -> list[Sample]:
    """What Prometheus would get there."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:  # noqa: S310 - http, and nobody else's
        return [one for family in prometheus(answer.read().decode()) for one in family.samples]


def told(samples: Iterable[Sample]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Our samples, without the labels that a program adds. A label without a value is none."""
    return {
        (one.name, frozenset(label for label in one.labels.items() if label[1] and label[0] != "job")): one.value
        for one in samples
        if one.name.startswith("pg_")
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("monitoring") / "checkout")
    (made.directory / ".venv").symlink_to(Path(sys.prefix))
    return made


def test_metrics_and_one_line_of_the_same_run(checkout: Checkout, vtchat_database: Database, tmp_path: Path) -> None:
    """node_exporter reads the file, and the Pushgateway takes it, with all that is in it; others add to it."""
    folder = "/var/lib/node_exporter"
    assert FILE.startswith(f"VTCHAT_MAINTENANCE_METRICS_FILE={folder}/maintenance.prom ")
    perform("analyze", vtchat_database.dsn, tables=["users"])
    checkout.run(FILE.replace(folder, str(tmp_path)), DATABASE_URL=vtchat_database.dsn)
    file = tmp_path / "maintenance.prom"
    before = file.read_text(encoding="utf-8")
    both = {"DATABASE_URL": vtchat_database.dsn, "VTCHAT_MAINTENANCE_METRICS_FILE": str(file)}
    line = checkout.command(NAGIOS, **both)
    word = line.stdout.removeprefix("MAINTENANCE ").partition(":")[0]
    assert ("expired-rows" in line.stdout, line.stdout.count("\n")) == (True, 1), line.stdout + line.stderr
    assert line.returncode == {"WARNING": 1, "CRITICAL": 2}[word]
    text = file.read_text(encoding="utf-8")
    assert text != before
    written = told(one for family in prometheus(text) for one in family.samples)
    known = {"datname": vtchat_database.name, "inventory_host": "vtchat_production"}
    analyzed = frozenset({**known, "operation": "analyze", "outcome": "done"}.items())
    assert written["pg_maintenance_action_total", analyzed] == 1
    assert written["pg_maintenance_run_success", frozenset({**known, "plan": "health"}.items())] == 1
    with running("pushgateway") as url:
        checkout.run(PUSH.replace(folder, str(tmp_path)), PUSHGATEWAY_URL=url)
        assert told(scraped(url)) == written
    collector = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={tmp_path}")
    with running("node-exporter", *collector) as url:
        samples = scraped(url)
        assert told(samples) == written
        assert [one.value for one in samples if one.name == "node_textfile_scrape_error"] == [0]


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
