# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measurements in pairs, and how they are told."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ratio:
    """Median of the ratios of pairs, and the quartiles around it."""

    value: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        """The n-th of ``over`` was measured next to the n-th of ``under``."""
        ratios = [one / other for one, other in zip(over, under, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return cls(middle, low, high, len(ratios))

    def __str__(self) -> str:
        return f"{self.value:.3g} x ({self.low:.3g} to {self.high:.3g}, {self.pairs} pairs)"


@dataclass(frozen=True)
class Timing:
    """Seconds of a process with all its children: on the wall, and of processors."""

    wall: float
    cpu: float


@dataclass
class Report:
    """Prints lines as they come, and knows whether one was over its limit."""

    over: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def line(self, what: str, figures: str, ratio: Ratio | str = "") -> None:
        """A figure without a limit."""
        print(f"  {what:<46} {figures:<24} {ratio}".rstrip(), flush=True)

    def judge(self, what: str, figures: str, ratio: Ratio | None, limit: str, ok: bool) -> None:
        """A figure with a limit."""
        print(f"  {what:<46} {figures:<24} {ratio or ''}  limit {limit}  {'ok' if ok else 'OVER'}", flush=True)
        if not ok:
            self.over.append(what)

    def at_most(self, what: str, figures: str, ratio: Ratio, limit: float) -> None:
        self.judge(what, figures, ratio, f"<= {limit:g} x", ratio.value <= limit)

    def at_least(self, what: str, figures: str, ratio: Ratio, limit: float) -> None:
        self.judge(what, figures, ratio, f">= {limit:g} x", ratio.value >= limit)


def interleaved(rounds: int, **runs: Callable[[], Result]) -> dict[str, list[Result]]:
    """Results of each, in turn A B A B, after one turn that does not count."""
    results: dict[str, list[Result]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            result = run()
            if number:
                results[name].append(result)
    return results


def timed(command: Sequence[object], environment: Mapping[str, str], cwd: Path) -> Timing:
    """Run a program to its end. Raises RuntimeError with its output if it fails."""
    began = time.monotonic()
    with subprocess.Popen(
        list(map(str, command)), cwd=cwd, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        output = process.stdout.read()
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{output.decode(errors='replace')[-2000:]}")
    return Timing(time.monotonic() - began, usage.ru_utime + usage.ru_stime)


def median_ms(seconds: Sequence[float]) -> str:
    """Median as text in milliseconds."""
    return f"{statistics.median(seconds) * 1000:.3g} ms"
