"""Draw loss, accuracy and rate over the iterations, from training logs (this project's or Caffe's) or tables of --csv.

    python tools/plot_log.py LOG_OR_CSV... --output curves.png

Each run has its colour. Losses of the train net are lines, values of test nets are dotted lines with a mark at each test pass.
The picture's suffix chooses its form: .png, .svg, .pdf. Needs matplotlib: pip install 'deconvnet[plot]'.
"""

import argparse
import os

import command_line

from deconvnet.core.blob import replacing
from deconvnet.core.segmentation.voc import DataError
from deconvnet.core.solver import read_curves

WIDTH, HEIGHT = 6.0, 3.6  # of one panel, in inches
MARKS = "os^Dv<>pP*"


def main():
    arguments = parse()
    matplotlib = command_line.optional("matplotlib", "pip install 'deconvnet[plot]'")
    matplotlib.use("Agg")  # no display is needed
    require_form(arguments.output)
    runs = dict(zip(labels(arguments.runs), map(read_curves, arguments.runs), strict=True))
    draw(runs, arguments.output)


def require_form(path):
    """Raise DataError with the forms that matplotlib writes where the picture's suffix names none of them."""
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    if form_of(path) not in known:
        raise DataError(f"{path}: no form of picture that matplotlib writes; give one of .{', .'.join(known)}")


def form_of(path):
    """What a picture's suffix says, without the dot."""
    return os.path.splitext(path)[1][1:].lower()


def labels(paths):
    """A short name for each run: its file's, with the folder where two would be the same."""
    names = [os.path.basename(path) for path in paths]
    return [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]


def panel_of(name):
    """Which panel a curve belongs to, or None for one that another curve tells already."""
    if name == "lr":
        return "learning rate"
    if "loss" in name.lower():
        return None if name.startswith("train/") else "loss"
    return "accuracy"


def draw(runs, path):
    """Draw a panel for each kind of curve that there is; runs: {label: Curves}. Raises OSError that names `path`."""
    from matplotlib import pyplot

    drawn = {panel_of(name) for curves in runs.values() for name in curves}
    panels = [panel for panel in ("loss", "accuracy", "learning rate") if panel in drawn]
    size = (WIDTH * len(panels), HEIGHT)
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=True):
        draw_panel(axis, panel, runs)
    with replacing(path) as file:
        figure.savefig(file, format=form_of(path), dpi=120)
    pyplot.close(figure)


def draw_panel(axis, panel, runs):
    """The curves of one kind, of all runs."""
    for number, (label, curves) in enumerate(runs.items()):
        names = sorted((name for name in curves if panel_of(name) == panel), key=lambda name: name.startswith("test"))
        for name, mark in zip(names, MARKS * len(names), strict=False):
            tested = name.startswith("test")
            style = {"linestyle": ":", "marker": mark, "markersize": 4} if tested else {"linestyle": "-"}
            said = label if name in ("loss", "lr") else f"{label}: {name}"
            axis.plot(*zip(*curves[name], strict=True), color=f"C{number % 10}", linewidth=1.4, label=said, **style)
    axis.set_title(panel)
    axis.set_xlabel("iteration")
    axis.grid(color="0.9")
    axis.legend(fontsize=8)
    if panel == "learning rate" and all(value > 0 for curves in runs.values() for _, value in curves.get("lr", [])):
        axis.set_yscale("log")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", nargs="+", metavar="LOG_OR_CSV", help="logs of train_net.py or Caffe, or tables of --csv"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the picture, .png, .svg or .pdf")
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
