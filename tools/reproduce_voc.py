"""The paper's protocol at full scale on PASCAL VOC 2012: every step in order, each with the command that carries it out.

    python tools/reproduce_voc.py --voc VOCdevkit --vgg VGG_ILSVRC_16_layers.caffemodel [--sbd SBD] [--gpu 0] [--plan]
                                  [--weights inference.caffemodel] [--fcn-weights fcn8s.caffemodel]

A step whose result is there is not done again, so an interrupted call goes on; trainings resume from their newest
snapshot. --plan prints steps, commands and a time estimate from an iteration measured here, and carries out none.
Trained weights, where there are some already, take the place of training.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import command_line
from reproduce_table import PUBLISHED

from deconvnet.core.proto import read_net, read_solver
from deconvnet.core.segmentation.voc import DataError

ROOT = Path(__file__).resolve().parents[1]
DATA, OUT = Path("data/voc"), Path("results/voc")
DEPLOY, FCN = "prototxt/deconvnet_deploy.prototxt", "prototxt/fcn/fcn8s.prototxt"
STAGES = ("solver/stage1.prototxt", "solver/stage2.prototxt")
FCN_STAGES = ("solver/fcn32s.prototxt", "solver/fcn16s.prototxt", "solver/fcn8s.prototxt")
INFERENCE = Path("models/deconvnet_inference.caffemodel")
VARIANTS = {  # row of Table 1: what takes part
    "FCN-8s": ("fcn",),
    "DeconvNet": ("deconvnet",),
    "DeconvNet+CRF": ("deconvnet", "crf"),
    "EDeconvNet": ("deconvnet", "fcn"),
    "EDeconvNet+CRF": ("deconvnet", "fcn", "crf"),
}


@dataclass(frozen=True)
class Step:
    """One command of the protocol.

    product: the file that tells that it is done (None: the command knows itself); solver: of a training, for its time.
    """

    name: str
    command: list
    product: Path | None
    solver: str | None = None


def main():
    arguments = parse()
    os.chdir(ROOT)
    steps = protocol(arguments)
    if arguments.plan:
        print_plan(steps, arguments)
        return
    for number, step in enumerate(steps, start=1):
        done = step.product and step.product.exists()
        print(f"{number}. {step.name}: {f'done ({step.product})' if done else shlex.join(step.command)}", flush=True)
        if not done:
            carry_out(number, step)
        if step.name.startswith("score "):
            print_scores(step)
    print("\n" + table())


def carry_out(number, step):
    """Run one step's command. Raises DataError where it fails."""
    if step.product:
        step.product.parent.mkdir(parents=True, exist_ok=True)
    status = subprocess.run([sys.executable, *step.command], check=False).returncode
    if status:
        raise DataError(f"step {number}, {step.name}, ended with status {status}; mend it and call again to go on")


def protocol(arguments):
    """The steps, in order. Raises DataError where there is neither a VGG start nor trained weights."""
    gpu = [] if arguments.gpu is None else ["--gpu", str(arguments.gpu)]
    ours, fcn = arguments.weights, arguments.fcn_weights
    if not (arguments.vgg or (ours and fcn)):
        raise DataError("give --vgg, VGG-16's weights to train from (docs/fcn.md), or both --weights and --fcn-weights")
    prepare = ["tools/prepare_voc.py", "--voc", arguments.voc, "--out", str(DATA)]
    prepare += ["--sbd", arguments.sbd] if arguments.sbd else []
    steps = [Step("images, labels, proposals and example lists", prepare, DATA / "stage2_val.txt")]
    for first in [STAGES[0]] * (not ours) + [FCN_STAGES[0]] * (not fcn):
        solver = read_solver(first)
        start = Path(solver.weights[0])
        if start not in [step.product for step in steps]:
            convert = ["tools/convolutionize.py", "--weights", arguments.vgg, "--model", solver.net]
            steps.append(Step(f"VGG-16 as the start of {first}", [*convert, "--output", str(start)], start))
    if not ours:
        steps += [training(path, gpu) for path in STAGES]
        fold = ["tools/fold_batch_norm.py", "--model", read_solver(STAGES[1]).net, *gpu]
        fold += ["--weights", str(steps[-1].product), "--output", str(INFERENCE)]
        fold += ["--batches", "501"]  # as many as the release averages
        steps.append(Step("batch norm folded", fold, INFERENCE))
        ours = str(INFERENCE)
    if not fcn:
        steps += [training(path, gpu) for path in FCN_STAGES]
        fcn = str(steps[-1].product)
    return steps + segmentations(ours, fcn, gpu)


def training(path, gpu):
    """A training by a solver, which names what it starts from; it goes on from its newest snapshot where there is one."""
    solver = read_solver(path)
    product = Path(f"{solver.snapshot_prefix}_iter_{solver.max_iter}.caffemodel")
    command = ["tools/train_net.py", "--solver", path, *gpu]
    if any(product.parent.glob(f"{Path(solver.snapshot_prefix).name}_iter_*.solverstate*")):
        command += ["--snapshot", str(product.parent)]
    return Step(f"training by {path}", command, product, solver=path)


def segmentations(ours, fcn, gpu):
    """Segment and score VOC's validation images, as each row of the table does."""
    steps = []
    for row, parts in VARIANTS.items():
        folder = OUT / row
        command = ["tools/segment.py", str(DATA / "ImageSets/Segmentation/val.txt"), "--out", str(folder), *gpu]
        command += ["--folder", str(DATA / "JPEGImages")]
        command += ["--model", DEPLOY, "--weights", ours, "--cache", str(DATA / "proposals")] * ("deconvnet" in parts)
        command += ["--fcn-model", FCN, "--fcn-weights", fcn] * ("fcn" in parts) + ["--crf"] * ("crf" in parts)
        steps.append(Step(f"segment with {row}", command, None))
        scored = ["tools/evaluate.py", "--data", str(DATA), "--split", "val", "--results", str(folder / "labels")]
        scored += ["--json", str(folder / "scores.json"), "--html", str(folder / "report.html")]
        steps.append(Step(f"score {row}", scored, folder / "scores.json"))
    return steps


def print_scores(step):
    """One line of what a step has scored, beside what is published."""
    row = step.product.parent.name
    found = json.loads(step.product.read_text())
    print(
        f"   {row}: mean IoU {100 * found['scores']['mean_iou']:.1f} on VOC 2012 val; published, on test: {PUBLISHED[row]:.1f}"
    )


def table():
    """What is scored so far, as Markdown."""
    lines = ["| | mean IoU, ours (VOC 2012 val) | paper (VOC 2012 test) |", "| --- | --- | --- |"]
    for row, published in PUBLISHED.items():
        scored = OUT / row / "scores.json"
        found = f"{100 * json.loads(scored.read_text())['scores']['mean_iou']:.1f}" if scored.exists() else "not yet"
        lines.append(f"| {row} | {found} | {published:.1f} |")
    return "\n".join(lines)


def print_plan(steps, arguments):
    """Print every step with its command, and for the trainings the time that they would take here."""
    measured = {}
    for number, step in enumerate(steps, start=1):
        done = " (done)" if step.product and step.product.exists() else ""
        print(f"{number}. {step.name}{done}\n   python {shlex.join(step.command)}", flush=True)
        if step.solver and not done:
            solver = read_solver(step.solver)
            if solver.net not in measured:
                measured[solver.net] = iteration_seconds(solver.net, arguments.gpu)
            hours = measured[solver.net] * max(solver.iter_size, 1) * solver.max_iter / 3600
            print(f"   about {hours:.0f} hours: {solver.max_iter} updates of {max(solver.iter_size, 1)} batches,"
                  f" {measured[solver.net]:.2f} s a batch here, without its data and tests", flush=True)  # fmt: skip


def iteration_seconds(model, gpu):
    """Seconds of one forward and backward pass of a train net, measured here by tools/time_net.py on zeros.

    A batch larger than two is measured by two examples and taken in proportion: memory may not hold more.
    """
    data = next(layer for layer in read_net(model).layer if layer.top and layer.top[0] == "data")
    images, crop = data.image_data_param, data.transform_param.crop_size
    side = crop or images.new_height or 500
    batch = min(images.batch_size, 2)
    command = ["tools/time_net.py", "--model", model, "--iterations", "1"]
    command += ["--shape", f"data={batch},3,{side},{side}", "--shape", f"label={batch},1,{side},{side}"]
    command += [] if gpu is None else ["--gpu", str(gpu)]
    run = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    found = re.search(r"Average Forward-Backward: ([\d.e+]+) ms", run.stderr)
    if not found:
        raise DataError(f"{model} could not be timed: {''.join(run.stderr.strip().splitlines()[-1:])}")
    return float(found[1]) / 1000 * images.batch_size / batch


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--voc", type=os.path.abspath, required=True, metavar="DIR", help="VOCdevkit, or VOC2012 in it")
    option("--sbd", type=os.path.abspath, metavar="DIR", help="SBD's dataset folder, for trainaug's labels")
    option("--vgg", type=os.path.abspath, metavar="FILE", help="VGG-16's weights, to train from")
    option(
        "--weights",
        type=os.path.abspath,
        metavar="FILE",
        help="a trained DeconvNet with folded batch norm, in the place of training",
    )
    option("--fcn-weights", type=os.path.abspath, metavar="FILE", help="a trained FCN-8s, in the place of training")
    option("--plan", action="store_true", help="print steps, commands and times, carry out none")
    command_line.add_gpu(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
