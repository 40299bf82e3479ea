"""The same request gives the same bits, whatever else is asked at the same time."""
import random

import pytest

from support import decode_png, form, in_parallel, noise, npy, picture, scaled

BODIES = [({}, picture("a_425")), ({}, picture("b_425")), ({}, noise(1)), ({}, noise(2, 90, 40)), form(noise(3), picture("a_425")),
          ({}, npy(decode_png(noise(4))))]
PATHS = ["/predict?format=npy", "/predict?format=npy&subject=demo", "/predict?format=npy&fit=pad",
         "/predict?format=npy&rois=FBA,PPA",
         "/attention?roi=FBA&hemi=lh", "/attention?roi=all&format=npy", "/attention?roi=V1v&heads=all&subject=demo"]


def requests():
    """Those that one image and several may ask."""
    return [(path, headers, body) for path in PATHS for headers, body in BODIES
            if not (headers and path.startswith("/attention") and "format=npy" in path)]


def test_eight_clients_get_what_one_gets(golden_daemon):
    wanted = requests()
    alone = [golden_daemon.post(path, body, headers).body for path, headers, body in wanted]

    def client(seed):
        order = random.Random(seed).sample(range(len(wanted)), scaled(len(wanted) // 2))
        return [(i, golden_daemon.post(wanted[i][0], wanted[i][2], wanted[i][1]).body) for i in order]
    for answers in in_parallel([lambda seed=seed: client(seed) for seed in range(8)], 8):
        assert [i for i, body in answers if body != alone[i]] == []
    assert golden_daemon.count("batch_images_total") > golden_daemon.count("batches_total")


@pytest.mark.parametrize("compute", [{"threads": 1}, {"threads": 2, "batch": {"max": 1}}, {"batch": {"max": 16, "wait_ms": 20}}],
                         ids=str)
def test_threads_and_batches_do_not_matter(golden_daemon, golden_settings, start, compute):
    daemon = start(**golden_settings, compute=compute)
    wanted = requests()[::5]
    want = [golden_daemon.post(path, body, headers).body for path, headers, body in wanted]
    found = in_parallel([lambda one=one: daemon.post(one[0], one[2], one[1]).body for one in wanted], 6)
    assert found == want


def test_a_batch_waits_for_others(start):
    daemon = start(compute={"batch": {"max": 8, "wait_ms": 2000}})
    in_parallel([lambda seed=seed: daemon.post("/predict?output=rois", noise(seed)) for seed in range(8)], 8)
    assert daemon.count("batches_total") <= 2 and daemon.count("images_total") == 8
