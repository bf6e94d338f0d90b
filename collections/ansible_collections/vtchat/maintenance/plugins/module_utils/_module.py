# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""AnsibleModule as our modules need it: nothing that may be a secret is shown, whatever name it was given."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ._clean import clean
from ._errors import MaintenanceError, OptionError

SHORTEST = 4
HIDDEN = "VALUE_OF_AN_UNKNOWN_OPTION"


def register(secrets: Iterable[str]) -> None:
    """Tell Ansible itself of secrets, where it can be told (ansible-core 2.22 and later): it masks them in all that it shows.

    Wherever they stand, so short ones would make everything unreadable.
    """
    try:
        from ansible.module_utils.secrets import register_secrets  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return
    register_secrets(sorted(secret for secret in secrets if len(secret) >= SHORTEST))


class Module(AnsibleModule):
    """AnsibleModule that shows no value of an option it does not know, and that masks warnings like results."""

    def _load_params(self) -> None:
        super()._load_params()
        known = {
            *self.argument_spec,
            *(name for spec in self.argument_spec.values() for name in spec.get("aliases", ())),
        }
        for name in self.params:
            # Ansible repeats all options with -vvv, and a mistyped one has no no_log.
            if name not in known and not str(name).startswith("_ansible_"):
                self.params[name] = HIDDEN

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """As usual; a missing option is told with the variables of the environment that may hold it."""
        if msg.startswith("missing required arguments:"):
            for option in sorted(set(re.findall(r"\w+", msg.partition(":")[2])) & set(self.argument_spec)):
                fallback = self.argument_spec[option].get("fallback")
                msg += f"; {option} may come from the environment as {' or '.join(fallback[1])}" if fallback else ""
        super().fail_json(msg, **result)

    def hide(self, secrets: Iterable[str]) -> None:
        """Have these strings masked in everything that the module says."""
        secrets = set(filter(None, secrets))
        self.no_log_values.update(secrets)
        register(secrets)

    def finish(self, result: Mapping[str, Any]) -> NoReturn:
        """Return a result: failed where it says so, its warnings apart."""
        told = dict(result)
        for warning in told.pop("warnings", []):
            self.warn(self.shown(warning))
        if told.get("failed"):
            self.fail_json(**told)
        self.exit_json(**told)

    def shown(self, text: str) -> str:
        """A text as it may reach a terminal: without secrets, without control characters."""
        for secret in sorted((str(value) for value in self.no_log_values), key=len, reverse=True):
            text = text.replace(secret, "********")
        return clean(text)


def unexpected(error: Exception) -> str:
    """A fault of ours in one sentence: its kind and place. Its own words may hold what nobody is to see."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.filename.rpartition('/')[2]}, line {where.lineno}"
    return f"this is a fault of the module: {type(error).__name__} in {place}; what was done before it stays done"


def serve(
    spec: dict[str, Any],
    masked: Callable[[Mapping[str, Any], set[str]], set[str]],
    perform: Callable[[Mapping[str, Any], bool], dict[str, Any]],
) -> NoReturn:
    """The whole of a module for secrets of a service. ``masked``: what must never be shown, given what Ansible masks already."""
    module = Module(argument_spec=spec, supports_check_mode=True)
    parameters = dict(module.params)
    module.no_log_values = masked(parameters, module.no_log_values)
    register(module.no_log_values)
    # Ansible repeats the options, and masks the values of a mapping only: somebody may have mixed up names and values.
    module.params["secrets"] = None
    try:
        result = perform(parameters, module.check_mode)
    except OptionError as error:
        result = {"failed": True, "msg": str(error), "errors": error.errors}
    except MaintenanceError as error:
        result = {"failed": True, "msg": str(error)}
    except Exception as error:  # a traceback would show what it is about, secrets included
        result = {"failed": True, "msg": unexpected(error)}
    if not module._diff:
        result.pop("diff", None)
    # Not inside except: Ansible would add the traceback, with the words of the exception.
    module.finish(result)
