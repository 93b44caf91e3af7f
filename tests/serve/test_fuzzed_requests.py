"""Mutated requests are answered or refused, and never with the server's own error."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="serving needs the extra darklens[serve]")

from benchmarks.fuzz import Fuzzer
from benchmarks.fuzz_cases import MUTATIONS
from benchmarks.fuzz_guard import Guard
from benchmarks.fuzz_requests import REQUESTS, ServerError, settle


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    with Guard("benchmarks.fuzz_requests.REQUESTS") as guard:
        found = Fuzzer(tmp_path_factory.mktemp("requests"), guard, REQUESTS)
        for name, case in REQUESTS.items():
            assert found.whole(name).kind == ("refused" if case.refused else "read"), name
        yield found


@pytest.mark.slow
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(name=st.sampled_from(sorted(REQUESTS)), mutations=MUTATIONS)
def test_mutated_requests_are_answered_or_refused(fuzzer, name, mutations):
    verdict = fuzzer.broken(name, mutations)
    assert verdict.harmless, f"{verdict.kind}: {verdict.text}"


@pytest.mark.parametrize(("status", "text"), [(500, "oops"), (502, "{}"), (422, ""), (400, "Traceback (most recent call last)")])
def test_an_answer_that_is_the_servers_fault_is_found(status, text):
    class Response:
        status_code = status

    Response.text = text
    with pytest.raises(ServerError):
        settle(Response())
