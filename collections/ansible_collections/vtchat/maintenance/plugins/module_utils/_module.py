# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""AnsibleModule as our modules need it: nothing that may be a secret is shown, whatever name it was given."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Protocol

from ansible.module_utils.basic import AnsibleModule

from ._clean import clean
from ._errors import MaintenanceError, OptionError
from ._masking import Hidden, hide
from ._result import Result, failure
from ._spec import Spec

SHORTEST = 4
HIDDEN = "VALUE_OF_AN_UNKNOWN_OPTION"


class Service(Protocol):
    """A file that performs the module of a service."""

    SPEC: Spec

    def hidden(self, parameters: Mapping[str, Any]) -> Hidden:
        """What must never be shown of these options, whatever is in them."""

    def read(self, parameters: Mapping[str, Any], hidden: Hidden) -> Any:
        """The request that ``perform`` takes. Raises OptionError with every fault; nothing is asked of the service."""

    def perform(self, request: Any, check: bool) -> Result:
        """Do it. Raises MaintenanceError before anything was changed."""


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
    """AnsibleModule that shows no spelling of a secret and no value of an unknown option, and masks warnings like results."""

    _spelt_out = False

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
            elif "options" in self.argument_spec.get(name, {}):
                self.params[name] = _without_unknown(self.params[name], self.argument_spec[name]["options"])

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """As usual; a missing option is told with the variables of the environment that may hold it."""
        if msg.startswith("missing required arguments:"):
            for option in sorted(set(re.findall(r"\w+", msg.partition(":")[2])) & set(self.argument_spec)):
                fallback = self.argument_spec[option].get("fallback")
                msg += f"; {option} may come from the environment as {' or '.join(fallback[1])}" if fallback else ""
        shown = self._scrubbed({"msg": msg, **result})
        super().fail_json(shown.pop("msg"), **shown)

    def exit_json(self, **result: Any) -> NoReturn:
        """As usual, without any spelling of a secret. Ansible alone would mask in no order, and leave the ends of longer ones."""
        super().exit_json(**self._scrubbed(result))

    def _scrubbed(self, result: Mapping[str, Any]) -> dict[str, Any]:
        self._spell_out()
        hidden = Hidden(frozenset(map(str, self.no_log_values)))
        return {name: hidden.scrub_data(value, names=False) for name, value in result.items()}

    def hide(self, hidden: Hidden) -> None:
        """Have this masked in everything that the module says. It is all that must be, so names are none of it."""
        self._spelt_out = True
        self.no_log_values = {text for text in self.no_log_values if text not in hidden.plain} | hidden.everywhere
        register(self.no_log_values)

    def _spell_out(self) -> None:
        """Ansible masks values of options that are secret as they are; their other spellings are masked too."""
        if not self._spelt_out:
            self._spelt_out = True
            self.no_log_values |= hide(map(str, self.no_log_values)).everywhere

    def finish(self, result: Mapping[str, Any]) -> NoReturn:
        """Return a result: failed where it says so, its warnings apart."""
        answer = dict(result)
        for warning in answer.pop("warnings", []):
            self.warn(self.shown(warning))
        if answer.get("failed"):
            self.fail_json(**answer)
        self.exit_json(**answer)

    def shown(self, text: str) -> str:
        """A text as it may reach a terminal: without secrets, without control characters."""
        self._spell_out()
        return clean(Hidden(frozenset(map(str, self.no_log_values))).scrub(text))


def _without_unknown(value: Any, options: Mapping[str, Any]) -> Any:
    """The same inside of an option: without values of what does not exist there, and without what is no mapping."""
    if isinstance(value, (list, tuple)):
        return [_without_unknown(one, options) for one in value]
    if not isinstance(value, Mapping):
        return value if value is None or _is_json(value) else HIDDEN
    shown = {}
    for name, one in value.items():
        inside = options[name].get("options") if name in options else None
        shown[name] = _without_unknown(one, inside) if inside else one if name in options else HIDDEN
    return shown


def _is_json(value: Any) -> bool:
    """Whether Ansible would read a text as a mapping or a list: the values in it have names."""
    try:
        return isinstance(json.loads(value), (Mapping, list))
    except (TypeError, ValueError):
        return False


def unexpected(error: Exception) -> str:
    """A fault of ours in one sentence: its kind and place. Its own words may hold what nobody is to see."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.filename.rpartition('/')[2]}, line {where.lineno}"
    return f"this is a fault of the module: {type(error).__name__} in {place}; what was done before it stays done"


def serve(name: str, service: Service) -> NoReturn:
    """The whole of a module that asks a service."""
    module = Module(supports_check_mode=True, **service.SPEC.arguments())
    parameters = dict(module.params)
    for option, spec in service.SPEC.options.items():
        # Ansible repeats the options, and masks the values of a mapping only: somebody may have mixed up names and values.
        if spec.get("no_log") and spec["type"] == "raw":
            module.params[option] = None
    result = answer(name, service, parameters, module.check_mode, module.hide)
    # Not inside except: Ansible would add the traceback, with the words of the exception.
    module.finish(result if module._diff else {**result, "diff": []})


def answer(
    name: str,
    service: Service,
    parameters: Mapping[str, Any],
    check: bool,
    mask: Callable[[Hidden], None],
) -> dict[str, Any]:
    """What the module returns, whatever happens. ``mask`` is told of every secret before anything is done with it."""
    plan = parameters.get("plan") or name
    try:
        hidden = service.hidden(parameters)
        mask(hidden)
        request = service.read(parameters, hidden)
        mask(request.hidden)
        return service.perform(request, check).as_dict()
    except OptionError as error:
        return failure(plan, str(error), error.errors)
    except MaintenanceError as error:
        return failure(plan, str(error))
    except Exception as error:  # a traceback would show what it is about, secrets included
        return failure(plan, unexpected(error))
