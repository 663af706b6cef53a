"""Layers of Caffe 1.0 that are no losses, each drawn with parameters over their whole range. DRAWN has them by type.

Left out is what Caffe takes and we refuse or compute otherwise (docs/differences.md): windows that lie beyond the map or stick out of it,
a negative slope in place, Dropout's mask.
"""

import math

from drawing import Drawing


def _windows(draw: Drawing, sizes) -> tuple[list[int], list[int], list[int], list[int]]:
    """(kernel, stride, pad, dilation) of a convolution, one each for an axis, that fit a map of these sizes."""
    alike = draw.chance(0.6)
    axes = [min(sizes)] if alike else sizes
    kernel = [draw.size(1, min(5, size)) for size in axes]
    stride = [draw.size(1, 4) if draw.chance() else 1 for _ in axes]
    pad = [draw.size(0, k + 1) if draw.chance() else 0 for k in kernel]
    fits = [max(1, (size + 2 * p - 1) // max(1, k - 1)) for size, k, p in zip(axes, kernel, pad, strict=True)]
    dilation = [draw.size(1, min(3, most)) if draw.chance(0.3) else 1 for most in fits]
    return kernel, stride, pad, dilation


def _fields(draw: Drawing, names, values) -> str:
    """The fields of a window: each once, once per axis, or for two axes sometimes as _h and _w."""
    text = []
    for name, numbers in zip(names, values, strict=True):
        if len(numbers) == 2 and name != "dilation" and draw.chance():
            stem = name.removesuffix("_size")
            text.append(f"{stem}_h: {numbers[0]} {stem}_w: {numbers[1]}")
        else:
            text += [f"{name}: {number}" for number in numbers]
    return " ".join(text)


def convolution(draw):
    group = draw.choice(1, 1, 1, 2, 3, 4)
    inputs, outputs = group * draw.size(1, 3), group * draw.size(1, 3)
    axes = draw.choice(2, 2, 2, 2, 2, 1, 3)
    sizes = draw.shape(axes, 3, 13 if axes < 3 else 6)
    window = _fields(draw, ("kernel_size", "stride", "pad", "dilation"), _windows(draw, sizes))
    shape = (draw.size(1, 3), inputs, *sizes)
    draw.input("x", shape)
    blobs = [["x"], ["y"]]
    if draw.chance(0.1):
        draw.input("x2", shape)
        blobs = [["x", "x2"], ["y", "y2"]]
    more = draw.sometimes("bias_term: false", 0.3) + draw.sometimes(" engine: CAFFE", 0.2)
    draw.layer("Convolution", *blobs, f"convolution_param {{ num_output: {outputs} group: {group} {window} {more} }}")


def deconvolution(draw):
    """Its padding takes away from the result, which is to stay."""
    group = draw.choice(1, 1, 2, 3)
    inputs, outputs = group * draw.size(1, 3), group * draw.size(1, 3)
    axes = draw.choice(2, 2, 2, 2, 1, 3)
    alike = draw.chance()
    kernel = [draw.size(1, 4) for _ in range(1 if alike else axes)]
    stride = [draw.size(1, 3) for _ in kernel]
    pad = [draw.size(0, k // 2) for k in kernel]
    dilation = [draw.choice(1, 1, 2) for _ in kernel]
    window = _fields(draw, ("kernel_size", "stride", "pad", "dilation"), (kernel, stride, pad, dilation))
    draw.input("x", (draw.size(1, 3), inputs, *draw.shape(axes, 2, 7 if axes < 3 else 4)))
    more = draw.sometimes("bias_term: false", 0.3)
    draw.layer(
        "Deconvolution", ["x"], ["y"], f"convolution_param {{ num_output: {outputs} group: {group} {window} {more} }}"
    )


def im2col(draw):
    sizes = draw.shape(2, 3, 10)
    draw.input("x", (draw.size(1, 3), draw.size(1, 4), *sizes))
    window = _fields(draw, ("kernel_size", "stride", "pad", "dilation"), _windows(draw, sizes))
    draw.layer("Im2col", ["x"], ["y"], f"convolution_param {{ {window} }}")


def pooling(draw):
    sizes = draw.shape(2, 2, 13)
    draw.input("x", (draw.size(1, 3), draw.size(1, 4), *sizes), draw.choice("normal", "whole"))
    kernel = [draw.size(1, min(5, size)) for size in ([min(sizes)] if draw.chance(0.6) else sizes)]
    stride = [draw.size(1, k) for k in kernel]  # a window beyond the map: NaN, or a crash
    pad = [draw.size(0, k - 1) if draw.chance() else 0 for k in kernel]
    window = _fields(draw, ("kernel_size", "stride", "pad"), (kernel, stride, pad)) if len(kernel) == 1 else ""
    if len(kernel) == 2:
        pairs = zip(("kernel", "stride", "pad"), (kernel, stride, pad), strict=True)
        window = " ".join(f"{name}_h: {high} {name}_w: {wide}" for name, (high, wide) in pairs)
    window = "global_pooling: true" if draw.chance(0.1) else window
    kind = draw.choice("MAX", "AVE")
    switches = ["switches"] if kind == "MAX" and draw.chance(0.4) else []
    draw.layer("Pooling", ["x"], ["y", *switches], f"pooling_param {{ pool: {kind} {window} }}")
    draw.silence(*switches)


def spp(draw):
    height = draw.size(1, 3)
    draw.input("x", (draw.size(1, 3), draw.size(1, 4), *draw.shape(2, {1: 1, 2: 4, 3: 13}[height], 16)))
    draw.layer("SPP", ["x"], ["y"], f"spp_param {{ pyramid_height: {height} pool: {draw.choice('MAX', 'AVE')} }}")


def lrn(draw):
    draw.input("x", (draw.size(1, 3), draw.size(1, 9), *draw.shape(2, 1, 7)))
    within = draw.chance(0.4)
    fields = [
        draw.sometimes(f"local_size: {draw.choice(1, 3, 5, 7)}", 0.8),
        draw.sometimes(f"alpha: {draw.choice(1e-4, 0.5, 1)}"),
        draw.sometimes(f"beta: {draw.choice(0.5, 0.6, 0.75, 1)}"),
        "norm_region: WITHIN_CHANNEL" if within else draw.sometimes("k: 2", 0.3),
    ]
    draw.layer("LRN", ["x"], ["y"], f"lrn_param {{ {' '.join(fields)} }}")


def inner_product(draw):
    axes = draw.size(2, 5)
    axis = draw.size(0, axes - 1)
    draw.input("x", draw.shape(axes))
    fields = [
        draw.sometimes(f"axis: {draw.counted(axis, axes)}"),
        draw.sometimes("bias_term: false", 0.3),
        draw.sometimes(f"transpose: {draw.flag()}"),
    ]
    draw.layer(
        "InnerProduct", ["x"], ["y"], f"inner_product_param {{ num_output: {draw.size(1, 6)} {' '.join(fields)} }}"
    )


def embed(draw):
    draw.learned = True
    rows = draw.size(1, 6)
    draw.input("x", draw.shape(draw.size(1, 4)), "class", rows)
    more = draw.sometimes("bias_term: false", 0.3)
    draw.layer("Embed", ["x"], ["y"], f"embed_param {{ input_dim: {rows} num_output: {draw.size(1, 5)} {more} }}")


def batch_norm(draw):
    """By stored statistics: the wheel's BatchNorm knows nothing else; those of a batch are in tests/golden/layers."""
    draw.input("x", draw.shape(draw.size(2, 5), 2, 6))
    fields = "use_global_stats: true " if draw.phase == "TRAIN" else draw.sometimes("use_global_stats: true ")
    fields += draw.sometimes(f"eps: {draw.choice(1e-3, 1e-2)}", 0.3)
    draw.layer("BatchNorm", ["x"], ["y"], f"batch_norm_param {{ {fields} }}")


def _factors(draw: Drawing, kind: str) -> None:
    axes = draw.size(1, 5)
    shape, axis = draw.shape(axes), draw.size(0, axes - 1)
    draw.input("x", shape)
    bottoms, fields = ["x"], [f"axis: {draw.counted(axis, axes)}"]
    if draw.chance(0.3):
        bottoms.append(draw.input("z", shape[axis : axis + draw.size(1, axes - axis)]))
    else:
        fields.append(f"num_axes: {draw.choice(-1, *range(axes - axis + 1))}")
    if kind == "Scale":
        fields.append(draw.sometimes("bias_term: true"))
    draw.layer(kind, bottoms, ["y"], f"{kind.lower()}_param {{ {' '.join(fields)} }}")


def scale(draw):
    _factors(draw, "Scale")


def bias(draw):
    _factors(draw, "Bias")


def mvn(draw):
    draw.input("x", (draw.size(1, 3), draw.size(1, 4), *draw.shape(2, 3, 6)))
    fields = [
        draw.sometimes(f"normalize_variance: {draw.flag()}"),
        draw.sometimes(f"across_channels: {draw.flag()}"),
        draw.sometimes("eps: 0.01", 0.3),
    ]
    draw.layer("MVN", ["x"], ["y"], f"mvn_param {{ {' '.join(fields)} }}")


# type -> fields of its message, values of its input
_NEURONS = {
    "AbsVal": (lambda draw: "", "normal"),
    "BNLL": (lambda draw: "", "normal"),
    "Sigmoid": (lambda draw: "", "normal"),
    "TanH": (lambda draw: "", "normal"),
    "ReLU": (lambda draw: draw.sometimes(f"relu_param {{ negative_slope: {draw.number(0, 1)} }}"), "normal"),
    "ELU": (lambda draw: draw.sometimes(f"elu_param {{ alpha: {draw.number(0, 2)} }}"), "normal"),
    "Swish": (lambda draw: draw.sometimes(f"swish_param {{ beta: {draw.number()} }}"), "normal"),
    "Threshold": (lambda draw: draw.sometimes(f"threshold_param {{ threshold: {draw.number()} }}"), "normal"),
    "Power": (
        lambda draw: (
            f"power_param {{ power: {draw.choice(0, 1, 2, 3, 0.5, -1, 1.7)} scale: {draw.choice(0, 0.5, 1, 2)} "
            f"shift: {draw.choice(0.1, 0.3, 1)} }}"
        ),
        "positive",
    ),
    "Exp": (
        lambda draw: (
            f"exp_param {{ base: {draw.choice(-1, 2, 10, 0.5)} scale: {draw.number(-1, 1)} shift: {draw.number(-1, 1)} }}"
        ),
        "normal",
    ),
    "Log": (
        lambda draw: (
            f"log_param {{ base: {draw.choice(-1, 2, 10, 0.5)} scale: {draw.number(0.1)} shift: {draw.number(0.1)} }}"
        ),
        "positive",
    ),
}
_IN_PLACE = {"ReLU", "ELU", "Sigmoid", "TanH", "Exp"}  # in Caffe


def _neuron(kind: str):
    def drawn(draw: Drawing) -> None:
        fields, values = _NEURONS[kind]
        draw.input("x", draw.shape(draw.size(1, 5)), values)
        draw.backward = kind != "Threshold"
        if kind in _IN_PLACE and draw.chance(0.3):
            draw.layer("Power", ["x"], ["y"], name="copy")
            draw.layer(kind, ["y"], ["y"], fields(draw))
        else:
            draw.layer(kind, ["x"], ["y"], fields(draw))

    return drawn


def prelu(draw):
    draw.input("x", draw.shape(draw.size(2, 4)))
    draw.layer("PReLU", ["x"], ["y"], draw.sometimes(f"prelu_param {{ channel_shared: {draw.flag()} }}"))


def dropout(draw):
    draw.phase = "TEST"
    draw.input("x", draw.shape(draw.size(1, 5)))
    draw.layer("Dropout", ["x"], ["y"], "dropout_param { dropout_ratio: 0.3 }")


def concat(draw):
    axes = draw.size(1, 5)
    axis, shape = draw.size(0, axes - 1), list(draw.shape(axes))
    bottoms = []
    for number in range(draw.size(1, 4)):
        shape[axis] = draw.size(1, 4)
        bottoms.append(draw.input(f"x{number}", shape))
    old = axis == 1 and draw.chance(0.2)
    draw.layer(
        "Concat",
        bottoms,
        ["y"],
        f"concat_param {{ {'concat_dim: 1' if old else f'axis: {draw.counted(axis, axes)}'} }}",
    )


def slice_(draw):
    axes = draw.size(1, 5)
    axis, shape = draw.size(0, axes - 1), list(draw.shape(axes))
    parts = [draw.size(1, 3) for _ in range(draw.size(1, 4))]
    even = draw.chance()
    shape[axis] = parts[0] * len(parts) if even else sum(parts)
    points = "" if even else " ".join(f"slice_point: {sum(parts[:number])}" for number in range(1, len(parts)))
    draw.input("x", shape)
    tops = [f"y{number}" for number in range(len(parts))]
    draw.layer("Slice", ["x"], tops, f"slice_param {{ axis: {draw.counted(axis, axes)} {points} }}")


def eltwise(draw):
    shape, operation = draw.shape(draw.size(1, 5)), draw.choice("PROD", "SUM", "MAX")
    kind = draw.choice("normal", "whole") if operation == "MAX" else "normal"
    bottoms = [draw.input(f"x{number}", shape, kind) for number in range(draw.size(2, 4))]
    more = ""
    if operation == "SUM" and draw.chance():
        more = " ".join(f"coeff: {draw.number()}" for _ in bottoms)
    elif operation == "PROD":
        more = draw.sometimes(f"stable_prod_grad: {draw.flag()}", 0.3)
    draw.layer("Eltwise", bottoms, ["y"], f"eltwise_param {{ operation: {operation} {more} }}")


def reduction(draw):
    axes = draw.size(1, 5)
    draw.input("x", draw.shape(axes))
    fields = f"operation: {draw.choice('SUM', 'ASUM', 'SUMSQ', 'MEAN')} axis: {draw.size(-axes, axes - 1)}"
    draw.layer("Reduction", ["x"], ["y"], f"reduction_param {{ {fields} {draw.sometimes(f'coeff: {draw.number()}')} }}")


def reshape(draw):
    axes = draw.size(1, 5)
    shape, axis = draw.shape(axes), draw.size(0, axes - 1)
    replaced = draw.choice(-1, *range(axes - axis + 1))
    middle = shape[axis:] if replaced == -1 else shape[axis : axis + replaced]
    count = math.prod(middle)
    dims = [factor for factor in (2, 3, 5) if count % factor == 0]
    dims.append(count // math.prod(dims))
    if middle and middle[0] == dims[0] and draw.chance():
        dims[0] = 0
    if draw.chance():
        dims[-1] = -1
    draw.input("x", shape)
    text = " ".join(f"dim: {size}" for size in dims)
    counted = axis if draw.chance(0.7) else axis - axes - 1
    draw.layer("Reshape", ["x"], ["y"], f"reshape_param {{ shape {{ {text} }} axis: {counted} num_axes: {replaced} }}")


def flatten(draw):
    axes = draw.size(2, 5)
    first = draw.size(0, axes - 1)
    last = draw.size(first, axes - 1)
    draw.input("x", draw.shape(axes))
    fields = f"flatten_param {{ axis: {draw.counted(first, axes)} end_axis: {draw.counted(last, axes)} }}"
    draw.layer("Flatten", ["x"], ["y"], draw.sometimes(fields, 0.8))


def tile(draw):
    axes = draw.size(1, 5)
    draw.input("x", draw.shape(axes))
    draw.layer("Tile", ["x"], ["y"], f"tile_param {{ axis: {draw.size(-axes, axes - 1)} tiles: {draw.size(1, 4)} }}")


def crop(draw):
    axes = draw.size(2, 5)
    axis, shape = draw.size(0, axes - 1), draw.shape(axes, 2, 7)
    offsets = [draw.size(0, size - 1) for size in shape[axis:]]
    text = " ".join(f"offset: {offset}" for offset in offsets)
    if draw.chance(0.3):
        offsets = [min(offsets)] * len(offsets)
        text = f"offset: {offsets[0]}"
    elif draw.chance(0.2):
        offsets, text = [0] * len(offsets), ""
    sizes = [draw.size(1, size - offset) for size, offset in zip(shape[axis:], offsets, strict=True)]
    draw.input("x", shape)
    draw.input("z", [*draw.shape(axis), *sizes])
    draw.layer("Crop", ["x", "z"], ["y"], f"crop_param {{ axis: {draw.counted(axis, axes)} {text} }}")


def arg_max(draw):
    draw.backward = False
    axes = draw.size(1, 4)
    shape, axis = draw.shape(axes, 2, 6), draw.size(0, axes - 1)
    draw.input("x", shape)
    one_axis = draw.chance()
    best = draw.size(1, shape[axis] if one_axis else math.prod(shape[1:]))
    where = f"axis: {draw.counted(axis, axes)}" if one_axis else ""
    draw.layer("ArgMax", ["x"], ["y"], f"argmax_param {{ {where} top_k: {best} out_max_val: {draw.flag()} }}")


def softmax(draw):
    axes = draw.size(1, 5)
    draw.input("x", draw.shape(axes))
    fields = f"softmax_param {{ axis: {draw.size(-axes, axes - 1)} }}"
    draw.layer("Softmax", ["x"], ["y"], fields if axes < 2 else draw.sometimes(fields, 0.7))


def split(draw):
    draw.input("x", draw.shape(3))
    draw.layer("Split", ["x"], ["a", "b"])
    draw.layer("Eltwise", ["a", "b"], ["y"], "eltwise_param { operation: PROD }", "product")


def parameter(draw):
    shape = draw.shape(draw.size(1, 4))
    dims = " ".join(f"dim: {size}" for size in shape)
    draw.layer("Parameter", [], ["y"], f"parameter_param {{ shape {{ {dims} }} }}")
    draw.input("x", shape)
    draw.layer("Eltwise", ["x", "y"], ["z"], "eltwise_param { operation: PROD }", "product")


def batch_reindex(draw):
    draw.learned = True
    shape = draw.shape(draw.size(1, 4))
    draw.input("x", shape)
    draw.input("which", (draw.size(1, 6),), "class", shape[0])
    draw.layer("BatchReindex", ["x", "which"], ["y"])


def filter_(draw):
    draw.learned = True
    items, count = draw.size(2, 6), draw.size(1, 3)
    bottoms = [draw.input(f"x{number}", (items, *draw.shape(draw.size(0, 3)))) for number in range(count)]
    bottoms.append(draw.input("selector", (items, 1) if draw.chance() else (items,), "class"))
    draw.inputs["selector"].flat[draw.size(0, items - 1)] = 1  # of none Caffe's backward pass divides by 0
    draw.layer("Filter", bottoms, [f"y{number}" for number in range(count)])


def _recurrent(kind: str):
    def drawn(draw: Drawing) -> None:
        draw.learned = True
        steps, streams, outputs = draw.size(1, 5), draw.size(1, 4), draw.size(1, 5)
        bottoms = [
            draw.input("x", (steps, streams, *draw.shape(draw.size(1, 2)))),
            draw.input("cont", (steps, streams), "class"),
        ]
        if draw.chance():
            draw.inputs["cont"][:] = 1
        if draw.chance(0.3):
            bottoms.append(draw.input("static", (streams, *draw.shape(draw.size(1, 2)))))
        draw.passes = draw.choice(1, 1, 2, 3)  # a pass goes on from the states of the one before
        fields = f'num_output: {outputs} weight_filler {{ type: "uniform" min: -1 max: 1 }} bias_filler {{ type: "uniform" }}'
        states = []
        if draw.chance(0.3):
            draw.learned = False
            fields += " expose_hidden: true"
            states = [f"state{number}" for number in range(2 if kind == "LSTM" else 1)]
            bottoms += [
                draw.input(f"{state}_begins", (1, streams, outputs)) for state in states
            ]  # Caffe gives them no gradient
            draw.learned = True
        draw.layer(kind, bottoms, ["y", *states], f"recurrent_param {{ {fields} }}")
        draw.silence(*states)

    return drawn


def lstm_unit(draw):
    draw.learned = True
    streams, size = draw.size(1, 4), draw.size(1, 4)
    bottoms = [draw.input("c", (1, streams, size)), draw.input("x", (1, streams, 4 * size))]
    draw.layer("LSTMUnit", [*bottoms, draw.input("cont", (1, streams), "class")], ["cell", "h"])


DRAWN = {
    "ArgMax": arg_max,
    "BatchNorm": batch_norm,
    "BatchReindex": batch_reindex,
    "Bias": bias,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": deconvolution,
    "Dropout": dropout,
    "Eltwise": eltwise,
    "Embed": embed,
    "Filter": filter_,
    "Flatten": flatten,
    "Im2col": im2col,
    "InnerProduct": inner_product,
    "LRN": lrn,
    "LSTM": _recurrent("LSTM"),
    "LSTMUnit": lstm_unit,
    "MVN": mvn,
    "PReLU": prelu,
    "Parameter": parameter,
    "Pooling": pooling,
    "RNN": _recurrent("RNN"),
    "Reduction": reduction,
    "Reshape": reshape,
    "SPP": spp,
    "Scale": scale,
    "Slice": slice_,
    "Softmax": softmax,
    "Split": split,
    "Tile": tile,
    **{kind: _neuron(kind) for kind in _NEURONS},
}
