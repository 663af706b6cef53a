"""The table of `make bench-gpu`: what each side measures, on the CPU and on a stand-in for CuPy in small."""

import itertools
import json
import math
import sys
from types import SimpleNamespace

import feeding
import gpu_cases
import gpu_kernels
import gpu_ours
import gpu_timing
import measured_deconvnet
import numpy as np
import pytest
import stand_in_cupy

from deconvnet.core import kernels

CASES = gpu_cases.kernel_cases(1, 32)
SMALL = ["--size", "32", "--batch", "1", "--seconds", "0"]


class Counted(gpu_timing.Cpu):
    """A device on which every event is a second after the one before, with a small cache; what is asked of it is kept."""

    l2_bytes = 1000

    def __init__(self):
        self._clock, self.held = itertools.count(), []

    def event(self):
        return next(self._clock)

    def hold(self, seconds):
        self.held.append(seconds)


def rows(capsys):
    """What was printed since the last call."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def run(monkeypatch, capsys, worker, *arguments):
    for number in ("GROUP", "FEWEST_CALLS"):  # what is looked at are the rows, not their times
        monkeypatch.setattr(gpu_timing, number, 2)
    monkeypatch.setattr(gpu_ours, "gc", SimpleNamespace(collect=lambda: None))  # of all that the tests before have left
    monkeypatch.setattr(sys, "argv", ["worker.py", *arguments, *SMALL])
    worker.main()
    return rows(capsys)


# ---------------------------------------------------------------------------------------------------------------- the cases


@pytest.mark.parametrize("size", [32, 64])
def test_the_parameters_that_the_update_is_timed_over_are_those_of_the_net(size):
    solver = measured_deconvnet.training_solver(1, size)
    assert sum(parameter.blob.count for parameter in solver.net.learnable) == gpu_cases.parameters_of_net(size)


def test_the_maps_are_those_that_the_net_pools():
    net = measured_deconvnet.inference_net(1, size=32, fill=False)
    pooled = [bottom[0].shape for layer, bottom, _ in net.connections() if layer.param.type == "Pooling"]
    assert [case.shape for case in CASES if case.name == "max pool with switches"] == pooled


def test_every_map_is_read_and_written_at_least_once():
    for case in gpu_cases.map_cases(2, 32):
        assert case.bytes >= 3 * math.prod(case.shape)  # of four bytes; unpooling's gradient touches a quarter, thrice


def test_both_sides_measure_every_case(monkeypatch, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed here")
    import gpu_peer

    ours = {
        (row.get("name"), row.get("level")) for row in run(monkeypatch, capsys, gpu_ours, "kernels", "--device", "cpu")
    }
    peer = run(monkeypatch, capsys, gpu_peer, "kernels", "--device", "cpu")
    assert {(row.get("name"), row.get("level")) for row in peer} == ours
    assert [row for row in peer if "error" in row] == []


# ----------------------------------------------------------------------------------------------------------- how it is timed


def test_calls_take_turns_over_arrays_of_their_own_while_the_device_is_kept_busy():
    device, calls = Counted(), []
    found = gpu_timing.time_calls(device, [lambda n=n: calls.append(n) for n in range(3)], seconds=1e-9)
    assert found == {"ms": 1000, "quarters_ms": [1000, 1000], "calls": gpu_timing.FEWEST_CALLS}
    assert calls[:6] == [0, 1, 2] * 2 and abs(calls.count(0) - calls.count(2)) <= 1
    assert device.held and all(seconds >= 0 for seconds in device.held)


def test_the_middle_one_of_many_calls_counts():
    assert gpu_timing.spread([5, 1, 2, 3, 90])["ms"] == 3000


@pytest.mark.parametrize("needed, sets", [(1, 32), (1000, 3), (2999, 2), (3000, 1), (10**9, 1)])
def test_so_many_sets_take_turns_that_the_cache_cannot_hold_them(needed, sets):
    assert gpu_timing.sets_to_rotate(needed, l2_bytes=1000) == sets


def test_each_set_has_arrays_of_its_own_and_they_are_let_go_after_the_case():
    made, released = [], []
    case = gpu_cases.Case("x", 1, 1, 1, 1, bytes=1500)
    (row,) = gpu_timing.time_cases(
        Counted(), [case], {"x": lambda case: made.append(case) or (lambda: None)}, "m", 0, lambda: released.append(1)
    )
    assert len(made) == 2 and released == [1] and row["ms"] > 0 and row["mode"] == "m"


def test_a_case_that_fails_becomes_a_row_that_says_why_and_the_others_follow():
    def fail(case):
        raise RuntimeError("no\n  kernel")

    cases = [gpu_cases.Case(name, 1, 1, 1, 1, 10**6) for name in ("a", "b", "unknown")]
    first, second = gpu_timing.time_cases(
        Counted(), cases, {"a": fail, "b": lambda case: lambda: None}, "m", 0, lambda: None
    )
    assert first["error"] == "RuntimeError: no kernel" and "ms" not in first
    assert second["name"] == "b" and second["ms"] > 0


# ------------------------------------------------------------------------------------------------------------------- ours


def test_every_kernel_has_a_row_on_a_cpu(monkeypatch, capsys):
    about, copy, product, *found = run(monkeypatch, capsys, gpu_ours, "kernels", "--device", "cpu")
    assert about["part"] == "about" and copy["gb_s"] > 0 and product["tflop_s"] > 0
    assert [(row["name"], row["level"]) for row in found] == [(case.name, case.level) for case in CASES]
    assert [row for row in found if "error" in row] == []


@pytest.mark.parametrize("what", ["nets", "memory"])
@pytest.mark.parametrize("mode", ["cpu", "gpu"])
def test_whole_nets_run_and_what_a_training_takes_is_what_was_predicted(monkeypatch, capsys, mode, what):
    if mode == "gpu":
        stand_in_cupy.install(monkeypatch)
    found = run(monkeypatch, capsys, gpu_ours, what, "--device", mode, "--nets", "forward:2,image:3,training:2")
    kernels.set_mode("cpu")
    about, *measured = found
    assert [row["work"] for row in measured] == (
        ["forward", "image", "training"] if what == "nets" else ["stage 2 with its test net"]
    )
    assert [row for row in measured if "error" in row] == []
    if mode == "gpu":
        assert (about["device"], about["cuda"]) == ("a device that is not there", "12.9")
        assert measured[-1]["arrays_gb"] == pytest.approx(measured[-1]["predicted_gb"], rel=0.05)
        assert 0 < measured[-1]["arrays_gb"] <= measured[-1]["pool_gb"] * 1.01


def test_the_kernels_of_a_gpu_are_timed_by_its_events(monkeypatch, capsys):
    stand_in_cupy.install(monkeypatch)
    for module, name in ((gpu_kernels, "BASE"), (gpu_ours, "HELD"), (gpu_ours, "COPIED")):
        monkeypatch.setattr(module, name, 1 << 10)
    monkeypatch.setattr(gpu_ours, "PRODUCT", 16)
    wanted = {
        "relu",
        "softmax loss",
        "unpool",
        "deconvolution",
        "unpool + deconvolution",
        "batch norm + relu + max pool",
    }
    monkeypatch.setattr(gpu_ours, "kernel_cases", lambda *_: [case for case in CASES if case.name in wanted])
    about, copy, product, *found = run(monkeypatch, capsys, gpu_ours, "kernels")
    kernels.set_mode("cpu")
    assert copy["gb_s"] > 0 and product["tflop_s"] > 0
    assert {row["name"] for row in found} == wanted and [row for row in found if "error" in row] == []


def test_memory_is_watched_from_the_beginning_of_the_watch(monkeypatch):
    stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    cupy = kernels.array_module()
    before = cupy.zeros(1000, np.float32)
    with gpu_ours.watched_memory() as watch:
        first = cupy.zeros(256, np.float32)
        del before
        second = cupy.zeros(128, np.float32)
        del first
    kernels.set_mode("cpu")
    assert (watch.live, watch.peak) == (512, 1536) and second.size


def test_arrays_are_filled_to_the_end_with_what_was_drawn(monkeypatch):
    monkeypatch.setattr(gpu_kernels, "BASE", 8)
    array = gpu_kernels.Arrays()(3, 7)
    assert np.array_equal(array.ravel()[:8], array.ravel()[8:16]) and np.unique(array).size == 8


def test_a_precision_that_the_engine_lacks_is_told_in_a_row(monkeypatch, capsys):
    def fail(*_, precision):
        raise TypeError(f"no {precision}")

    monkeypatch.setattr(gpu_ours.measured, "inference_net", lambda *_, **options: fail(precision=options["precision"]))
    *_, row = run(
        monkeypatch, capsys, gpu_ours, "nets", "--device", "cpu", "--precision", "tf32", "--nets", "forward:1"
    )
    assert row == {"part": "net", "mode": "tf32", "work": "forward", "batch": 1, "error": "TypeError: no TF32"}


# ---------------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("options", [[], ["--layout", "channels_last"], ["--precision", "bfloat16"]])
def test_the_peers_nets_run_in_each_way(monkeypatch, capsys, options):
    pytest.importorskip("torch", reason="PyTorch is not installed here")
    import gpu_peer

    about, *found = run(
        monkeypatch, capsys, gpu_peer, "nets", "--device", "cpu", "--nets", "forward:1,image:2,training:2", *options
    )
    assert about["torch"] and [row for row in found if "error" in row] == []
    assert [row["mode"].split()[0] for row in found] == ["channels_last" if "--layout" in options else "eager"] * 3


def test_an_image_goes_the_same_way_on_both_sides(monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
    import gpu_peer

    seen = []

    def scored(windows):
        seen.append(windows)
        return windows[:, :1].repeat(1, gpu_cases.CLASSES, 1, 1)

    monkeypatch.setattr(torch.Tensor, "argmax", lambda canvas, axis: seen.append(canvas) or canvas[0])
    photo = np.random.default_rng(0).integers(0, 256, (*gpu_cases.PHOTO, 3), dtype=np.uint8)
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.from_numpy(photo))
    gpu_peer.image_step(scored, 5, 64, "cpu")()
    windows, canvas = (tensor.numpy() for tensor in seen)
    boxes = gpu_cases.proposals(5)
    ours = np.full_like(windows, np.nan)
    kernels.resize_windows(photo, kernels.window_taps(boxes, (64, 64), ours), np.zeros(3, np.float32), 1.0, ours)
    np.testing.assert_allclose(
        ours[..., 1:-1, 1:-1], windows[..., 1:-1, 1:-1], atol=1e-3
    )  # at the border theirs has no mirror
    merged = gpu_ours.inference.merge_scores(boxes, windows[:, :1], gpu_cases.PHOTO)
    np.testing.assert_allclose(merged[0], canvas[0], atol=1e-2)


def test_a_net_that_fails_in_pytorch_becomes_a_row(monkeypatch, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed here")
    import gpu_peer

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_peer, "DeconvNet", fail)
    *_, row = run(monkeypatch, capsys, gpu_peer, "nets", "--device", "cpu", "--nets", "forward:1")
    assert row["error"] == "RuntimeError: out of memory"


def test_the_workers_take_the_nets_of_the_issue_unless_others_are_asked_for():
    from gpu_worker import nets_of

    assert nets_of(SimpleNamespace(nets="")) == list(gpu_cases.NETS)
    assert nets_of(SimpleNamespace(nets="forward:1,training:8")) == [("forward", 1), ("training", 8)]


# ---------------------------------------------------------------------------------------------------------------- feeding


def test_the_data_layer_is_timed_by_the_number_of_its_threads(monkeypatch, capsys):
    monkeypatch.setattr(feeding, "FILES", 2)
    monkeypatch.setattr(sys, "argv", ["feeding.py", "--seconds", "0.01", "--images", "20"])
    feeding.main()
    found = rows(capsys)
    assert [row["workers"] for row in found[:2]] == [1, 2] and all(row["images_s"] > 0 for row in found)


def test_the_windows_of_the_fed_images_lie_inside_them(tmp_path):
    feeding.write_images(tmp_path, 30)
    for line in (tmp_path / "list.txt").read_text().splitlines():
        image, label, x1, y1, x2, y2 = line.split()
        assert (tmp_path / image[1:]).exists() and (tmp_path / label[1:]).exists()
        assert 0 <= int(x1) < int(x2) < feeding.WIDTH and 0 <= int(y1) < int(y2) < feeding.HEIGHT
