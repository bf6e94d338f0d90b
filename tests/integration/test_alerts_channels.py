# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts by webhooks and mail, against doubles that refuse what the services refuse; and options that are wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import markdown
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts import options as alert_options
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.conditions import conditions
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.decide import (
    RAISE,
    RECOVER,
    REMIND,
    WORSE,
    Record,
    now_known,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.formats import FORMATS
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.mail import written
from ansible_collections.vtchat.maintenance.plugins.module_utils._alerts.notice import Notice
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import CRITICAL, INFO, WARNING, Finding
from ansible_collections.vtchat.maintenance.plugins.modules import alerts as module
from tests.alerts import GITHUB, HOSTILE, MAIL, NOWHERE, TOKEN, looked, outcomes, reasons, refused, tell
from tests.doubles.mail import PASSWORD, USER, MailServer
from tests.doubles.service import CUT, SILENCE, TRICKLE
from tests.doubles.webhook import CHECKS, PATHS, Hooks
from tests.runs import until
from tests.services import printed

CHECK = "expired-rows"
CHAT = ("slack", "discord", "teams")


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    double = Hooks()
    yield double
    double.close()


@pytest.fixture
def servers_of_mail(tmp_path: Path) -> Iterator[Callable[..., MailServer]]:
    made: list[MailServer] = []

    def make(tls: str = "none", login: bool = False) -> MailServer:
        made.append(MailServer(tmp_path, tls, login))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """Somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def hook(hooks: Hooks, kind: str, **options: Any) -> dict[str, Any]:
    return {"webhook": {"url": hooks.address(kind), "format": kind, **options}}


def mail(server: MailServer, **options: Any) -> dict[str, Any]:
    base = {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "none",
        "from": "db@example.com",
        "to": ["team@example.com"],
    }
    return {"mail": {**base, **options}}


def told(name: str, *results: dict[str, Any], **options: Any) -> dict[str, Any]:
    return tell(NOWHERE, name, *results, history=False, **options)


def texts(value: Any) -> list[str]:
    """All texts in a message."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    return (
        [text for one in value for text in texts(one)]
        if isinstance(value, list)
        else [value]
        if isinstance(value, str)
        else []
    )


@pytest.mark.parametrize("kind", PATHS)
def test_each_service_gets_what_it_takes(hooks: Hooks, kind: str) -> None:
    result = told(
        "production",
        looked(CHECK, CRITICAL, "sessions", advice="run purge"),
        channels=[hook(hooks, kind)],
        link="https://github.example/owner/name/actions/runs/1?pr=2&x=(3)".replace("(3)", "3"),
    )
    assert outcomes(result) == [(CHECK, "done")]
    (message,) = hooks.got[kind]
    said = "\n".join(texts(message))
    plain = said.replace("\\", "")
    for part in (f"critical: {CHECK} on production", "sessions", "12 are left", "run purge", "runs/1?pr=2&"):
        assert part in plain.replace("&amp;", "&"), said


@pytest.mark.parametrize("value", [HOSTILE, "`" * 900, "🔥" * 900, "\\" * 900, "<" * 900, "x" * 9000, "\0\ud800\u202e"])
def test_whatever_stands_in_a_database_is_text_everywhere(hooks: Hooks, value: str) -> None:
    """The double's checks of each format are the test."""
    found = looked(value, WARNING, *(f"{number}{value}" for number in range(14)), message=value, advice=value)
    result = told(value[:100], found, channels=[hook(hooks, kind) for kind in PATHS])
    assert result["totals"] == {"done": len(PATHS)}


TEXT = st.text(max_size=40) | st.text("`*_<>@#[]()!|\\~\r\n: -&\u202e🔥", max_size=300)


@given(
    TEXT, TEXT, st.lists(st.tuples(TEXT, st.sampled_from([WARNING, CRITICAL, INFO]), TEXT, TEXT), max_size=13),
    st.sampled_from([RAISE, WORSE, REMIND, RECOVER]), st.sampled_from(["", "https://h.example/run/1?x=y&z=%20"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_text_in_every_format(
    name: str, check: str, found: list[tuple[str, str, str, str]], verb: str, link: str
) -> None:
    findings = [Finding(check, subject, level, text, advice=advice).as_dict() for subject, level, text, advice in found]
    condition = conditions([{"server": {"database": "d"}, "findings": findings}], name)[0]
    known = replace(now_known(None, condition, 1.8e9), channels={"webhook:x": Record(WARNING, 1.8e9)})
    notice = Notice(verb, known, 1.8e9 + 60, link)
    for kind, form in FORMATS.items():
        CHECKS[kind](form(notice))
    written_body = markdown.body(notice)
    assert len(written_body) < 65536
    assert len(markdown.title(notice)) <= 256
    mark = markdown.read_mark(written_body)
    assert mark is not None
    assert mark.known == replace(known, facts=())
    for text in (written_body, markdown.comment(notice)):
        tokens = MarkdownIt().parse(text)
        assert [token.type for token in tokens if token.type == "html_block"] == ["html_block"] * (text == written_body)
        assert len([token for token in tokens if token.type == "fence"]) == (known.level != INFO)
        assert {token.type for token in tokens} <= {
            "html_block",
            "paragraph_open",
            "inline",
            "paragraph_close",
            "fence",
        }
    message = message_from_bytes(written(notice, "a@b.example", ["c@d.example"]).as_bytes(), policy=default)
    assert [field for field in message if field.lower() in ("subject", "to", "bcc", "cc")] == ["Subject", "To"]
    assert not message.defects


def test_headers_go_with_the_message_and_are_not_shown(hooks: Hooks) -> None:
    headers = {"X-Key": "KEYzq7 value", "X-For": "production"}
    result = told("production", refused("no KEYzq7 value"), channels=[hook(hooks, "json", headers=headers)])
    assert hooks.requests[-1].headers["x-key"] == "KEYzq7 value"
    (message,) = hooks.got["json"]
    assert message["event"] == "raised"
    # An ordinary word is masked where passwords stand, and not where it is a name.
    assert (message["key"], message["findings"][0]["message"]) == ("production/unreachable", "no ********")
    assert "on production" in reasons(result)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500, "body": "no"}, "500"),
        ({"status": 410, "body": {"message": f"nothing listens at {PATHS['slack']}"}}, "nothing listens at ********"),
        ({"status": 404, "body": {"message": "Unknown Webhook", "code": 10015}}, "Unknown Webhook"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, "302"),
        ({"kind": CUT}, "lost"),
        ({"kind": SILENCE}, "no answer in time"),
    ],
)
def test_a_webhook_that_is_down_is_asked_once(hooks: Hooks, fault: dict[str, Any], said: str) -> None:
    """Not for each alert: whoever is silent for ten seconds is so for all of them. And nothing of its address is shown."""
    hooks.fail(times=9, **fault)
    limit = 1 if fault.get("kind") == SILENCE else 60
    result = told("db", looked("a", WARNING), looked("b", CRITICAL), channels=[hook(hooks, "slack")], timeout=limit)
    assert outcomes(result) == [("b", "deferred"), ("a", "deferred")]
    assert said in reasons(result)
    until(lambda: hooks.requests)  # one that was not waited for may come late
    assert len(hooks.requests) == 1


def test_a_message_that_is_refused_does_not_stop_the_next(hooks: Hooks) -> None:
    hooks.fail(400, "invalid_blocks")
    result = told("db", looked("a", WARNING), looked("b", CRITICAL), channels=[hook(hooks, "slack")])
    assert outcomes(result) == [("b", "deferred"), ("a", "done")]


def test_an_answer_without_an_end_keeps_nobody_waiting(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_options, "LONGEST", 0.3)
    hooks.fail(kind=TRICKLE)
    assert told("db", refused(), channels=[hook(hooks, "slack")])["totals"] == {"deferred": 1}


@pytest.mark.parametrize(("tls", "login"), [("none", False), ("starttls", True), ("tls", True)])
def test_a_message_by_mail(servers_of_mail: Callable[..., MailServer], tls: str, login: bool) -> None:
    server = servers_of_mail(tls, login)
    options: dict[str, Any] = {"tls": tls, "to": ["team@example.com", " boss@example.com ", ""]}
    options |= {"username": USER, "password": PASSWORD} if login else {}
    found = looked(CHECK, WARNING, "Bücher", message=HOSTILE, advice="x" * 2000)
    result = told(
        "production", found, channels=[mail(server, **options)], ca_path=str(server.certificate), link="https://h/r/1"
    )
    assert outcomes(result) == [(CHECK, "done")], result
    (message,) = server.messages
    assert server.logins == login
    assert server.recipients == ["team@example.com", "boss@example.com"]
    assert message["Subject"] == f"warning: {CHECK} on production"
    assert (message["From"], message["To"]) == ("db@example.com", "team@example.com, boss@example.com")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Bcc"] is None
    assert message["Date"].datetime.year > 2000
    text = message.get_content()
    assert "warning: Bücher: x` ```" in text
    assert "https://h/r/1" in text
    assert "\n\nhttps://evil" not in text.replace("\r", "")


def test_names_make_no_headers(servers_of_mail: Callable[..., MailServer]) -> None:
    server = servers_of_mail()
    name = "db\r\nBcc: evil@example.com\r\n\r\ntext"
    told(name, looked(f"a\nSubject: b{'é' * 200}", CRITICAL), channels=[mail(server)])
    (message,) = server.messages
    assert [field.lower() for field in message if field.lower() in ("bcc", "subject")] == ["subject"]
    assert "evil@example.com" in message["Subject"]
    assert server.recipients == ["team@example.com"]


def test_all_of_one_incident_are_one_thread(servers_of_mail: Callable[..., MailServer]) -> None:
    server = servers_of_mail()
    told("db", looked("a", WARNING), looked("b", CRITICAL), channels=[mail(server)])
    assert len({message["References"] for message in server.messages}) == 2
    assert len({message["Message-ID"] for message in server.messages}) == 2


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("wrong password", "535"),
        ("no such user", "550 no such user"),
        ("not trusted", "certificate is not trusted"),
        ("closed", "refused"),
        ("no starttls", "STARTTLS"),
        ("silent", "no answer in time"),
    ],
)
def test_mail_that_cannot_be_sent(
    servers_of_mail: Callable[..., MailServer], silence: socket.socket, closed: int, case: str, said: str
) -> None:
    server = servers_of_mail("none" if case == "no starttls" else "starttls", login=case != "no starttls")
    options: dict[str, Any] = {"tls": "starttls", "username": USER, "password": PASSWORD}
    if case == "wrong password":
        options["password"] = "PASSzq7-another one"
    elif case == "no such user":
        server.refuses = {"team@example.com"}
    elif case == "silent":
        options["port"] = silence.getsockname()[1]
    elif case == "closed":
        options["port"] = closed
    trusted = {} if case == "not trusted" else {"ca_path": str(server.certificate)}
    found = [looked("a", WARNING), looked("b", CRITICAL)]
    result = told("db", *found, channels=[mail(server, **options)], **trusted, timeout=1 if case == "silent" else 60)
    assert outcomes(result) == [("b", "deferred"), ("a", "deferred")]
    assert said.lower() in reasons(result).lower()
    assert server.messages == []


def test_one_recipient_that_is_refused_is_told_of(servers_of_mail: Callable[..., MailServer]) -> None:
    server = servers_of_mail()
    server.refuses = {"gone@example.com"}
    result = told("db", refused(), channels=[mail(server, to=["team@example.com", "gone@example.com"])])
    assert outcomes(result) == [("unreachable", "done")]
    assert "not gone@example.com" in reasons(result)


def test_without_channels_it_says_so() -> None:
    result = told("db", refused(), channels=[])
    assert (result["status"], result["actions"]) == ("skipped", [])
    assert result["msg"] == "alerts: no channels are given, so nobody is told of db/unreachable"


def test_the_module_shows_no_secret_at_any_verbosity(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a module of its own, where Ansible repeats all options; and with texts of results that hold what must not be told."""
    channels = [
        hook(hooks, "discord"),
        hook(hooks, "json", headers={"X-Key": "KEYzq7 value"}),
        {"mail": {**MAIL, "host": "127.0.0.1", "port": 9, "username": "u", "password": PASSWORD}},
        {"github": {**GITHUB, "api_url": "http://127.0.0.1:9"}},
    ]
    secrets = [hooks.address("discord"), "KEYzq7 value", PASSWORD, TOKEN, "PASSWORDzq7"]
    found = looked(CHECK, WARNING, *secrets, message=" ".join(secrets), advice=" ".join(secrets))
    dsn = "postgresql://u:PASSWORDzq7@127.0.0.1:9/app"
    shown = printed(
        module.main, monkeypatch, capsys,
        dsn=dsn, connect_deadline=0, name="db", results=[found], channels=channels, patience=0, timeout=60,
    )  # fmt: skip
    # Where Ansible's own display has been loaded, warnings are printed as well.
    result = json.loads(next(line for line in shown.splitlines() if line.startswith("{")))
    assert result["totals"] == {"done": 2, "deferred": 2}
    assert "zq7" not in shown
    assert "zq7" not in json.dumps(hooks.got)
