# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The options of the module alerts, and the channels made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import OptionError
from .._masking import NOTHING, Hidden, hide
from .._services import options
from .._services.http import Network
from .._services.http_faults import check_roots
from .._spec import Spec
from . import webhook
from .conditions import LONGEST_NAME
from .formats import FORMATS
from .issues import Issues
from .mail import PORTS, Mail
from .notice import Channel
from .webhook import Webhook

# Seconds after which a channel has had its time, however slowly it answers.
LONGEST = 180.0
KINDS = ("github", "webhook", "mail")
ONE_OF = [list(KINDS)]

_GITHUB = {
    "repository": {"type": "str", "required": True},
    "token": options.GITHUB_TOKEN,
    "api_url": options.GITHUB_API,
    "labels": {"type": "list", "elements": "str", "default": ["database-maintenance"]},
    "assignees": {"type": "list", "elements": "str"},
}
_WEBHOOK = {
    "url": {"type": "str", "required": True, "no_log": True},
    "format": {"type": "str", "choices": list(FORMATS), "default": "json"},
    # Raw, because Ansible's own complaint about a wrong type would repeat the value.
    "headers": {"type": "raw", "no_log": True},
}
_MAIL = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "to": {"type": "list", "elements": "str", "required": True},
    "from": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "tls": {"type": "str", "choices": list(PORTS), "default": "starttls"},
}
CHANNELS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "github": {"type": "dict", "options": _GITHUB},
        "webhook": {"type": "dict", "options": _WEBHOOK},
        "mail": {"type": "dict", "options": _MAIL},
    },
    "mutually_exclusive": ONE_OF,
    "required_one_of": ONE_OF,
}
SPEC = Spec(
    {
        "results": {"type": "list", "elements": "dict", "required": True},
        "channels": CHANNELS,
        "name": {"type": "str"},
        "remind": {"type": "str", "default": "7d"},
        "link": {"type": "str"},
        "history": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "timeout": {"type": "int", "default": 10},
        "patience": {"type": "int", "default": 20},
    }
)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# What may stand in Markdown, in angle brackets and in JSON as it is.
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%\[\]-]+")


@dataclass(frozen=True)
class Wanted:
    """The options, read. remind: in seconds."""

    results: list[Mapping[str, Any]] = field(repr=False)
    channels: tuple[Channel, ...]
    name: str
    remind: float
    link: str
    history: bool
    hidden: Hidden = field(repr=False, default=NOTHING)


def read_wanted(parameters: Mapping[str, Any]) -> Wanted:
    """The options. Raises OptionError with every fault."""
    faults = options.seconds_faults(parameters)
    network, secrets = replace(options.network(parameters), deadline=LONGEST), _hidden(parameters["channels"])
    try:
        check_roots(network.ca_path)
    except OptionError as error:  # once, and not for each channel
        faults += error.errors
        network = replace(network, ca_path="")
    channels: list[Channel] = []
    for number, given in enumerate(parameters["channels"], 1):
        try:
            channels.append(_channel(given, network, secrets))
        except OptionError as error:
            faults += [f"channels[{number}].{fault}" for fault in error.errors]
    names = [channel.name for channel in channels]
    faults += [f"channels: {channel.label} is given twice" for number, channel in enumerate(channels)
               if channel.name in names[:number]]  # fmt: skip
    remind, link, name = parameters["remind"], parameters["link"] or "", parameters["name"] or ""
    seconds = re.fullmatch(r"([0-9]{1,6})\s*([smhdw])", remind.strip())
    if not seconds or not int(seconds[1]):
        faults.append("remind: write a number and a unit, such as 7d or 12h (s, m, h, d, w)")
    if link and not _LINK.fullmatch(link):
        faults.append(
            "link: it must be an address such as https://host/path; brackets, quotes and spaces are written as %xx"
        )
    if len(name) > LONGEST_NAME:
        faults.append(f"name: it has at most {LONGEST_NAME} characters")
    if faults or not seconds:
        raise OptionError(faults)
    every = int(seconds[1]) * _SECONDS[seconds[2]]
    return Wanted(parameters["results"], tuple(channels), name, every, link, parameters["history"], secrets)


def _channel(given: Mapping[str, Any], network: Network, secrets: Hidden) -> Channel:
    makers: dict[str, Callable[[Any, Network, Hidden], Channel]] = {"github": Issues, "webhook": Webhook, "mail": Mail}
    (kind,) = (kind for kind in KINDS if given.get(kind) is not None)
    return makers[kind](given[kind], network, secrets)


def _hidden(channels: list[Mapping[str, Any]]) -> Hidden:
    """What must not be shown of all channels."""
    found = NOTHING
    for one in channels:
        found |= webhook.hidden(one["webhook"]) if one.get("webhook") else NOTHING
        texts = [(one.get("github") or {}).get("token"), (one.get("mail") or {}).get("password")]
        found |= hide(
            secrets=[str(text) for text in texts[:1] if text], passwords=[str(text) for text in texts[1:] if text]
        )
    return found
