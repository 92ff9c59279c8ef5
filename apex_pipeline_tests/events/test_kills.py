"""Shippers killed with SIGKILL at random: each file is in the bucket once, in order, and in ``done/`` once."""

import json
from dataclasses import asdict

import pytest

from apex_pipeline_tests.events.harness import Harness
from apex_pipeline_tests.events.kill_harness import KillPlan, run_kills
from apex_pipeline_tests.servers.fault_proxy import FaultProxy


@pytest.mark.slow
def test_no_kill_loses_or_doubles_a_file(proxied: Harness, fault_proxy: FaultProxy) -> None:
    result = run_kills(proxied, fault_proxy, KillPlan(files=30, largest_bytes=20_000, kills=1))
    assert result.puts >= 30


@pytest.mark.soak
@pytest.mark.parametrize(
    "plan",
    [
        KillPlan(files=2000, largest_bytes=300_000, kills=20),
        KillPlan(files=2000, largest_bytes=300_000, kills=20, polls_only=True),
        KillPlan(files=2000, largest_bytes=300_000, kills=20, shippers=2),
    ],
    ids=["notifications", "listings only", "two shippers"],
)
def test_many_kills_lose_or_double_no_file(
    proxied: Harness, fault_proxy: FaultProxy, capsys: pytest.CaptureFixture[str], plan: KillPlan
) -> None:
    result = run_kills(proxied, fault_proxy, plan)
    with capsys.disabled():
        print(json.dumps(asdict(result)))  # noqa: T201  -- the figures in docs/events.md
