"""A net as a graph in the DOT language, for graphviz to draw: layers are boxes, blobs the arrows between them."""

import shutil
import subprocess

from .errors import NetError
from .input_shapes import makes_data

_COLORS = {
    "Convolution": "#c6dbef",
    "DepthwiseConvolution": "#c6dbef",
    "ConvolutionDepthwise": "#c6dbef",
    "Deconvolution": "#fdd0a2",
    "InnerProduct": "#c6dbef",
    "Pooling": "#c7e9c0",
    "ROIPooling": "#c7e9c0",
    "Unpooling": "#fdae6b",
    "Upsample": "#fdae6b",
    "loss": "#fcbba1",
    "data": "#d9d9d9",
    "other": "#f7f7f7",
}
_STYLE = (
    '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11, color="#888888"];',
    '  edge [fontname="Helvetica", fontsize=9, color="#555555"];',
)
DIRECTIONS = ("TB", "LR", "BT", "RL")
_REMEDY = "install graphviz (Debian: apt-get install graphviz; conda: conda install graphviz), or write a .dot file"


def drawn(source: str, form: str) -> bytes:
    """DOT text as a picture in a form that graphviz's program `dot` knows (svg, png, pdf ...).

    Raises NetError where dot is not installed or does not draw it.
    """
    program = shutil.which("dot")
    if program is None:
        raise NetError(f"the program dot is not installed: {_REMEDY}")
    done = subprocess.run([program, f"-T{form}"], input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        raise NetError(f"dot cannot draw it: {' '.join(done.stderr.decode(errors='replace').split())}")
    return done.stdout


def dot_source(
    param, shapes: dict[str, tuple[int, ...]] | None = None, direction: str = "TB", rates: bool = False
) -> str:
    """The graph of a NetParameter, filtered by phase and without splits, as DOT text.

    Layers that work in place stand in the box of the layer whose top they change. An arrow says the blob's name where it is not its
    layer's, and its shape where `shapes` knows it. direction: TB (top to bottom), LR, BT or RL; rates: write the lr_mult of
    parameters that have one. Raises ValueError for another direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"no such direction: {direction}; it is one of {', '.join(DIRECTIONS)}")
    sizes = {blob: "x".join(map(str, shape)) for blob, shape in (shapes or {}).items()}
    boxes, arrows, outputs = _arrange(param)
    lines = [f"digraph {_quoted(param.name or 'net')} {{", f"  rankdir={direction};", *_STYLE]
    for number, layers in enumerate(boxes):
        lines.append(f"  n{number} [label={_quoted(_label(layers, rates))}, fillcolor={_quoted(_color(layers[0]))}];")
    for source, target, blob in arrows:
        named = "" if blob == boxes[source][0].name else blob
        lines.append(f"  n{source} -> n{target} [label={_quoted(_joined(named, sizes.get(blob)))}];")
    for number, (source, blob) in enumerate(outputs):
        lines.append(f"  out{number} [label={_quoted(_joined(blob, sizes.get(blob)))}, shape=ellipse, style=solid];")
        lines.append(f"  n{source} -> out{number};")
    return "\n".join([*lines, "}", ""])


def _arrange(param):
    """Boxes, each a list of layers; arrows (box, box, blob); and outputs (box, blob), which no layer reads."""
    boxes, arrows, maker, read = [], [], {}, set()
    for layer in param.layer:
        if list(layer.top) == list(layer.bottom) and len(layer.top) == 1 and layer.top[0] in maker:
            boxes[maker[layer.top[0]]].append(layer)
            continue
        arrows.extend((maker[bottom], len(boxes), bottom) for bottom in layer.bottom if bottom in maker)
        read.update((maker.get(bottom), bottom) for bottom in layer.bottom)
        maker.update((top, len(boxes)) for top in layer.top)
        boxes.append([layer])
    outputs = [(source, blob) for blob, source in maker.items() if (source, blob) not in read]
    return boxes, arrows, outputs


def _label(layers, rates: bool) -> str:
    """The names and types of a box's layers, the window of the first, and where wanted their rates."""
    lines = [layers[0].name]
    for number, layer in enumerate(layers):
        lines.append(f"{layer.type}: {layer.name}" if number else f"{layer.type}{_window(layer)}")
        if rates and any(spec.HasField("lr_mult") for spec in layer.param):
            lines.append(f"lr mult: {', '.join(f'{spec.lr_mult:g}' for spec in layer.param)}")
    return "\n".join(lines)


def _window(layer) -> str:
    """` 64, 3x3 / 2` for 64 outputs of a 3x3 window with stride 2."""
    if layer.HasField("inner_product_param"):
        return f" {layer.inner_product_param.num_output}"
    for field in ("convolution_param", "pooling_param"):
        if layer.HasField(field):
            param = getattr(layer, field)
            outputs = f" {param.num_output}," if field == "convolution_param" else ""
            kernel, stride = _sizes(param, "kernel"), _sizes(param, "stride")
            sizes = f" {'x'.join(map(str, kernel))}" if all(kernel) else ""
            return f"{outputs}{sizes}" + (f" / {stride[0]}" if stride[0] not in (0, 1) else "")
    return ""


def _sizes(param, name: str) -> tuple[int, ...]:
    """A window's sizes, two where they are given once; 0 where they are not."""
    plain = getattr(param, "kernel_size" if name == "kernel" else name)
    sizes = [plain] if isinstance(plain, int) else list(plain)
    height, width = getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
    return (height, width) if height or width else tuple(sizes if len(sizes) > 1 else 2 * sizes) or (0, 0)


def _color(layer) -> str:
    if makes_data(layer):
        return _COLORS["data"]
    if "Loss" in layer.type or "Accuracy" in layer.type:
        return _COLORS["loss"]
    return _COLORS.get(layer.type, _COLORS["other"])


def _joined(*texts: str | None) -> str:
    return "\n".join(text for text in texts if text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
