"""What NVRTC makes of the kernels for a GPU does what the host's do: the PTX is run, in the grids and blocks of a GPU, on the host.

And the machine that runs it notices what a GPU with its sanitizer on would notice.
"""

import kernel_calls
import numpy as np
import ptx
import pytest
import stand_in_cupy
from arrays import host
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels
from deconvnet.core.kernels import sources

CALLS = list(dict.fromkeys(kernel_calls.CALLS.values()))
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


@pytest.fixture(params=["compute_52", "compute_90"])
def record(request, monkeypatch):
    return stand_in_cupy.install(monkeypatch, architecture=request.param)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
def test_a_kernel_as_compiled_for_a_gpu_computes_what_the_host_computes(record, call, dtype):
    expected = [host(array) for array in call(dtype)]
    kernels.set_mode("gpu")
    found = [host(array) for array in call(dtype)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            one, other, rtol=0, atol=TOLERANCE[dtype] * max(1, np.nanmax(np.abs(other), initial=0))
        )


def run(body: str, architecture="compute_80", blocks=1, threads=64, size=64):
    """Run a kernel `void k(float* x, int n)` of that body over x = 0, 1, 2 ...; x afterwards."""
    text = ptx.compiled(f'extern "C" __global__ void k(float* x, int n) {{ {body} }}', "k.cu", architecture)
    x = np.arange(size, dtype=np.float32)
    arguments = np.uintp(x.ctypes.data), np.int32(size)
    ptx.program_in(text, "k").run(blocks, threads, arguments, [(x.ctypes.data, x.ctypes.data + x.nbytes)])
    return x


ROWS = """
#include "rows.h"
KERNEL(k, const real* x, real* y, real* sums, int rows, int n) {
  for_blocks(block, 1) {
    const Team team = team_of(rows, packs_in(n));
    for_rows(p, team, rows) {
      write_row(team, n, y + p * n, [](int i, real a, real b) { return 100 * a + b + i; }, x + p * n, y + p * n);
      real sum = 0;
      visit_row(team, n, [&](int i, real a) { sum += (i + 1) * a; }, x + p * n);
      sums[p * THREADS + team.first] = sum;
    }
  }
}
"""


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory):
    """A kernel that writes and visits rows of n values, and what it is to give, for arrays that begin `begin` values behind 16 bytes."""
    file = tmp_path_factory.mktemp("rows") / "k.cu"
    file.write_text(ROWS)
    text = ptx.compiled(sources.source_text(file), file.name, "compute_90", "-Dreal=float")
    program = ptx.program_in(text, "k")

    def run(rows, n, begins, threads):
        x, y = (np.zeros(rows * n + 8, np.float32) for _ in range(2))
        x, y = (
            array[(begin - array.ctypes.data // 4) % 4 :][: rows * n]
            for array, begin in zip((x, y), begins, strict=True)
        )
        x[...], y[...] = np.arange(rows * n) % 50, np.arange(rows * n) % 7
        expected = 100 * x + y + np.tile(np.arange(n, dtype=np.float32), rows)
        sums = np.zeros(rows * threads, np.float32)
        arrays = (x, y, sums)
        ranges = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]
        sizes = np.int32(rows), np.int32(n)
        program.run(1, threads, [*(np.uintp(array.ctypes.data) for array in arrays), *sizes], ranges)
        np.testing.assert_array_equal(y, expected)
        weighted = (x.reshape(rows, n) * np.arange(1, n + 1)).sum(axis=1)
        np.testing.assert_array_equal(sums.reshape(rows, threads).sum(axis=1), weighted)

    return run


@given(
    rows=st.integers(1, 40),
    n=st.integers(1, 150),
    begins=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    threads=st.sampled_from([32, 64, 256]),
)
def test_rows_are_written_and_visited_once_wherever_they_begin(rows_of, rows, n, begins, threads):
    """kernels/rows.h: by whole blocks and by teams, in packs where both arrays lie alike and singly where not."""
    rows_of(rows, n, begins, threads)


EXCHANGE = "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; {} x[threadIdx.x] = s[63 - threadIdx.x];"


def test_threads_of_a_block_exchange_values_behind_a_barrier():
    np.testing.assert_array_equal(run(EXCHANGE.format("__syncthreads();")), np.arange(64)[::-1])


@pytest.mark.parametrize(
    "body, said",
    [
        (EXCHANGE.format(""), "race: thread 0 of block 0 reads shared memory|race: thread .* of block 0 writes shared"),
        ("x[threadIdx.x / 2] = 1;", "race: thread 1 of block 0 writes global memory"),
        ("x[threadIdx.x + 1] = 1;", "thread 63 of block 0: 4 bytes of global memory at .* lie in no array"),
        ("if (n) x[-1] = 1;", "lie in no array"),
        ("*(float2*)(x + 1) = make_float2(1, 1);", "not aligned to 8 bytes"),
        ("if (threadIdx.x % 32 < 5) x[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 1);", "that lane 5 does not come to"),
        ("if (threadIdx.x < 32) __syncthreads(); x[threadIdx.x] = 0;", "thread 32 does not come to the barrier"),
        ("__shared__ float s[64]; s[n] = 1; __syncthreads(); x[threadIdx.x] = s[threadIdx.x];", "shared address 256 beyond"),
    ],
    ids=["no barrier", "one place", "behind", "before", "alignment", "part of a warp", "part of a block", "shared"],
)  # fmt: skip
def test_what_a_gpu_would_not_have_done_is_an_error(body, said):
    with pytest.raises(ptx.PtxError, match=said):
        run(body)


def test_blocks_may_not_touch_what_others_wrote():
    with pytest.raises(ptx.PtxError, match="race: thread 0 of block 1 writes global memory"):
        run("x[threadIdx.x] = blockIdx.x;", blocks=2)


def test_an_instruction_that_the_machine_does_not_know_is_named():
    with pytest.raises(ValueError, match=r"k: the machine does not know 'popc.b32"):
        run("x[threadIdx.x] = __popc(n);")


def test_float_arithmetic_is_that_of_the_architecture():
    """A fused product keeps the digits that a product and a sum lose, roundings are the ones asked for, and ties go where they go."""
    x = run(
        "if (threadIdx.x) return; const float e = 1.0f / (1 << 13) * n / 64; x[0] = __fmaf_rn(1 + e, 1 - e, -1.0f);"
        "x[1] = __fadd_rz(16777216.0f, n * 1.5f / 64); x[2] = fmaxf(x[3] * NAN_, 1.0f);".replace(
            "NAN_", "__int_as_float(0x7fc00000)"
        )
    )
    assert x[0] == -(2.0**-26) and x[1] == 16777216 and x[2] == 1


def test_tensor_cores_multiply_by_the_layout_of_the_fragments():
    """One m16n8k8 product of TF32 numbers: the matrix of lane numbers times a matrix that picks columns."""
    body = """
    const int l = threadIdx.x, g = l / 4, t = l % 4; unsigned a[4], b[2]; float c[4] = {0, 0, 0, 0};
    for (int r = 0; r < 4; ++r) a[r] = __float_as_uint(8.0f * (g + 8 * (r % 2)) + t + 4 * (r / 2));
    for (int r = 0; r < 2; ++r) b[r] = __float_as_uint(t + 4 * r == (g + 3) % 8 ? 1.0f : 0.0f);
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    for (int r = 0; r < 4; ++r) x[8 * (g + 8 * (r / 2)) + 2 * t + r % 2] = c[r];
    """
    left = np.arange(128).reshape(16, 8)
    np.testing.assert_array_equal(run(body, threads=32, size=128).reshape(16, 8), left[:, (np.arange(8) + 3) % 8])
