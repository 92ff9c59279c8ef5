"""The monthly bill: amounts multiplied by dated prices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.ops.cost import PRICE_DATE, Usage, after_free_usd, monthly_cost, total_usd

_AMOUNT = st.integers(0, 10**9)


def _usd(usage: Usage) -> float:
    return total_usd(monthly_cost(usage))


@pytest.mark.req("A-127", "A-158", "K-14")
def test_the_first_estimate_of_the_project_is_reproduced_from_its_inputs() -> None:
    # 3 GB cost about $0.07; 10,000 requests cost $0.004 if all of them read, and under $0.01 if 1,000 of them write.
    assert _usd(Usage(storage_gb=3)) == pytest.approx(0.069)
    assert _usd(Usage(gets=10_000)) == pytest.approx(0.004)
    assert _usd(Usage(gets=9_000, puts=1_000)) == pytest.approx(0.0086)
    assert 0.07 < _usd(Usage(storage_gb=3, gets=10_000)) < 0.10


@pytest.mark.req("A-127")
def test_only_usage_beyond_the_free_tier_is_charged() -> None:
    free = Usage(storage_gb=5, gets=20_000, puts=2_000)
    assert after_free_usd(monthly_cost(free)) == 0
    assert _usd(free) == pytest.approx(0.115 + 0.008 + 0.010)
    more = Usage(storage_gb=6, gets=21_000, puts=3_000)
    assert after_free_usd(monthly_cost(more)) == pytest.approx(0.023 + 0.0004 + 0.005)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(storage_gb=50 * 1024), 50 * 1024 * 0.023),
        (Usage(storage_gb=50 * 1024 + 10), 50 * 1024 * 0.023 + 10 * 0.022),
        (Usage(egress_gb=100), 0),
        (Usage(egress_gb=101), 0.09),
    ],
)
def test_each_price_applies_to_its_own_step(usage: Usage, usd: float) -> None:
    assert _usd(usage) == pytest.approx(usd)


@given(storage=_AMOUNT, gets=_AMOUNT, puts=_AMOUNT, egress=_AMOUNT)
def test_using_more_never_costs_less_and_the_free_tier_never_adds(
    storage: int, gets: int, puts: int, egress: int
) -> None:
    lines = monthly_cost(Usage(storage, puts, gets, egress))
    more = monthly_cost(Usage(storage + 1, puts + 1, gets + 1, egress + 1))
    assert all(after.usd >= before.usd for before, after in zip(lines, more, strict=True))
    assert all(0 <= line.after_free_usd <= line.usd for line in lines)


def test_prices_have_a_date() -> None:
    year, month = map(int, PRICE_DATE.split("-"))
    assert year >= 2026
    assert 1 <= month <= 12
