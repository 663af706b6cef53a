"""Does the suite catch mistakes? Flip a sign or an index in each kernel, one at a time, and see that its tests fail.

    python tests/mutate_kernels.py [--quick] [--only KERNEL]

Every change is compiled into a library of its own and the tests of that kernel's layers run on it. Then every barrier of every
kernel is left out, one at a time: ThreadSanitizer must see the race. Prints a line a change and ends with exit status 1 where one
survives. --quick takes one change a file and no barriers. Minutes, on all processors.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kernel_calls
import mutations_bands
import mutations_bvlc
import mutations_gpu
import mutations_tensor
import sanitized

from deconvnet.core.kernels import sources

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels"

# the tests that are to notice a change in a file
TESTS = {
    "accuracy": ["layers/test_accuracy.py"],
    "activation": ["layers/test_activation.py"],
    "batch_norm": [
        "layers/test_batch_norm.py",
        "layers/test_normalization.py",
        "kernels/test_update.py",
        "kernels/test_pieces.py",
    ],
    "bias": ["layers/test_convolution.py", "layers/test_inner_product.py"],
    "deconvolution": ["layers/test_convolution.py"],
    "dense": ["kernels/test_convolution_algorithm.py"],
    "elementwise": ["layers/test_eltwise.py", "layers/test_structure.py", "kernels/test_update.py"],
    "pooling": ["layers/test_pooling.py"],
    "solver_rules": ["solver/test_update_rules.py"],
    "exponential": ["kernels/test_exponential.py"],
    "softmax": ["layers/test_softmax.py", "layers/test_infogain.py", "kernels/test_exponential.py"],
    "unpooling": ["layers/test_unpooling.py", "layers/test_pooling.py"],
    "table": ["kernels/test_update.py", "solver/test_update_rules.py"],
    "update": ["kernels/test_update.py"],
    "winograd": ["kernels/test_winograd.py"],
    "winograd_batched": ["kernels/test_winograd.py"],
    **mutations_bands.TESTS,
    **mutations_bvlc.TESTS,
    **mutations_gpu.TESTS,
    **mutations_tensor.TESTS,
}


class Mutation(NamedTuple):
    """In the kernel (or device function) `kernel`, `old` stands exactly once and becomes `new`."""

    kernel: str
    old: str
    new: str


CHANGES = [*mutations_bands.CHANGES, *mutations_bvlc.CHANGES, *mutations_gpu.CHANGES, *mutations_tensor.CHANGES]
MUTATIONS = [
    Mutation("rank_places", "c > own", "c < own"),
    Mutation("rank_places", "above[l] < top_k", "above[l] <= top_k"),
    Mutation("rank_places", "x[(index)c * inner + l]", "x[(index)own[l] * inner + l]"),
    Mutation("rank_places", "labels[l] == ignored", "labels[l] > ignored"),
    Mutation("rank_labels", "classes * inner + first", "classes * inner"),
    Mutation("relu_forward", "slope * v :", "-slope * v :"),
    Mutation("relu_backward", "slope * d;", "-slope * d;"),
    Mutation("relu_backward", "s > 0", "s < 0"),
    Mutation("relu_backward", "s > 0", "s >= 0"),
    Mutation("dropout", ">= threshold", "< threshold"),
    Mutation("dropout", "v * gain", "v"),
    Mutation("scatter_bits", "(unsigned long long)(i + 1)", "(unsigned long long)(i / 2 + 1)"),
    Mutation("batch_norm_forward", "(from[i] - mu) * (from[i] - mu)", "(from[i] - mu) * (from[i] + mu)"),
    Mutation("batch_norm_forward", "kept[at + i] = x[at + i]", "kept[at + i] = -x[at + i]"),
    Mutation("batch_norm_forward", "1 / sqrt(var + eps)", "1 / sqrt(var - eps)"),
    Mutation("batch_norm_forward", "variance[c] = var", "variance[c] = mu"),
    Mutation("normal_of", "x - c.mean", "x + c.mean"),
    Mutation("unbounded", "+ c.shift", "- c.shift"),
    Mutation("y_of", "< c.least ? c.least", "< c.least ? c.scale"),
    Mutation("dy_of", "<= c.least", "< c.least"),
    Mutation("dy_of", "<= c.least ? 0 : dy", "<= c.least ? dy : dy"),
    Mutation("batch_norm_backward", "- z * slope", "+ z * slope"),
    Mutation("batch_norm_backward", "- mean_dy", "+ mean_dy"),
    Mutation("batch_norm_backward", "sum += d, product += d * z", "sum += d, product += dy[at + i] * z"),
    Mutation("batch_norm_backward", "dscale[c] += total_scale", "dscale[c] -= total_scale"),
    Mutation("batch_norm_backward", "dscale[c] += total_scale", "dscale[c] = total_scale"),
    Mutation("batch_norm_backward", "dshift[c] += total_shift", "dshift[c] += total_scale"),
    Mutation("batch_norm_backward", "sqrt(variance[c] + eps)", "(variance[c] + eps)"),
    Mutation("channel_affine_forward", "a * v + b", "a * v - b"),
    Mutation("channel_affine_forward", "scale[r % channels]", "scale[r / images]"),
    Mutation("channel_affine_backward", "scale[c] * dy[at + i]", "-scale[c] * dy[at + i]"),
    Mutation("channel_affine_backward", "dy[at + i] * x[at + i]", "dy[at + i] * x[i]"),
    Mutation("channel_affine_backward", "dshift[c] += total_shift", "dshift[c] = total_shift"),
    Mutation("add_bias", "v + b", "v - b"),
    Mutation("add_bias", "bias[r % channels]", "bias[r / images]"),
    Mutation("bias_backward", "dbias[c] += total", "dbias[c] -= total"),
    Mutation("bias_backward", "dbias[c] += total", "dbias[c] = total"),
    Mutation("bias_backward", "(index)n * channels + c", "(index)n + c"),
    Mutation("deconv_gather_forward", "h + pad_h - i * dilation_h", "h - pad_h - i * dilation_h"),
    Mutation("deconv_gather_forward", "reached % stride_h", "reached % stride_w"),
    Mutation("deconv_gather_forward", "j * dilation_w - pad_w", "j * dilation_w + pad_w"),
    Mutation(
        "deconv_gather_backward_data", "h * stride_h - pad_h + i * dilation_h", "h * stride_h - pad_h - i * dilation_h"
    ),
    Mutation("deconv_gather_backward_data", "w * stride_w + shift", "w * stride_w - shift"),
    Mutation("deconv_gather_backward_data", "+= tap * from[at]", "-= tap * from[at]"),
    Mutation("deconv_gather_backward_data", "(g * in + c) * out + o", "(g * in + c) * out"),
    Mutation("walk_two_taps", "at.j + stride_w < kernel_w", "at.j + stride_w <= kernel_w"),
    Mutation("walk_two_taps", "at.column <= width;", "at.column < width;"),
    Mutation("walk_two_taps", "near_above = near_below", "near_above = far_below"),
    Mutation("walk_two_taps", "at.i + stride_h < kernel_h &&", "true &&"),
    Mutation("walk_two_taps", "near ? at.j : 0", "at.j + 1"),
    Mutation("walk_two_taps", "at.i = 0, ++at.row, near_tap -=", "at.i = 0, ++at.row, near_tap +="),
    Mutation("walk_all_taps", "i += stride_h, --row", "i += stride_w, --row"),
    Mutation("walk_all_taps", "row < height; ++c", "row <= 0; ++c"),
    Mutation("walk_all_taps", "c * taps +", "c +"),
    Mutation("deconv_gather_forward_places", "first + pad_h - row * stride_h", "0"),
    Mutation("deconv_gather_forward_places", "(r - plane * pieces) * together", "(r - plane * pieces)"),
    Mutation("deconv_gather_backward_data_places", "max(0, -left)", "0"),
    Mutation("deconv_gather_backward_data_places", "min(kernel_w, out_width - left)", "kernel_w"),
    Mutation("deconv_gather_backward_data_places", "(first + row) * stride_h - pad_h", "row * stride_h - pad_h"),
    Mutation("deconv_gather_backward_data_places", "(o * kernel_h + i)", "(i)"),
    Mutation("deconv_gather_backward_weights", "dweights[r] += total", "dweights[r] = total"),
    Mutation("deconv_gather_backward_weights", "a[w] * b[at]", "-a[w] * b[at]"),
    Mutation("deconv_gather_backward_weights", "- pad_h + i * dilation_h", "+ pad_h + i * dilation_h"),
    Mutation("deconv_gather_backward_weights", "* in + c) * height + h", "* in + c) * height + i"),
    Mutation("scale_add", "+ b * old", "- b * old"),
    Mutation("scale_add", "{ return a * v; }", "{ return -a * v; }"),
    Mutation("multiply", "a * b", "a * a"),
    Mutation("divide_multiply", "x[i] / z[i] * w[i]", "x[i] * z[i] * w[i]"),
    Mutation("maximum", "x[i] > y[i]", "x[i] < y[i]"),
    Mutation("maximum", "x[i] > y[i]", "x[i] >= y[i]"),
    Mutation("maximum_backward", "? dy[i] : 0", "? -dy[i] : 0"),
    Mutation("maximum_backward", "which[i] == k", "which[i] != k"),
    Mutation("span_of", "-shift + stride - 1", "-shift"),
    Mutation("span_of", "width - shift + stride - 1", "width - shift"),
    Mutation("im2col", "j * dilation_w - pad_w", "j * dilation_w + pad_w"),
    Mutation("im2col", "- pad_h + i * dilation_h", "- pad_h - i * dilation_h"),
    Mutation("im2col", "(first + row)", "(row)"),
    Mutation("im2col", "from[(span.first + w) * stride_w]", "from[span.first + w]"),
    Mutation("im2col", "k / kernel_w % kernel_h", "k / kernel_h % kernel_h"),
    Mutation("col2im", "dilation_w - pad_w", "dilation_w + pad_w"),
    Mutation("col2im", "dilation_h - pad_h", "dilation_h + pad_h"),
    Mutation("col2im", "to[span.first + w] += from", "to[span.first + w] -= from"),
    Mutation("col2im", "to[(span.first + w) * stride_w] += from", "to[(span.first + w) * stride_w] -= from"),
    Mutation("col2im", "to[(span.first + w) * stride_w] += from", "to[(span.first + w) * stride_w] = from"),
    Mutation("col2im", "(first + row)", "(row)"),
    Mutation("col2im", "+ tap) * images + image", "+ tap) * images"),
    Mutation("images_from_columns", "(index)c * images + image", "(index)image * channels + c"),
    Mutation("columns_from_images", "(index)image * channels + c", "(index)c * images + image"),
    Mutation("beats", "value > best", "value >= best"),
    Mutation("beats", "value != value", "value == value"),
    Mutation("pool_pairs", "at + width + 2 * i + 1", "at + width + 2 * i"),
    Mutation("pool_pairs", "beats(lower[2 * i], best)", "beats(lower[2 * i + 1], best)"),
    Mutation("best_of", "h * width + w);", "h * height + w);"),
    Mutation("max_pool_forward", "ow * stride_w - pad_w, 0", "ow * stride_w + pad_w, 0"),
    Mutation("max_pool_forward", "done = min(width / 2, out_width)", "done = out_width"),
    Mutation("max_pool_backward", "to[at] += dy[from]", "to[at] = dy[from]"),
    Mutation("max_pool_backward", "from = (index)p * windows", "from = (index)p * size"),
    Mutation("max_pool_backward", "to[i] = 0", "to[i] += 0"),
    Mutation("max_pool_backward_overlapping", "sum += dy[", "sum -= dy["),
    Mutation("max_pool_backward_overlapping", "sum += dy[", "sum = dy["),
    Mutation(
        "max_pool_backward_overlapping",
        "min(out_height - 1, (h + pad_h) / stride_h)",
        "min(out_height - 1, (h - pad_h) / stride_h)",
    ),
    Mutation(
        "max_pool_backward_overlapping",
        "(w + pad_w - kernel_w + stride_w) / stride_w",
        "(w + pad_w - kernel_w) / stride_w + 2",
    ),
    Mutation("average_pool_forward", "min(from_w + kernel_w, width + pad_w)", "min(from_w + kernel_w, width)"),
    Mutation("average_pool_forward", "% out_height * stride_h - pad_h", "% out_height * stride_h"),
    Mutation("average_pool_backward", "sum += windows", "sum -= windows"),
    Mutation(
        "average_pool_backward", "(w + pad_w - kernel_w + stride_w) / stride_w", "(w + pad_w - kernel_w) / stride_w + 2"
    ),
    Mutation("average_pool_backward", "min(from_h + kernel_h, height + pad_h)", "min(from_h + kernel_h, height)"),
    Mutation("average_pool_backward", "ow * stride_w - pad_w", "ow * stride_w"),
    Mutation("softmax_of", "- most[l]", "+ most[l]"),
    Mutation("softmax_of", "> most[l] ?", "< most[l] ?"),
    Mutation("softmax_forward", "r % runs * run", "0"),
    Mutation("softmax_backward", "- dot", "+ dot"),
    Mutation("softmax_backward", "r % runs * run", "0"),
    Mutation("softmax_loss_forward", "sum -= gain", "sum += gain"),
    Mutation("softmax_loss_forward", "weights ? (double)weights[(int)label] : 1", "weights ? (double)weights[0] : 1"),
    Mutation("softmax_loss_forward", "label < classes", "label <= classes"),
    Mutation("softmax_loss_backward", "- ((int)label == c ? 1 : 0)", "+ ((int)label == c ? 1 : 0)"),
    Mutation("softmax_loss_backward", "weights[(int)label] : weight", "weights[(int)label] : -weight"),
    Mutation("softmax_loss_backward", "weights[(int)label] : weight", "weights[c] : weight"),
    Mutation("softmax_loss_backward", "(index)(r / classes) * inner", "(index)(r % classes) * inner"),
    Mutation("exp_below", "1.f / 120", "1.f / 100"),
    Mutation("exp_below", "x < -87.f ? -87.f", "x < -3.f ? -3.f"),
    Mutation("hyperbolic_tangent", "0.13331442f", "0.1333f"),
    Mutation("hyperbolic_tangent", "size < 0.625f", "size < 0.9f"),
    Mutation("hyperbolic_tangent", "size < 0.625f", "size < 0.01f"),
    Mutation("hyperbolic_tangent", "x < 0 ? -far", "x < 0 ? far"),
    Mutation("logistic", "x < 0 ? e : 1", "x < 0 ? 1 : e"),
    Mutation("logistic", "-fabs(x)", "-x"),
    Mutation("softmax_of", "sum[l] += e[l]", "sum[l] -= e[l]"),
    Mutation("patch_1d", "(NEAR2 + FAR2) * c", "(NEAR2 - FAR2) * c"),
    Mutation("patch_1d", "d - NEAR2 * b", "d + NEAR2 * b"),
    Mutation("result_1d", "NEAR2 * difference", "NEAR2 * sum"),
    Mutation("spread_1d", "FAR * (b + FAR2 * d)", "FAR * (b + d)"),
    Mutation("filter_1d", "b * (FAR / AT_FAR)", "b * (NEAR / AT_FAR)"),
    Mutation("gradient_1d", "far_sum * (1 / AT_FAR)", "far_sum * (1 / AT_NEAR)"),
    Mutation("transpose", "if (i & 1 << n) continue", "if (i & 2 << n) continue"),
    Mutation("gather_lanes", "at(from + l * stride + done)", "at(from + l * stride)"),
    Mutation("load_strip", "max(0, -left)", "max(0, left)"),
    Mutation("load_strip", "top + i < height", "top + i <= height"),
    Mutation("store_tile", "min(4, height - top)", "4"),
    Mutation("product", "sums[r][w] += factor * right[w]", "sums[r][w] += factor * right[0]"),
    Mutation("product_of", "case 3: return product<3, W>", "case 3: return product<2, W>"),
    Mutation("winograd_patches", "begin * 4 - pad_w", "begin * 4 - pad_h"),
    Mutation("winograd_patches", "(first + r / runs) / tile_rows", "first / tile_rows"),
    Mutation("winograd_gradients", "i * 6 + j", "i + 6 * j"),
    Mutation("winograd_filters", "rotated ? 8 - n : n", "n"),
    Mutation("first_of", "= values[l]", "= -values[l]"),
    Mutation("store_tile", "finish.gain * full[n] + finish.shift", "finish.gain * (full[n] + finish.shift)"),
    Mutation("store_tile", "full[n] < 0", "full[n] < 1"),
    Mutation("winograd_results", "first_of(gain ? shift + o", "first_of(gain ? gain + o"),
    Mutation("winograd_results", "min(tiles, begin + per_block)", "begin + per_block"),
    Mutation("winograd_sums", "min(ROWS, outputs - o)", "ROWS"),
    Mutation("winograd_weights", "+= lane(taps[n], l)", "= lane(taps[n], l)"),
    Mutation("corner_of", "down % tile_rows * 4", "down * 4"),
    Mutation("fits_four", "columns == 4 && ", ""),
    Mutation("winograd_batched_patches", "corner.left - pad_w", "corner.left - pad_h"),
    Mutation("winograd_batched_patches", "w >= 0 && w < width", "w < width"),
    Mutation("winograd_batched_gradients", "h < rows && w < columns ? from", "h < rows ? from"),
    Mutation("winograd_batched_gradients", "(6 * h + w) * plane", "(h + 6 * w) * plane"),
    Mutation("winograd_batched_filters", "rotated ? 8 - n : n", "n"),
    Mutation(
        "winograd_batched_results",
        "factor * (four.values[w] + added) + moved",
        "factor * four.values[w] + added + moved",
    ),
    Mutation("winograd_batched_results", "value < 0", "value < 1"),
    Mutation("winograd_batched_weights", "t[k] += q[", "t[k] = q["),
    Mutation("winograd_batched_weights", "] += taps[n]", "] = taps[n]"),
    Mutation("dot_tile", "? y[(index)v * y_row + r] + sum : sum", "? sum : sum"),
    Mutation("dot_tile", "w[(index)r * columns + rest + k]", "w[(index)r * columns + k]"),
    Mutation("axpy_tile", "factors[r][v] * w[(index)r", "factors[0][v] * w[(index)r"),
    Mutation("dense_rows", "; o < end; ++o)", "; o + 1 < end; ++o)"),
    Mutation("dense_columns", "; o < rows; ++o)", "; o + 1 < rows; ++o)"),
    Mutation("dense_outer", "(n + 3) * rows + o", "(n + 2) * rows + o"),
    Mutation("place_of", "at < size", "at <= size"),
    Mutation("place_of", "0 <= at", "0 < at"),
    Mutation("unpool_forward", "to[at] = x[(index)p * windows + i]", "to[at] = -x[(index)p * windows + i]"),
    Mutation("unpool_forward_last_wins", "raise_to(won + at, i + 1)", "raise_to(won + at, windows - i)"),
    Mutation("unpool_forward_last_wins", "won[i] - 1", "won[i] - 2"),
    Mutation("unpool_backward", "? maps[(index)own * size + at]", "? -maps[(index)own * size + at]"),
    Mutation("unpool_backward", "dy + (index)plane * size", "dy + (index)plane * windows"),
    Mutation("unpool_backward", "(index)own * size + at", "at"),
    Mutation("unpool_backward", "planes - plane)", "planes)"),
    Mutation("unpool_spread_forward", "plane[i * width + j] / size", "plane[i * width + j] * size"),
    Mutation("unpool_spread_forward", "(h - kernel_h + stride_h) / stride_h", "(h - kernel_h) / stride_h + 2"),
    Mutation("unpool_spread_backward", "sum += plane", "sum -= plane"),
    Mutation("unpool_spread_backward", "min(from_h + kernel_h, out_height)", "min(from_h + kernel_h - 1, out_height)"),
    Mutation("unpool_spread_backward", "% height * stride_h", "% height * stride_w"),
    Mutation("sgd_update", "decay * pull", "-decay * pull"),
    Mutation("sgd_update", "w[i] -= step", "w[i] += step"),
    Mutation("sgd_update", "(w[i] < 0)", "(w[i] > 0)"),
    Mutation("sgd_update", "g[i] = step", "g[i] = g[i]"),
    Mutation("sum_of_squares", "from[i] * from[i]", "from[i]"),
    Mutation("sum_of_squares", "n - (index)r * run", "n - (index)r"),
    Mutation("decayed", "(w > 0) - (w < 0)", "(w > 0)"),
    Mutation("nesterov_step", "- momentum * old;", "- old;"),
    Mutation("nesterov_update", "w[i] -= step", "w[i] += step"),
    Mutation("adagrad_step", "sqrt(sum) + delta", "sqrt(sum + delta)"),
    Mutation("adagrad_update", "g[i] = step", "g[i] = -step"),
    Mutation("rmsprop_step", "(1 - keep) * g * g", "g * g"),
    Mutation("rmsprop_update", "w[i] -= step", "w[i] += step"),
    Mutation("adadelta_step", "(1 - keep) * move * move", "(1 - keep) * g * g"),
    Mutation("adadelta_step", "delta + s)", "s)"),
    Mutation("adadelta_update", "h[i], s[i]", "s[i], h[i]"),
    Mutation("adam_step", "(1 - second) * g * g", "(1 - first) * g * g"),
    Mutation("adam_step", "m = mean", "m = g"),
    Mutation("adam_update", "m[i], h[i]", "h[i], m[i]"),
    *(Mutation(*change) for change in CHANGES),
]

_START = re.compile(r"^(?:KERNEL\(|DEVICE [^(]*?)(\w+)[,(]", re.MULTILINE)


def places(source: str) -> dict[str, tuple[int, int]]:
    """Where each kernel and device function of a file begins and ends."""
    starts = [(found.group(1), found.start()) for found in _START.finditer(source)]
    ends = [start for _, start in starts[1:]] + [len(source)]
    return {name: (start, end) for (name, start), end in zip(starts, ends, strict=True)}


def find(mutation: Mutation) -> tuple[Path, str]:
    """The file of a mutation and that file's text after it. Raises ValueError where `old` does not stand there exactly once."""
    for file in [*sorted(KERNELS.glob("*.cu")), *sorted(KERNELS.glob("*.h"))]:
        source = file.read_text()
        if mutation.kernel in places(source):
            start, end = places(source)[mutation.kernel]
            count = source.count(mutation.old, start, end)
            if count != 1:
                raise ValueError(f"{file.name}: {mutation.kernel} has {mutation.old!r} {count} times, not once")
            return file, source[:start] + source[start:end].replace(mutation.old, mutation.new) + source[end:]
    raise ValueError(f"no kernel or device function is called {mutation.kernel}")


def build(folder: Path) -> Path:
    """The library of the kernels in `folder`, by the builder that lies there, little optimised."""
    spec = importlib.util.spec_from_file_location(f"builder_{folder.name}", folder / "host_build.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.FLAGS = [{"-O3": "-O1"}.get(flag, flag) for flag in builder.FLAGS]
    return builder.build(folder)


def copy_kernels(folder: Path) -> None:
    """The sources and the builder."""
    for file in [*KERNELS.glob("*.cu"), *KERNELS.glob("*.h"), KERNELS / "host_build.py"]:
        shutil.copy(file, folder)


def run_tests(library: Path, stems: list[str]) -> tuple[bool, str]:
    """Whether the tests of these kernel files pass on a library, and the last thing that was said."""
    files = sorted({str(ROOT / "tests" / test) for stem in stems for test in TESTS[stem]})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "--no-header",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "--device",
        "cpu",
        *files,
    ]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "DECONVNET_HOST_LIBRARY": str(library), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return False, "hangs"
    if done.returncode not in (0, 1) and done.returncode > 0:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    failed = re.findall(r"^FAILED \S*?tests/(\S+)", done.stdout, re.MULTILINE)
    return done.returncode == 0, failed[0] if failed else "crashes"


def survives(mutation: Mutation) -> tuple[bool, str]:
    """Whether the tests pass in spite of a mutation, and what noticed it."""
    file, text = find(mutation)
    with tempfile.TemporaryDirectory() as scratch:
        copy_kernels(Path(scratch))
        Path(scratch, file.name).write_text(text)
        return run_tests(build(Path(scratch)), [file.stem])


def barriers() -> list[tuple[str, Path, int]]:
    """(kernel, file, where it stands) of every sync_block() in a kernel."""
    found = []
    for file in sorted(KERNELS.glob("*.cu")):
        source = file.read_text()
        for name, (start, end) in places(source).items():
            found += [(name, file, start + at.start()) for at in re.finditer(r"sync_block\(\);", source[start:end])]
    return found


def survives_without(barrier: tuple[str, Path, int]) -> tuple[bool, str]:
    """Whether ThreadSanitizer finds nothing where a barrier is left out."""
    name, file, at = barrier
    source = file.read_text()
    with tempfile.TemporaryDirectory() as scratch:
        text = source[:at] + source[at:].replace("sync_block();", ";", 1)
        library = sanitized.build_changed(Path(scratch), file.name, text, 33, "thread", alone=False)
        kernel = name if name in kernel_calls.CALLS else next(iter(sources.kernels_in(file)))  # that calls the function
        done = sanitized.run(library, "thread", Path(scratch, "results.npz"), "--only", kernel, "--dtypes", "float32")
    # or a wild address, taken from memory that no thread had written yet
    found = re.search(r"data race|SEGV", done.stderr) if done.returncode == sanitized.FOUND_SOMETHING else None
    if not found and done.returncode:
        raise RuntimeError(f"{name} under ThreadSanitizer ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return not found, f"ThreadSanitizer: {found and found[0]}"


def one_per_file(mutations: list[Mutation]) -> list[Mutation]:
    """The first mutation of a backward kernel of each file, else of any."""
    chosen = {}
    for mutation in sorted(mutations, key=lambda m: "backward" not in m.kernel):
        chosen.setdefault(find(mutation)[0], mutation)
    return list(chosen.values())


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Change each kernel and see that its tests fail.")
    parser.add_argument("--quick", action="store_true", help="one change a file")
    parser.add_argument("--only", help="the changes of one kernel")
    chosen = parser.parse_args()
    mutations = [m for m in MUTATIONS if chosen.only in (None, m.kernel)]
    mutations = one_per_file(mutations) if chosen.quick else mutations
    with tempfile.TemporaryDirectory() as scratch:
        copy_kernels(Path(scratch))
        passed, said = run_tests(build(Path(scratch)), list(TESTS))
        if not passed:
            sys.exit(f"the kernels as they are do not pass: {said}")
    changes = [(m.kernel, f"{m.old} -> {m.new}".replace("\n", " ")) for m in mutations]
    jobs = [(survives, mutation) for mutation in mutations]
    for barrier in [] if chosen.quick else barriers():
        name, file, at = barrier
        if chosen.only in (None, name):
            changes.append((name, f"without the barrier in line {file.read_text().count(chr(10), 0, at) + 1}"))
            jobs.append((survives_without, barrier))
    left = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (kernel, change), (survived, said) in zip(changes, pool.map(lambda job: job[0](job[1]), jobs), strict=True):
            left += survived
            print(
                f"{'SURVIVES' if survived else 'killed  '}  {kernel}: {change}{'' if survived else f'  [{said}]'}",
                flush=True,
            )
    print(f"{len(changes) - left} of {len(changes)} changes were noticed")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
