"""Every kernel called on tiny shapes; also a program, so that a sanitizer's runtime can be loaded before Python:

    python tests/kernel_calls.py RESULTS.npz [--blocks N] [--dtypes float32,float64] [--only KERNEL] [--gpu | --guard]

writes what the calls compute with the host library that DECONVNET_HOST_LIBRARY names, N blocks a launch; with --gpu on the GPU,
each array in an allocation of its own, so that a sanitizer sees where it ends; with --guard each at the end of what the process may touch.
"""

import argparse

import arrays
import guarded
import kernel_calls_bvlc
import kernel_calls_detection
import kernel_calls_gpu
import kernel_calls_products
import numpy as np
from arrays import empty, host, numbers, put, spaced

from deconvnet.core import kernels
from deconvnet.core.kernels import device
from deconvnet.core.kernels import host as host_device

# more values a row than the largest block of the sanitizer builds has threads
WIDE = 70
# the shape that a CPU takes, on a GPU too
WHOLE = {"in_pieces": False}


def _window(kernel, stride=(1, 1), pad=(0, 0)):
    return kernels.Window(kernel, stride, pad)


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


def _relu_forward(dtype):
    y = empty(2, WIDE, dtype=dtype)
    kernels.relu(_numbers(dtype, 2, WIDE), 0.1, y)
    return [y]


def _relu_backward(dtype):
    dx = empty(2, WIDE, dtype=dtype)
    kernels.relu_backward(_numbers(dtype, 2, WIDE), _numbers(dtype, 2, WIDE, seed=1), 0.1, dx)
    return [dx]


def _dropout(dtype):
    y = empty(2, WIDE, dtype=dtype)
    kernels.dropout(_numbers(dtype, 2, WIDE), 12345, 0.3, y, 1 / 0.7)
    return [y]


def _scale_add(dtype):
    y, z = _numbers(dtype, 2, WIDE, seed=1), empty(2, WIDE, dtype=dtype)
    kernels.scale_add(_numbers(dtype, 2, WIDE), 2.0, y, -1.0)
    kernels.scale_add(y, 3.0, z, 0.0)
    return [y, z]


def _weighted_sum(dtype):
    x, z = _numbers(dtype, 2, WIDE), _numbers(dtype, 2, WIDE, seed=1)
    plain, rectified = empty(2, WIDE, dtype=dtype), empty(2, WIDE, dtype=dtype)
    kernels.weighted_sum(x, z, 0.5, -2, plain)
    kernels.weighted_sum(x, z, 1, 1, rectified, rectified=True)
    return [plain, rectified]


def _multiply(dtype):
    y = empty(2, WIDE, dtype=dtype)
    kernels.multiply(_numbers(dtype, 2, WIDE), _numbers(dtype, 2, WIDE, seed=1), y)
    return [y]


def _divide_multiply(dtype):
    y = empty(2, WIDE, dtype=dtype)
    kernels.divide_multiply(
        _numbers(dtype, 2, WIDE), put(spaced(2, WIDE, dtype=dtype)), _numbers(dtype, 2, WIDE, seed=1), y
    )
    return [y]


def _maximum(dtype):
    y, which = empty(2, WIDE, dtype=dtype), empty(2, WIDE, dtype=np.int32)
    for k in range(3):
        kernels.maximum(_numbers(dtype, 2, WIDE, seed=k), k, y, which)
    return [y, which]


def _maximum_backward(dtype):
    dx, which = empty(2, WIDE, dtype=dtype), put((np.arange(2 * WIDE, dtype=np.int32) % 3).reshape(2, WIDE))
    kernels.maximum_backward(_numbers(dtype, 2, WIDE), which, 1, dx)
    return [dx]


def _bias(dtype):
    y, db = _numbers(dtype, 2, 3, 1, WIDE), _numbers(dtype, 3)
    kernels.add_bias(_numbers(dtype, 3, seed=1), y)
    kernels.bias_backward(y, db, **WHOLE)
    return [y, db]


def _batch_norm(dtype):
    shape = (2, 3, 2, WIDE // 2 + 1)
    x, scale, shift = _numbers(dtype, *shape), _numbers(dtype, 3, seed=1), _numbers(dtype, 3, seed=2)
    y, mean, variance = empty(*shape, dtype=dtype), empty(3, dtype=dtype), empty(3, dtype=dtype)
    kernels.batch_norm_forward(x, scale, shift, 1e-9, y, mean, variance, **WHOLE)
    dy, dx = _numbers(dtype, *shape, seed=5), empty(*shape, dtype=dtype)
    gradients = _numbers(dtype, 3, seed=3), _numbers(dtype, 3, seed=4)
    kernels.batch_norm_backward(dy, x, scale, shift, mean, variance, 1e-9, dx, *gradients, **WHOLE)
    return [y, mean, variance, dx, *gradients]


def _batch_norm_in_place(dtype):
    shape = (2, 2, 1, WIDE)
    x, scale, shift = _numbers(dtype, *shape), _numbers(dtype, 2, seed=1), _numbers(dtype, 2, seed=2)
    kept, mean, variance = empty(*shape, dtype=dtype), empty(2, dtype=dtype), empty(2, dtype=dtype)
    kernels.batch_norm_forward(x, scale, shift, 1e-9, x, mean, variance, kept, rectified=True, **WHOLE)
    dy = _numbers(dtype, *shape, seed=5)
    kernels.batch_norm_backward(dy, kept, scale, shift, mean, variance, 1e-9, dy, rectified=True, **WHOLE)
    return [x, kept, dy]


def _channel_affine(dtype):
    shape = (2, 3, 2, WIDE // 2 + 1)
    x, scale, shift = _numbers(dtype, *shape), _numbers(dtype, 3, seed=1), _numbers(dtype, 3, seed=2)
    y, dscale, dshift = empty(*shape, dtype=dtype), _numbers(dtype, 3, seed=3), _numbers(dtype, 3, seed=4)
    kernels.channel_affine_forward(x, scale, shift, y)
    rectified = empty(*shape, dtype=dtype)
    kernels.channel_affine_forward(x, None, shift, rectified, rectified=True)
    dy = _numbers(dtype, *shape, seed=5)
    kernels.channel_affine_backward(dy, x, scale, dy, dscale, dshift, **WHOLE)
    return [y, rectified, dy, dscale, dshift]


def _composed_affine(dtype):
    maps = [_numbers(dtype, WIDE, seed=seed) for seed in range(4)]
    both = kernels.compose_affine(maps[:2], maps[2:], maps[0])
    results = [array.copy() for array in both]
    for first, second in ((both, (None, maps[3])), ((None, maps[1]), (maps[2], None))):
        results += [array.copy() for array in kernels.compose_affine(first, second, maps[0])]
    return results


def _max_pools(dtype):
    results = []
    cases = [
        ((2, 2), (2, 2), (0, 0), (5, 2 * WIDE + 1)),
        ((3, 3), (2, 2), (1, 1), (5, 9)),
        ((2, 3), (3, 3), (1, 2), (4, WIDE)),
    ]
    for kernel, stride, pad, size in [*cases, ((1, 1), (1, 3), (0, 0), (2, 5))]:
        window = _window(kernel, stride, pad)
        x = put(spaced(1, 2, *size, dtype=dtype))
        out = (1, 2, *window.output_size(*size))
        for order in ("rows", "bands"):
            y, switches, dx = empty(*out, dtype=dtype), empty(*out, dtype=dtype), empty(*x.shape, dtype=dtype)
            kernels.max_pool(x, window, y, switches, order=order)
            kernels.max_pool_backward(_numbers(dtype, *out), switches, window, dx, in_cells=order == "bands")
            results += [y, switches, dx]
    return results


def _average_pools(dtype):
    results = []
    for kernel, stride, pad, size in [
        ((3, 3), (2, 2), (1, 1), (5, WIDE)),
        ((2, 2), (3, 3), (1, 1), (4, 5)),
        ((1, 1), (1, 3), (0, 0), (2, 5)),
        ((4, 5), (1, 1), (0, 0), (4, 5)),
    ]:
        window = _window(kernel, stride, pad)
        out = (1, 2, *window.output_size(*size))
        for order in ("rows", "bands"):
            y, dx = empty(*out, dtype=dtype), empty(1, 2, *size, dtype=dtype)
            kernels.average_pool(_numbers(dtype, 1, 2, *size), window, y, order=order)
            kernels.average_pool_backward(_numbers(dtype, *out), window, dx, order=order)
            results += [y, dx]
    return results


def _unpool(dtype):
    """Switches that name every place of every other row once."""
    order = np.random.default_rng(0).permutation(2 * WIDE)[:WIDE].astype(dtype)
    switches = put(np.stack([order, order[::-1]]).reshape(1, 2, 1, WIDE))
    y, dx = empty(1, 2, 2, WIDE, dtype=dtype), empty(1, 2, 1, WIDE, dtype=dtype)
    kernels.unpool(_numbers(dtype, 1, 2, 1, WIDE), switches, y, distinct=True)
    kernels.unpool_backward(_numbers(dtype, 1, 2, 2, WIDE), switches, dx)
    return [y, dx]


def _unpool_last_wins(dtype):
    """Switches of which many name the same place."""
    switches = put(np.random.default_rng(1).integers(0, 9, (1, 2, 1, WIDE)).astype(dtype))
    y, dx = empty(1, 2, 3, 3, dtype=dtype), empty(1, 2, 1, WIDE, dtype=dtype)
    kernels.unpool(_numbers(dtype, 1, 2, 1, WIDE), switches, y)
    kernels.unpool_backward(_numbers(dtype, 1, 2, 3, 3), switches, dx)
    return [y, dx]


def _unpool_spreads(dtype):
    results = []
    for shares in (True, False):
        window, out = _window((3, 3), (2, 2)), (1, 2, 6, WIDE)
        x = _numbers(dtype, 1, 2, 3, WIDE // 2)
        y, dx = empty(*out, dtype=dtype), empty(*x.shape, dtype=dtype)
        kernels.unpool_spread(x, window, y, shares)
        kernels.unpool_spread_backward(_numbers(dtype, *out), window, dx, shares)
        results += [y, dx]
    return results


def _softmaxes(dtype):
    results = []
    for shape in [(2, 3, 1, WIDE), (1, 2, 1, 2 * 256 + 3)]:  # the longer one is several runs of places
        x, y, dx = _numbers(dtype, *shape), empty(*shape, dtype=dtype), empty(*shape, dtype=dtype)
        kernels.softmax(x, 1, y)
        kernels.softmax_backward(_numbers(dtype, *shape, seed=1), y, 1, dx)
        results += [y, dx]
    return results


def _labels(dtype, *shape):
    labels = np.random.default_rng(shape).integers(0, 3, shape).astype(dtype)
    labels[..., ::5] = 255
    return put(labels)


def _softmax_loss(dtype):
    shape = (2, 3, 1, 256 + 7)
    labels, p, dx = _labels(dtype, 2, 1, 263), empty(*shape, dtype=dtype), empty(*shape, dtype=dtype)
    loss, counted = kernels.softmax_loss(_numbers(dtype, *shape), labels, 1, 255, p)
    kernels.softmax_loss_backward(p, labels, 1, 255, 0.5, dx)
    results = [p, dx, np.array(loss), np.array(counted)]
    weights, dx = put(np.array([0.5, 0, 3], dtype)), empty(*shape, dtype=dtype)
    loss, _ = kernels.softmax_loss(_numbers(dtype, *shape), labels, 1, 255, p, weights)
    kernels.softmax_loss_backward(p, labels, 1, 255, 0.5, dx, weights)
    return [*results, dx, np.array(loss)]


def _rank_labels(dtype):
    x, labels = put(np.round(numbers(2, 3, 1, 263, dtype=dtype))), _labels(dtype, 2, 1, 263)
    return [kernels.rank_labels(x, labels, 1, k, 255, ties) for k, ties in ((1, True), (2, False))]


def _rules(dtype):
    """Every update rule twice, so that histories that were zero are not."""
    results = []
    numbers_of = {"momentum": 0.9, "keep": 0.8, "first": 0.9, "second": 0.99, "delta": 1e-3}
    for rule, names in kernels.RULES.items():
        w, g = (_numbers(dtype, 2, WIDE, seed=k) for k in range(2))
        histories = [put(np.zeros((2, WIDE), dtype)) for _ in range(2 if rule in ("adadelta", "adam") else 1)]
        for l1 in (True, False):
            own = {name: numbers_of[name] for name in names}
            kernels.rule_update(rule, w, g, histories, scale=0.5, rate=0.1, decay=0.01, l1=l1, **own)
        results += [w, g, *histories]
    return results


def _sgd_update(dtype):
    w, g, v = (_numbers(dtype, 2 * WIDE, seed=k) for k in range(3))
    for l1 in (False, True):
        kernels.sgd_update(w, g, v, scale=0.5, rate=0.1, momentum=0.9, decay=0.01, l1=l1)
    return [w, g, v]


def _sum_of_squares(dtype):
    return [np.array(kernels.sum_of_squares(_numbers(dtype, size))) for size in (1, WIDE, (1 << 14) + 5)]


CALLS = {
    "relu_forward": _relu_forward,
    "relu_backward": _relu_backward,
    "dropout": _dropout,
    "scale_add": _scale_add,
    "weighted_sum": _weighted_sum,
    "multiply": _multiply,
    "divide_multiply": _divide_multiply,
    "maximum": _maximum,
    "maximum_backward": _maximum_backward,
    "add_bias": _bias,
    "bias_backward": _bias,
    "batch_norm_forward": _batch_norm,
    "batch_norm_backward": _batch_norm_in_place,
    "channel_affine_forward": _channel_affine,
    "compose_affine": _composed_affine,
    "channel_affine_backward": _channel_affine,
    "max_pool_forward": _max_pools,
    "max_pool_bands": _max_pools,
    "max_pool_backward": _max_pools,
    "max_pool_backward_overlapping": _max_pools,
    "average_pool_forward": _average_pools,
    "average_pool_backward": _average_pools,
    "average_pool_shares": _average_pools,
    "unpool_forward": _unpool,
    "unpool_forward_last_wins": _unpool_last_wins,
    "unpool_backward": _unpool,
    "unpool_spread_forward": _unpool_spreads,
    "unpool_spread_backward": _unpool_spreads,
    "softmax_forward": _softmaxes,
    "softmax_backward": _softmaxes,
    "softmax_loss_forward": _softmax_loss,
    "softmax_loss_backward": _softmax_loss,
    "rank_labels": _rank_labels,
    "sgd_update": _sgd_update,
    "sum_of_squares": _sum_of_squares,
    **{f"{rule}_update": _rules for rule in kernels.RULES},
    **kernel_calls_bvlc.CALLS,
    **kernel_calls_detection.CALLS,
    **kernel_calls_gpu.CALLS,
    **kernel_calls_products.CALLS,
}


def run(only=None, dtypes=("float32", "float64")) -> tuple[dict[str, np.ndarray], set[str]]:
    """What the calls compute, {"call/dtype/number": array}, and the names of the kernels that ran."""
    results, launched = {}, set()
    plain = host_device.kernel

    def recording(name, dtype):
        launched.add(name)
        return plain(name, dtype)

    device.host.kernel = recording
    try:
        for call in dict.fromkeys(CALLS.values() if only is None else [CALLS[only]]):
            for dtype in dtypes:
                for number, array in enumerate(call(np.dtype(dtype).type)):
                    results[f"{call.__name__}/{dtype}/{number}"] = host(array)
    finally:
        device.host.kernel = plain
    return results, launched


def use_blocks(count: int) -> None:
    """Let every launch of more than one row take that many blocks, however little there is to do."""
    host_device._worth_a_thread = lambda: -1
    host_device.threads.count = lambda: count
    host_device.kernel.cache_clear()


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Run every kernel once.")
    parser.add_argument("results")
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--only", choices=sorted(CALLS))
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--guard", action="store_true")
    chosen = parser.parse_args()
    use_blocks(chosen.blocks)
    if chosen.gpu:
        kernels.set_mode("gpu")
        kernels.array_module().cuda.set_allocator(None)  # no pool
    if chosen.guard:
        arrays.place = guarded.guarded
        host_device.aligned_zeros = lambda count, dtype: guarded.guarded(np.zeros(count, dtype))
    results, _ = run(chosen.only, chosen.dtypes.split(","))
    np.savez(chosen.results, **results)


if __name__ == "__main__":
    main()
