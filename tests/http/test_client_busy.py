"""brainenc predict --server: servers that are busy or slow, and several requests at a time."""
import time

import numpy as np
import pytest

from client_support import SYSTEM, TOOL, Fake, on, raw, run_both
from support import PATIENCE, in_parallel


@pytest.mark.parametrize("status", ["503 Service Unavailable", "504 Gateway Timeout"])
def test_a_busy_server_is_asked_again_after_the_time_it_names(demo_daemon, demo_model, small, status, tmp_path):
    seen = []

    def busy(answer):
        seen.append(time.monotonic())
        return raw(b"{}", status=status, more="Retry-After: 1\r\n") if len(seen) < 2 else answer
    with Fake(demo_daemon, on("/predict", busy)) as fake:
        here, there = run_both(tmp_path, [small[0]], demo_model, ["--server", fake.address], output="out.npy")
    assert here == there and len(seen) == 2 and seen[1] - seen[0] >= 0.99


def test_a_server_that_stays_busy_is_given_up(picture, demo_daemon):
    message = b'{"error": {"code": "busy", "message": "the queue is full"}}'

    def check(wait, most):
        started = time.monotonic()
        with Fake(demo_daemon, on("/predict", lambda _: raw(message, status="503 x", more=wait))) as fake:
            sentence = TOOL.refuses(SYSTEM, *picture, "--server", fake.address, "--timeout", "3")
        assert sentence == f"brainenc: {fake.address}: the queue is full" and time.monotonic() - started < PATIENCE / 2
        assert 1 <= len([path for _, path in fake.asked if path.startswith("/predict")]) <= most
    waits = {"": 3, "Retry-After: 1\r\n": 3, "Retry-After: 0\r\n": 3, "Retry-After: -5\r\n": 3, "Retry-After: soon\r\n": 3,
             "Retry-After: 7\r\n": 1, "Retry-After: 1000000000\r\n": 1}
    in_parallel([lambda wait=wait, most=most: check(wait, most) for wait, most in waits.items()], len(waits))


def test_several_requests_at_a_time_and_results_in_order(demo_daemon, demo_model, small, tmp_path):
    pauses = iter(np.random.default_rng(1).permutation(40) / 100)

    def late(answer):
        time.sleep(next(pauses))
        return answer
    with Fake(demo_daemon, on("/predict", late)) as fake:
        here, there = run_both(tmp_path, small, demo_model, ["--server", fake.address], "--fit", "native", output="out.npy")
        assert here == there and 2 <= fake.most <= 8
        assert len([path for _, path in fake.asked if path.startswith("/predict")]) == len(small)
