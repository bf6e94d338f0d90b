# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, fingerprints, the decision, and the file of fingerprints: no network."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import MaintenanceError, OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._services import known_values
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.known_values import Place, Record
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.named_values import (
    Rules,
    plain_names,
    read_names,
    read_values,
    secret_texts,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._services.record_file import FileRecords

KEY = "k" * 32
PLACE = Place("github", "o/r", "repository")
RULES = Rules(value_bytes=10, reserved=("GITHUB_",))


def test_a_fingerprint_is_bound_to_everything() -> None:
    plain = known_values.fingerprint(KEY, PLACE, "NAME", "value")
    others = {
        known_values.fingerprint("x" * 32, PLACE, "NAME", "value"),
        known_values.fingerprint(KEY, Place("fly", "o/r", "repository"), "NAME", "value"),
        known_values.fingerprint(KEY, Place("github", "o/r2", "repository"), "NAME", "value"),
        known_values.fingerprint(KEY, Place("github", "o/r", "environment e"), "NAME", "value"),
        known_values.fingerprint(KEY, PLACE, "NAME2", "value"),
        known_values.fingerprint(KEY, PLACE, "NAME", "value2"),
        # The same characters, divided in another way.
        known_values.fingerprint(KEY, PLACE, "NAMEv", "alue"),
    }
    assert plain == known_values.fingerprint(KEY, PLACE, "NAME", "value")
    assert len(others | {plain}) == 8


def test_a_record_survives_its_text() -> None:
    record = Record("0123abcd", "mac_-=", "2026-01-01T00:00:00Z")
    assert known_values.read_record(record.text()) == record
    for text in ("", "v1:a:b", "v2:a:b:c", "something else"):
        assert known_values.read_record(text) is None


@pytest.mark.parametrize(
    ("basis", "known", "kept", "verb", "reason"),
    [
        ("fingerprint", None, None, "create", "not there yet"),
        ("fingerprint", None, ("value", "t1"), "create", "not there yet"),
        ("fingerprint", "t1", ("value", "t1"), "keep", "nobody has written since"),
        ("fingerprint", "t1", None, "update", "no fingerprint"),
        ("fingerprint", "t2", ("value", "t1"), "update", "drift"),
        ("fingerprint", "t1", ("other", "t1"), "update", "another one"),
        ("fingerprint", "t2", ("other", "t1"), "update", "another one"),
        ("presence", "t1", None, "keep", "not compared"),
        ("presence", None, None, "create", "not there yet"),
        ("always", "t1", ("value", "t1"), "update", "always"),
    ],
)
def test_decide(basis: str, known: str | None, kept: tuple[str, str] | None, verb: str, reason: str) -> None:
    judge = known_values.judge(basis, KEY, PLACE)
    records = {"NAME": judge.record("NAME", *kept) if kept else None}
    if kept and basis != "fingerprint":
        records = {"NAME": known_values.judge("fingerprint", KEY, PLACE).record("NAME", *kept)}
    (change,) = known_values.decide_values({"NAME": "value"}, {"NAME": known} if known else {}, records, judge)
    assert (change.name, change.verb) == ("NAME", verb)
    assert reason in change.reason


def test_a_record_of_another_key_or_name_is_no_proof() -> None:
    judge = known_values.judge(None, KEY, PLACE)
    for record in (
        known_values.judge(None, "x" * 32, PLACE).record("NAME", "value", "t1"),
        judge.record("OTHER", "value", "t1"),
        known_values.judge(None, KEY, Place("github", "o/other", "repository")).record("NAME", "value", "t1"),
    ):
        (change,) = known_values.decide_values({"NAME": "value"}, {"NAME": "t1"}, {"NAME": record}, judge)
        assert change.verb == "update"


def test_the_basis_that_follows_from_the_key() -> None:
    assert known_values.judge(None, KEY, PLACE).basis == "fingerprint"
    assert known_values.judge(None, None, PLACE).basis == "always"
    for key in (None, "", "k" * 31):
        with pytest.raises(OptionError, match="at least 32 bytes"):
            known_values.judge("fingerprint", key, PLACE)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "É", "A\n", "github_x", 1, None])
def test_names_that_are_refused(name: object) -> None:
    faults = read_values("secrets", {name: "v"}, RULES).faults
    assert len(faults) == 1


@pytest.mark.parametrize("value", ["", "12345678901", "éééééé", 1, True, None, ["a"], "\ud800"])
def test_values_that_are_refused_and_not_repeated(value: object) -> None:
    faults = read_values("secrets", {"NAME": value}, RULES).faults
    assert len(faults) == 1
    assert not value or str(value) not in faults[0].replace("bool", "").replace("10", "").replace("11", "")


def test_names_are_stored_in_upper_case_only_where_they_are_folded() -> None:
    folded = read_values("secrets", {"name": " v\n"}, RULES)
    assert (folded.values, folded.faults) == ({"NAME": " v\n"}, [])
    assert read_values("secrets", {"name": "v"}, Rules(10, fold=False)).values == {"name": "v"}
    assert read_values("secrets", {"name": "v", "NAME": "w"}, RULES).faults
    assert read_values("secrets", {"name": "v", "NAME": "w"}, Rules(10, fold=False)).names == ["name", "NAME"]


@pytest.mark.parametrize("given", [["a", "b"], {"a": "v", "b": None}])
def test_names_alone(given: object) -> None:
    assert read_names("secrets", given, RULES).values == {"A": "", "B": ""}


@pytest.mark.parametrize(
    ("given", "names_alone", "texts"),
    [
        ({"A": "one", "B": ["two", {"C": 3}], "no name": None}, False, {"one", "two", "3", "no name"}),
        (["ONE", "no name"], False, {"ONE", "no name"}),
        (["ONE", "no name"], True, {"no name"}),
        ({"ONE": "value"}, True, {"value"}),
        ("text", False, {"text"}),
        (None, True, set()),
    ],
)
def test_whatever_may_be_a_value_is_secret(given: object, names_alone: bool, texts: set[str]) -> None:
    assert set(secret_texts(given, RULES, names_alone)) == texts


def test_names_in_a_list_are_plain() -> None:
    assert plain_names(["one", "no name", 5], RULES) == ["one"]
    assert plain_names({"one": "value"}, RULES) == []


def test_the_file_keeps_places_apart_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    here, there = (FileRecords(str(path), Place("github", target, "repository")) for target in ("a/b", "a/bc"))
    assert here.load() == {}
    here.save("NAME", Record("k", "m", "s"))
    there.save("NAME", Record("k", "other", "s"))
    assert here.load() == {"NAME": Record("k", "m", "s")}
    here.save("NAME", None)
    assert here.load() == {}
    assert there.load() == {"NAME": Record("k", "other", "s")}
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["records.json"]


def test_a_missing_folder_is_made_and_an_impossible_one_is_told_before_anything_is_written(tmp_path: Path) -> None:
    records = FileRecords(str(tmp_path / "a/b/records.json"), PLACE)
    assert records.load() == {}
    assert os.listdir(tmp_path) == []
    records.save("NAME", Record("k", "m", "s"))
    assert set(records.load()) == {"NAME"}
    with pytest.raises(MaintenanceError, match="nothing can be written"):
        FileRecords(str(tmp_path / "a/b/records.json/c/records.json"), PLACE).load()


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"a": 1}'])
def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(MaintenanceError, match="fingerprint_file"):
        FileRecords(str(path), PLACE).save("NAME", Record("k", "m", "s"))
    assert path.read_text() == content


def test_a_file_that_others_may_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text("{}")
    path.chmod(0o604)
    with pytest.raises(MaintenanceError, match="chmod 600"):
        FileRecords(str(path), PLACE).load()


def _save_many(path: str, prefix: str) -> None:
    for number in range(20):
        FileRecords(path, PLACE).save(f"{prefix}{number}", Record("k", "m", "s"))


def test_two_runs_that_write_the_file_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "records.json")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_save_many, [path, path], "AB"))
    assert len(FileRecords(path, PLACE).load()) == 40
