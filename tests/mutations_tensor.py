"""The mistakes that the tests of products on tensor cores must notice; a part of mutate_kernels.py."""

TESTS = {
    "tensor_product": ["kernels/test_tensor_product.py"],
    "warp": ["kernels/test_tensor_product.py"],
}

# (kernel or device function, what stands there, what it becomes)
CHANGES = [
    ("nearest_bf16", "(bits_of(x) >> 16 & 1)", "1"),
    ("nearest_bf16", "x != x ?", "x > x ?"),
    ("warp_product", "a[16 * i + g + 8 * (r % 2)]", "a[16 * i + g + 8 * (r / 2)]"),
    ("warp_product", "b[(t + 4 * r) * D + d]", "b[(t + 4 * r) * D]"),
    ("warp_product", "+ l / 4 + 8 * (r / 2)", "+ l / 4 + 8 * (r % 2)"),
    ("tap_of", "tap % v.kernel_w * v.dilation_w", "tap / v.kernel_w * v.dilation_w"),
    ("tap_of", "down % v.stride_h * v.stride_w", "down % v.stride_h"),
    ("tap_of", "-(right / v.stride_w)", "right / v.stride_w"),
    ("place_of_window", "h * v.stride_h - v.pad_h", "h * v.stride_h + v.pad_h"),
    ("place_of_window", "(w + v.pad_w) % v.stride_w", "w % v.stride_w"),
    ("place_of_window", "n / v.places * v.image", "n / v.places * v.map"),
    ("tile_row", "t / 128 * 8 + n * 16", "t / 128 * 8 + n * 8"),
    ("tile_word", "t / TILE * EACH + n", "n"),
    ("load_left", "row < s.rows && offset >= 0", "row < s.rows && offset > 0"),
    ("load_right", "one.residue == other.residue", "true"),
    ("load_right", "(unsigned)column < (unsigned)v.width", "column < v.width"),
    ("store_words", "values[n + q]", "values[n]"),
    ("look_up", "at / s.left_run * s.left_jump + at % s.left_run", "at"),
    ("look_up", "at >= end ? -1", "at >= s.depth ? -1"),
    (
        "finished",
        "after.gain[channel] * value + after.shift[channel]",
        "after.gain[channel] * (value + after.shift[channel])",
    ),
    ("finished", "? row : row / after.run", "? row : row"),
    ("finished", "value < 0 ? 0", "value < 1 ? 0"),
    ("multiply_tiles", "8 * (r % 2)][2 * step + r / 2]", "8 * (r / 2)][2 * step + r % 2]"),
    ("multiply_tiles", "w % 4 * 32 + 8 * j", "w % 4 * 32 + 8 * (3 - j)"),
    ("tensor_product", "l % 4 * 2 + c % 2", "l % 4 + c % 2 * 4"),
    ("tensor_product", "first_row + w / 4 * 64 < s.rows", "first_row + w / 4 * 64 + 1 < s.rows"),
    ("tensor_product", "adds ? to + sum", "adds ? sum"),
    (
        "tensor_product_tf32",
        "stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, transposed};",
        "stride_w, stride_h, pad_h, pad_w, dilation_h, dilation_w, transposed};",
    ),
    ("tensor_product_bf16", "kernel_h * kernel_w, kernel_w", "kernel_h * kernel_w, kernel_h"),
    ("merge_splits", "adds ? to[p] + sum", "adds ? sum"),
    ("merge_splits", "split < splits", "split + 1 < splits"),
]
