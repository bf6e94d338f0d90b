# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of alerts that are wrong: told at once, before anything is done, and nothing of them is shown."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils import _edge
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.modules import alerts as module
from tests.alerts import GITHUB, MAIL, NOWHERE, WEBHOOK
from tests.services import printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": [{}]}, "one of the following is required: github, webhook, mail"),
        ({"channels": [{"github": GITHUB, "webhook": WEBHOOK}]}, "mutually exclusive: github|webhook|mail"),
        ({"channels": [{"slack": WEBHOOK}]}, "slack"),
        ({"channels": [{"github": {**GITHUB, "repository": "app"}}]}, "github.repository: it must have the form owner/name"),
        ({"channels": [{"github": {"repository": "a/b"}}]}, "token"),
        ({"channels": [{"github": {**GITHUB, "labels": []}}]}, "channels[1].github.labels"),
        ({"channels": [{"github": {**GITHUB, "labels": ["a,b"]}}]}, "channels[1].github.labels"),
        ({"channels": [{"github": {**GITHUB, "api_url": "http://github.example"}}]}, "channels[1].github.api_url"),
        ({"channels": [{"webhook": {"url": "SECRETzq7 no url"}}]}, "channels[1].webhook.url: it must be an address"),
        ({"channels": [{"webhook": {"url": "http://hooks.example.com/SECRETzq7"}}]}, "must begin with https://"),
        ({"channels": [{"webhook": {"url": "https://SECRETzq7:x@h.example/"}}]}, "without user"),
        ({"channels": [{"webhook": {**WEBHOOK, "format": "telegram"}}]}, "value of format must be one of"),
        ({"channels": [{"webhook": {**WEBHOOK, "headers": "X: SECRETzq7"}}]}, "webhook.headers: it must be a mapping"),
        ({"channels": [{"webhook": {**WEBHOOK, "headers": {"X": "SECRETzq7\r\nY: z"}}}]}, "channels[1].webhook.headers"),
        ({"channels": [{"mail": {**MAIL, "to": ["x\r\nBcc: y@z"]}}]}, "channels[1].mail.to"),
        ({"channels": [{"mail": {**MAIL, "to": []}}]}, "channels[1].mail.to: there are no addresses"),
        ({"channels": [{"mail": {**MAIL, "from": "Me <b@example.com>"}}]}, "channels[1].mail.from"),
        ({"channels": [{"mail": {**MAIL, "username": "u"}}]}, "channels[1].mail.username: it and password need each other"),
        ({"channels": [{"mail": {**MAIL, "tls": "none"}}]}, "channels[1].mail.tls: none is for a server on this machine"),
        ({"channels": [{"mail": {**MAIL, "port": 0}}]}, "channels[1].mail.port"),
        ({"channels": [{"webhook": WEBHOOK}, {"webhook": WEBHOOK}]}, "is given twice"),
        ({"remind": "soon"}, "remind: write a number and a unit"),
        ({"remind": "0d"}, "remind: write a number and a unit"),
        ({"link": "javascript:alert(1)"}, "link: it must be an address"),
        ({"link": "https://x/)[y](z"}, "link: it must be an address"),
        ({"name": "x" * 121}, "name: it has at most 120 characters"),
        ({"ca_path": "/nowhere/ca.pem"}, "ca_path: cannot read /nowhere/ca.pem"),
        ({"channels": [{"mail": MAIL}], "ca_path": "/dev/null"}, "ca_path: /dev/null holds no certificate"),
        ({"timeout": 0}, "timeout: it must be more than 0 seconds"),
        ({"results": "SECRETzq7"}, "results"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError) as caught:
        _edge.validated("alerts", {"dsn": NOWHERE, "results": [], "channels": [{"webhook": WEBHOOK}], **options})
    assert said in str(caught.value)
    assert "zq7" not in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    wrong = {"mail": {**MAIL, "to": ["x"], "from": "y", "port": 70000}}
    with pytest.raises(OptionError) as caught:
        _edge.validated("alerts", {"dsn": NOWHERE, "results": [], "channels": [wrong, {"mail": MAIL}], "remind": "x"})
    assert len(caught.value.errors) == 4


@pytest.mark.parametrize(
    "channels",
    [
        "https://hooks.example.com/SECRETzq7",
        ["SECRETzq7"],
        [{"webhook": "https://hooks.example.com/SECRETzq7"}],
        [{"webhook": {"uri": "SECRETzq7"}}],
        [{"webhook": {**WEBHOOK, "headers": ["SECRETzq7"]}}],
        [{"github": {**GITHUB, "tokne": "SECRETzq7"}}],
        [{"mail": {**MAIL, "password": {"x": "SECRETzq7"}}}],
        [{"slack": {"url": "SECRETzq7"}}],
    ],
)
def test_what_was_mistyped_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], channels: Any
) -> None:
    """A name that does not exist, or a text in the place of a mapping, has a secret in it as well."""
    shown = printed(module.main, monkeypatch, capsys, dsn=NOWHERE, results=[], channels=channels)
    assert '"failed": true' in shown
    assert "zq7" not in shown
    with pytest.raises(OptionError) as caught:
        _edge.validated("alerts", {"dsn": NOWHERE, "results": [], "channels": channels})
    assert "zq7" not in str(caught.value)
