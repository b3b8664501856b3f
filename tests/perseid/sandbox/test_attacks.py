"""Hostile programs end exactly as their headers say, whoever runs them and whatever the kernel allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.perseid.sandbox import corpus

RUN = Path(__file__).parent / "hostile_run.py"


def outcome(user: str, kernel: str, tier: str) -> dict[str, tuple[str, bool]]:
    """Name of every attack that did not end as expected or reached its aim: its status and whether it did."""
    command = [sys.executable, str(RUN), user, kernel, tier]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(finished.stdout)
    namespaces = report["capabilities"]["namespaces"]
    assert namespaces == (kernel == "whole")
    assert report["capabilities"]["uid"] not in (None, 0)
    wrong = {}
    for attack in corpus.load():
        status, breach, answered_by, error = report["results"][attack.name]
        if breach or status != attack.expected(namespaces, answered_by):
            wrong[attack.name] = (f"{status} ({error})", breach)
    return wrong


def assert_held(user: str, kernel: str, tier: str) -> None:
    assert outcome(user, kernel, tier) == {}


def test_the_corpus_has_at_least_eighty_attacks() -> None:
    assert len(corpus.load()) >= 80


def test_every_attack_is_held_with_both_layers() -> None:
    assert_held("present", "whole", "cpython")


@pytest.mark.slow
def test_every_attack_is_held_where_namespaces_are_refused() -> None:
    assert_held("present", "without-namespaces", "cpython")


@pytest.mark.slow
def test_every_attack_is_held_with_the_fast_tier_in_front() -> None:
    assert_held("present", "whole", "auto")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("kernel", ["whole", "without-namespaces"])
def test_every_attack_is_held_for_an_ordinary_user(kernel: str) -> None:
    assert_held("ordinary", kernel, "cpython")
