"""The mistakes that the tests of a GPU's own shapes must notice; a part of mutate_kernels.py."""

TESTS = {
    "batch_norm_pieces": ["kernels/test_pieces.py"],
}

# (kernel or device function, what stands there, what it becomes)
CHANGES = [
    ("piece_of", "number / parts * together", "number / parts"),
    ("piece_of", "min(together, planes - plane)", "together"),
    ("piece_of", "min(run, size - first)", "run"),
    ("apart", "(channels - 1) * size", "channels * size"),
    ("channel_of", "c - channels", "c"),
    ("channel_moments", "(v - mu) * (v - mu)", "(v - mu) * (v + mu)"),
    ("channel_moments", "(index)piece.plane * channels + c", "(index)piece.plane + c"),
    ("merge_moments", "of[2 * q + 1] +", ""),
    ("merge_moments", "* difference * difference", "* difference"),
    ("merge_moments", "1 / sqrt(var + eps)", "1 / sqrt(var - eps)"),
    ("normalize_planes", "a * z + b", "a * z - b"),
    ("normalize_planes", "normal[at + i] = z", "normal[at + i] = -z"),
    ("normalize_planes", "pieces - 1 - r", "pieces - r"),
    ("normalize_planes", "write(i, v, mean[c], inverse[c]", "write(i, v, mean[first], inverse[c]"),
    ("channel_products", "gain * v.dy", "v.dy"),
    ("channel_products", "product += v.dy * v.x", "product += v.dy"),
    ("merge_products", "dscale[c] += product", "dscale[c] = product"),
    ("merge_products", "dshift[c] += total", "dshift[c] = total"),
    ("merge_products", "sqrt(variance[c] + eps)", "(variance[c] + eps)"),
    ("batch_norm_planes_backward", "- v.x * slope", "+ v.x * slope"),
    ("batch_norm_planes_backward", "factors[channels + c], factors[2", "factors[channels], factors[2"),
    ("part_of", "(r - row[1])", "r"),
    ("part_of", "row[0] - first", "row[0]"),
    ("array_of", "+ part.first", ""),
    ("sgd_update_all", "own_decay * pull", "-own_decay * pull"),
    ("sgd_update_all", "rate * multipliers[2 * owners[r]]", "rate"),
    ("sgd_update_all", "w[i] = old.w - step", "w[i] = old.w + step"),
    ("sgd_update_all", "(old.w < 0)", "(old.w > 0)"),
    ("sum_of_squares_all", "value * value", "value"),
    ("clear_all", "to[i] = 0", "to[i] += 0"),
]
