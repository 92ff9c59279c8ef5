"""Leases in a bucket while replies are lost and the store cannot be reached."""

import pytest

from apex_pipeline.errors import LeaseLostError, StoreUnavailableError
from apex_pipeline.storage.leases import Lease, try_acquire
from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Fault, Request
from apex_pipeline_tests.storage.s3.fault_harness import FaultHarness

_NAME = "sebring/R1"


def _is_lease_write(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith("/.apex/leases/sebring/R1.json")


def _acquired(harness: FaultHarness) -> Lease:
    found = try_acquire(harness.store, _NAME, "deriving")
    assert isinstance(found, Lease)
    return found


@pytest.mark.parametrize("fault", [faults.lose_reply, faults.reset, faults.SLOW_DOWN])
def test_a_lease_is_acquired_renewed_and_released_although_replies_are_lost(
    fault_harness: FaultHarness, fault: Fault
) -> None:
    for _ in range(3):
        fault_harness.proxy.inject(fault, where=_is_lease_write, times=2)
    lease = _acquired(fault_harness)
    lease.renew()
    assert not isinstance(try_acquire(fault_harness.store, _NAME, "deriving"), Lease)
    lease.release()
    _acquired(fault_harness).require()


def test_a_renewal_whose_outcome_was_unknown_does_not_lose_the_lease(fault_harness: FaultHarness) -> None:
    lease = _acquired(fault_harness)
    fault_harness.proxy.inject(faults.lose_reply, where=_is_lease_write, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        lease.renew()
    fault_harness.proxy.heal()
    lease.renew()
    lease.require()
    assert fault_harness.store.write_if(".apex/leases/sebring/R1.json", b"{}", None) is None


def test_a_lease_that_was_deleted_is_lost(fault_harness: FaultHarness) -> None:
    lease = _acquired(fault_harness)
    fault_harness.store.delete(".apex/leases/sebring/R1.json")
    with pytest.raises(LeaseLostError):
        lease.renew()


def test_an_uncontended_lease_costs_three_requests(fault_harness: FaultHarness) -> None:
    assert fault_harness.store.has_conditional_writes
    before = len(fault_harness.proxy.requests)
    lease = _acquired(fault_harness)
    lease.require()
    lease.release()
    assert [request.method for request in fault_harness.proxy.requests[before:]] == ["GET", "PUT", "PUT"]
