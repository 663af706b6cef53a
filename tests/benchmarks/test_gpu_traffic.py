"""What kernels ask of a GPU's memory, counted on the machine that runs their PTX."""

import gpu_traffic
import nvrtc
import pytest


@pytest.fixture(scope="module")
def rows():
    return gpu_traffic.count()


@pytest.fixture(scope="module")
def products():
    return gpu_traffic.count_products()


def test_the_page_shows_what_is_counted(rows, products):
    version, page = nvrtc.Nvrtc().version(), gpu_traffic.PAGE.read_text()
    if f"NVRTC {version}, {gpu_traffic.ARCHITECTURE}" not in page:
        pytest.skip(f"docs/kernels.md was written by another NVRTC than {version}")
    told = "the kernels have changed: python benchmarks/gpu_traffic.py --render"
    assert gpu_traffic.page_with(rows, products, version, page) == page, told


def test_no_launch_reads_or_writes_what_its_case_does_not_need(rows):
    """Beyond the compulsory bytes: batch norm reads its input twice, and pooling behind it the map between them; the loss reads the
    probabilities that it has just written; sectors are 32 bytes."""
    twice = {
        "batch norm": 1.5,
        "batch norm + relu": 1.5,
        "batch norm backward": 5 / 3,
        "batch norm + relu backward": 5 / 3,
    }
    most = {**twice, "batch norm + relu + max pool": 3, "unpool backward": 2, "softmax loss": 1.5, "accuracy": 1.05}
    assert [row for row in rows if row.touched > most.get(row.name, 1) + 0.04] == []


def test_warps_ask_for_whole_sectors_once(rows):
    """On large maps a warp's neighbours read neighbours: what is asked for is what is touched, and one more reading for the moments."""
    beyond = {row.name: row.asked - row.touched for row in rows if row.side == 224}
    moments = {"batch norm": 0.5, "batch norm + relu": 0.5, "batch norm + relu + max pool": 1}
    assert {name: share for name, share in beyond.items() if share > moments.get(name, 0) + 0.25} == {}


def test_fragments_of_a_product_meet_no_conflict_in_shared_memory(products):
    assert [one for one in products if one.passes > 1.1] == []
