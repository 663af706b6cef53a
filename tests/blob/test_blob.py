"""Blobs: memory that grows and keeps its identity, legacy axes, sharing."""

import numpy as np
import pytest
import stand_in_cupy
from arrays import host, put

from deconvnet.core import kernels
from deconvnet.core.blob import Blob, HostBlob


def test_a_blob_starts_at_zero(device):
    blob = Blob((2, 3))
    assert blob.count == 6 and blob.data.dtype == np.float32
    np.testing.assert_array_equal(host(blob.data), 0)
    np.testing.assert_array_equal(host(blob.diff), 0)


def test_values_keep_their_flat_order_between_shapes(device):
    blob = Blob((2, 3), np.float64)
    blob.host_data[...] = np.arange(6).reshape(2, 3)
    blob.reshape(3, 2)
    np.testing.assert_array_equal(blob.host_data, np.arange(6).reshape(3, 2))
    blob.reshape(4)
    np.testing.assert_array_equal(blob.host_data, np.arange(4))
    blob.reshape(2, 2, 2)
    np.testing.assert_array_equal(blob.host_data.ravel(), [*range(6), 0, 0])


def test_an_array_keeps_its_identity_while_the_blob_does_not_grow():
    blob = Blob((4, 4))
    view = blob.host_data
    blob.reshape(2, 2)
    blob.reshape(4, 4)
    view[3, 3] = 7
    assert blob.host_data[3, 3] == 7 and np.shares_memory(view, blob.host_data)


def test_no_sizes_and_zero_sizes(device):
    assert Blob(()).count == 1 and Blob(()).host_data.shape == ()
    assert Blob((0, 3)).count == 0 and Blob((0, 3)).data.shape == (0, 3)
    with pytest.raises(ValueError, match="cannot have the shape"):
        Blob((2, -1))


def test_what_the_host_writes_the_device_reads_and_back(device):
    """Whoever asks for an array may write to it: the side that was asked last is the truth."""
    blob = Blob((2, 2), np.float64)
    blob.host_data[...] = [[1, 2], [3, 4]]
    blob.data[...] *= 2
    np.testing.assert_array_equal(blob.host_data, [[2, 4], [6, 8]])
    blob.host_data[0, 0] = 5
    np.testing.assert_array_equal(host(blob.data), [[5, 4], [6, 8]])


def test_growing_keeps_what_either_side_wrote(device):
    blob = Blob((2,), np.float64)
    blob.data[...] = put(np.array([1.0, 2]))
    blob.reshape(4)
    np.testing.assert_array_equal(blob.host_data, [1, 2, 0, 0])
    blob.host_data[3] = 9
    blob.reshape(6)
    np.testing.assert_array_equal(host(blob.data), [1, 2, 0, 9, 0, 0])


def test_shrinking_on_one_side_loses_nothing_on_the_other(device):
    blob = Blob((4,), np.float64)
    blob.host_data[...] = [1, 2, 3, 4]
    blob.reshape(2)
    blob.data[...] *= 10
    blob.reshape(4)
    np.testing.assert_array_equal(blob.host_data, [10, 20, 3, 4])


def test_data_stays_on_the_host_when_the_mode_goes_back_to_the_cpu(device):
    blob = Blob((3,), np.float64)
    blob.data[...] = 4
    kernels.set_mode("cpu")
    np.testing.assert_array_equal(blob.data, 4)
    assert isinstance(blob.data, np.ndarray)


def test_shared_blobs_see_each_others_values_whatever_their_shapes(device):
    a, b = Blob((2, 3)), Blob((6,))
    b.share_data(a)
    a.host_data[...] = 5
    np.testing.assert_array_equal(b.host_data, np.full(6, 5))
    b.host_diff[...] = 1
    np.testing.assert_array_equal(a.host_diff, 0)
    b.share_diff(a)
    np.testing.assert_array_equal(b.host_diff, 0)
    a.reshape(4, 3)
    a.host_data[...] = 8
    np.testing.assert_array_equal(b.host_data, np.full(6, 8))


def test_python_sees_numpy_arrays_and_legacy_axes(device):
    blob = Blob((2, 3, 4, 5))
    seen = HostBlob(blob)
    seen.data[...] = 2
    seen.diff[...] = 3
    np.testing.assert_array_equal(host(blob.data), 2)
    np.testing.assert_array_equal(host(blob.diff), 3)
    assert (seen.num, seen.channels, seen.height, seen.width) == (2, 3, 4, 5) == seen.shape
    assert seen.count == 120 and repr(seen) == "Blob(2, 3, 4, 5)"
    seen.reshape(7, 2)
    assert (seen.num, seen.channels, seen.height, seen.width) == (7, 2, 1, 1) and blob.shape == (7, 2)


@pytest.mark.parametrize("sizes", [[2, 3], (2, 3), np.array([2, 3])])
def test_sizes_are_given_one_by_one(sizes):
    with pytest.raises(TypeError, match=r"reshape takes the sizes one by one, reshape\(1, 3, 224, 224\), not .*2, 3"):
        HostBlob(Blob()).reshape(sizes)


def test_legacy_axes_are_for_at_most_four():
    with pytest.raises(ValueError, match="at most four"):
        HostBlob(Blob((1, 2, 3, 4, 5))).num  # noqa: B018


def test_a_blob_beyond_the_machines_memory_is_refused_when_it_is_first_used():
    blob = Blob((1 << 20, 1 << 20, 1 << 20))
    with pytest.raises(MemoryError, match=r"4\.61e\+09 GB are more than the memory of this machine, \d"):
        blob.host_data  # noqa: B018


def test_what_is_filled_on_the_host_becomes_the_truth(device):
    blob = Blob((2, 3), np.float64)
    blob.data[...] = 7
    blob.host_data_to_fill[...] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(host(blob.data), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(blob.host_data, np.arange(6).reshape(2, 3))


def test_who_only_reads_leaves_the_truth_where_it_is(device):
    blob = Blob((3,), np.float64)
    blob.data[...] = 7
    np.testing.assert_array_equal(blob.fetched_data, 7)
    blob.data[...] *= 2
    np.testing.assert_array_equal(blob.fetched_data, 14)
    blob.host_data[0] = 1
    np.testing.assert_array_equal(blob.fetched_data, [1, 14, 14])
    np.testing.assert_array_equal(host(blob.data), [1, 14, 14])


@pytest.fixture
def record(monkeypatch):
    """What happens on a stand-in for a GPU, which computes until the test ends."""
    kept = stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    return kept


def test_what_is_filled_or_fetched_pass_after_pass_lies_in_page_locked_memory(record):
    filled, fetched, weights = (Blob((5,)) for _ in range(3))
    filled.host_data_to_fill[...] = 1
    fetched.data[...] = 2
    assert fetched.fetched_data.tolist() == [2] * 5
    weights.host_data[...] = 3
    assert record.page_locked == [20, 20]
    filled.reshape(7)
    assert filled.host_data_to_fill.tolist() == [1] * 5 + [0, 0] and record.page_locked[2:] == [28]


def test_page_locked_memory_is_not_written_again_before_the_gpu_has_read_it(record):
    blob = Blob((5,))
    for waited in range(3):
        blob.host_data_to_fill[...] = waited
        assert record.waited == waited
        assert host(blob.data).tolist() == [waited] * 5


def test_where_the_system_locks_no_more_memory_other_memory_serves(record, monkeypatch):
    def refuse(size):
        raise stand_in_cupy.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(kernels.array_module().cuda, "alloc_pinned_memory", refuse)
    blob = Blob((5,))
    for value in range(2):
        blob.host_data_to_fill[...] = value
        assert host(blob.data).tolist() == [value] * 5
    assert record.waited == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 1000, 1_000_003])
def test_host_memory_starts_at_a_cache_line(dtype, count):
    like = np.zeros(1, dtype)
    for array in (Blob((count,), dtype).host_data, kernels.device.workspace(like, count, f"alignment of {count}")):
        assert array.ctypes.data % 64 == 0 and array.shape == (count,) and array.dtype == dtype
        assert not array.any()
