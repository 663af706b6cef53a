"""How exact every convolution and deconvolution of the full DeconvNet is in float32, at its true shape, against float64.

    python benchmarks/accuracy_of_layers.py [--out benchmarks/results/accuracy.json]

One image goes through the inference net with drawn weights; each layer sees what the layers before it made, and a drawn gradient. Its
result, its gradient of x and its gradient of the weights are compared by norm with those of the definition: a sum over the taps of the
window, each a product of NumPy's in float64. Then the score of the whole net is compared with that of plain im2col
(DECONVNET_CONVOLUTION=product) on some images, as it is and with im2col's switches: where two values of a pooling window are equal but
for their last digits, any rounding may turn the switch and move what is unpooled by a pixel. Ends with status 1 where a limit is crossed.
Takes a minute and 3 GB.
`--render` puts the table of the results file into docs/winograd.md and measures nothing.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import measured_deconvnet as measured  # before NumPy: it imports deconvnet first
import numpy as np
from compare_cpu import processor
from pages import commit, with_block

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "winograd.md"
RESULTS = HERE / "results" / "accuracy.json"
LIMITS = {"forward": 1e-5, "dx": 5e-5, "dweights": 5e-5}
SCORE_LIMIT = 1e-3  # of the score's standard deviation, root mean square, with the same switches
IMAGES = 8


def definition(x, weights, dy, pad: int):
    """(y without bias, dx, dweights) of one image in float64, the correlation of x (C, H, W) with weights (O, C, k, k) by its definition.

    dy (O, H', W') is the gradient of y; every tap of the window is one product over the places that it meets.
    """
    outputs, channels, size, _ = weights.shape
    height, width = dy.shape[1:]
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad)))
    gradient = dy.astype(np.float64).reshape(outputs, -1)
    y, dpadded, dweights = np.zeros(gradient.shape), np.zeros(padded.shape), np.zeros(weights.shape)
    for i in range(size):
        for j in range(size):
            tap, met = weights[:, :, i, j].astype(np.float64), np.s_[:, i : i + height, j : j + width]
            part = padded[met].reshape(channels, -1)
            y += tap @ part
            dpadded[met] += (tap.T @ gradient).reshape(channels, height, width)
            dweights[:, :, i, j] = gradient @ part.T
    inside = np.s_[:, pad : padded.shape[1] - pad, pad : padded.shape[2] - pad]
    return y.reshape(dy.shape), dpadded[inside], dweights


def expected(layer, x, dy):
    """(y, dx, dweights) of a layer by the definition; a deconvolution is the gradient of the correlation whose y it takes."""
    weights, bias = (blob.data for blob in layer.blobs)
    pad = layer.geometry.pad[0]
    if layer.transposed:
        dx, y, dweights = definition(dy, weights, x, pad)
    else:
        y, dx, dweights = definition(x, weights, dy, pad)
    return y + bias.astype(np.float64)[:, None, None], dx, dweights


def relative(found, wanted) -> float:
    """The norm of the difference over the norm of what is wanted, without a second array of their size."""
    squares = [(np.sum((a - b) ** 2), np.sum(b**2)) for a, b in zip(found, wanted, strict=True)]
    return float(np.sqrt(np.divide(*np.sum(squares, axis=0))))


def errors_of(layer, bottom, top, draw) -> dict:
    """Run a layer forward and backward on the image in `bottom`; its row of the results. Its top then holds the result of forward."""
    layer.forward([bottom], [top])
    top.diff[...] = draw.normal(0, 1, top.shape)
    for blob in layer.blobs:
        blob.diff[...] = 0
    layer.backward([top], [True], [bottom])
    found = top.data[0], bottom.diff[0], layer.blobs[0].diff
    wanted = expected(layer, bottom.data[0], top.diff[0])
    row = {
        "layer": layer.name,
        "bottom": list(bottom.shape[1:]),
        "top": list(top.shape[1:]),
        "algorithm": layer.algorithm([bottom], [top]),
    }
    for name, a, b in zip(LIMITS, found, wanted, strict=True):
        row[name] = relative(a, b)
    return row


def measure_layers(net) -> list[dict]:
    """The rows of all convolutions and deconvolutions."""
    draw = np.random.default_rng(2)
    rows = []
    for layer, bottom, top in net.connections():
        if hasattr(layer, "algorithm"):
            rows.append(errors_of(layer, bottom[0], top[0], draw))
        else:
            layer.forward(bottom, top)
    return rows


def score(net, image, algorithm: str, switches=()):
    """(score of an image, switches of its pooling layers); given `switches` take the place of the net's own."""
    os.environ["DECONVNET_CONVOLUTION"] = algorithm
    net.blobs["data"].data[...] = image
    found = []
    for layer, bottom, top in net.connections():
        layer.forward(bottom, top)
        if layer.param.type == "Pooling":
            found.append(top[1].data.copy())
            if switches:
                top[1].data[...] = switches[len(found) - 1]
    del os.environ["DECONVNET_CONVOLUTION"]
    return top[0].data.astype(np.float64), found


def compare_score(images) -> dict:
    """Per image the root mean square of the difference between our score and im2col's, in standard deviations of the latter."""
    net = measured.inference_net(1)
    result = {"same_switches": [], "own_switches": [], "switches": 0, "turned": 0}
    for image in images:
        wanted, switches = score(net, image, "product")
        ours, own = score(net, image, "")
        alike, _ = score(net, image, "", switches)
        for name, found in (("same_switches", alike), ("own_switches", ours)):
            result[name].append(float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std()))
        result["switches"] += sum(array.size for array in switches)
        result["turned"] += sum(int((a != b).sum()) for a, b in zip(own, switches, strict=True))
    return result


def shape(sizes) -> str:
    """Channels and size of a blob."""
    return f"{sizes[0]} at {sizes[1]}x{sizes[2]}"


def line(row: dict) -> str:
    """A line of the table."""
    errors = [f"{row[name]:.1e}" for name in LIMITS]
    return "| " + " | ".join([row["layer"], shape(row["bottom"]), shape(row["top"]), row["algorithm"], *errors]) + " |"


def table(result: dict) -> str:
    """The results as Markdown."""
    score = result["score"]
    own = sorted(score["own_switches"])
    half = (own[(len(own) - 1) // 2] + own[len(own) // 2]) / 2
    return "\n".join(
        [
            "| layer | bottom | top | algorithm | y | dx | dweights |",
            "|---|---|---|---|---|---|---|",
            *map(line, result["layers"]),
            "",
            f"The score of the whole net, on {len(own)} images of noise, differs from im2col's by {max(score['same_switches']):.1e} of its standard",
            "deviation at most (root mean square) where both take the same switches. Left to itself it turns "
            f"{score['turned']} of {score['switches']:,} switches,",
            "where two values of a pooling window are equal but for their last digits, and what is unpooled there moves by a pixel: then the",
            f"images differ by {own[0]:.1e} to {own[-1]:.1e}, half of them by less than {half:.1e}. Commit {result['commit']}.",
        ]
    )


def render(result: dict) -> str:
    """docs/winograd.md with the table between its marks."""
    return with_block(PAGE.read_text(), "accuracy table", table(result))


def crossed(result: dict) -> list[str]:
    """What is beyond its limit, or is no number."""
    told = [
        f"{row['layer']}: {name} {row[name]:.1e}"
        for row in result["layers"]
        for name, limit in LIMITS.items()
        if not row[name] <= limit
    ]
    worst = max(result["score"]["same_switches"])
    return told if worst <= SCORE_LIMIT else [*told, f"score {worst:.1e}"]


def main() -> None:
    """Measure, print, write the file; or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="only put the table of the file into docs/winograd.md")
    chosen = parser.parse_args()
    if chosen.render:
        PAGE.write_text(render(json.loads(chosen.out.read_text())))
        return
    images = np.random.default_rng(1).normal(0, 50, (IMAGES, 1, 3, 224, 224))
    result = {"processor": processor(), "commit": commit(), "score": compare_score(images)}
    net = measured.inference_net(1, share=False)
    net.blobs["data"].data[...] = images[0]
    result["layers"] = measure_layers(net)
    print(table(result))
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {chosen.out}; --render puts the table into {PAGE.name}, which the tests hold to the file")
    if told := crossed(result):
        sys.exit("accuracy_of_layers: beyond its limit: " + "; ".join(told))


if __name__ == "__main__":
    main()
