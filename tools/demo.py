"""The main job in small, from files on disk: data, two-stage training, folded batch norm, segmented images, a score.

Everything it writes lies in demo/ under the project's root; the same call gives the same data and the same training.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import command_line
from tqdm import tqdm

import deconvnet
from deconvnet.core.proto import read_net, read_solver
from deconvnet.core.segmentation import evaluation, examples, report, synthetic, voc
from deconvnet.core.segmentation.color_baseline import ColorLookup
from deconvnet.core.segmentation.inference import classes_of, segment
from deconvnet.core.segmentation.windows import multi_scale_windows
from deconvnet.core.solver import loss_line, read_log

ROOT = Path(__file__).resolve().parents[1]
DEMO, DATA = Path("demo"), Path("demo/data")
SOLVERS = ("solver/demo_stage1.prototxt", "solver/demo_stage2.prototxt")
TRAIN_NET, DEPLOY_NET = "prototxt/demo/stage2_train_val.prototxt", "prototxt/demo/deploy.prototxt"
INFERENCE_WEIGHTS = DEMO / "deconvnet_demo_inference.caffemodel"
FOLD_BATCHES = 40
SHOWN = 8  # images in the report


def main():
    start = time.time()
    os.chdir(ROOT)
    folder = write_data()
    stages = [read_solver(path) for path in SOLVERS]
    train("stage 1", SOLVERS[0], stages[0], [])
    train("stage 2", SOLVERS[1], stages[1], ["--weights", snapshot(stages[0])])
    fold(snapshot(stages[1]))
    cases = segment_split(folder, "val")
    matrix = evaluation.evaluate(cases, len(synthetic.CLASSES)).matrix
    print_scores(len(cases), matrix, color_matrix(folder))
    write_report(folder, cases, evaluation.scores(matrix).mean_iou)
    print(f"{DEMO / 'report.png'} shows images, predictions and training curves; {time.time() - start:.0f} s in all\n")
    print(f"mean IoU: {evaluation.scores(matrix).mean_iou:.2f}")


def write_data():
    """Write the data set and the example lists of both stages; returns the VocFolder."""
    folder = synthetic.write_dataset(DATA, progress=lambda jobs: tqdm(jobs, "data set", unit="image"))
    for split, per_image in (("train", 100), ("val", 10)):
        crops = examples.write_stage1(
            DATA, split, DATA / f"stage1_{split}.txt",
            progress=lambda ids, split=split: tqdm(ids, f"{split} objects", unit="image"),
        )  # fmt: skip
        windows = examples.write_stage2(
            DATA, split, DATA / f"stage2_{split}.txt", examples.random_windows(per_image),
            progress=lambda ids, split=split: tqdm(ids, f"{split} windows", unit="image"),
        )  # fmt: skip
        print(f"{split}: {len(crops)} stage-1 crops, {len(windows)} stage-2 windows", flush=True)
    return folder


def snapshot(solver):
    """The weights that a training run leaves at its end."""
    return f"{solver.snapshot_prefix}_iter_{solver.max_iter}.caffemodel"


def train(stage, path, solver, arguments):
    """Run tools/train_net.py on a solver file; its log goes to demo/, its iterations to a progress bar."""
    with tqdm(total=solver.max_iter, desc=stage, unit="iter") as bar:

        def advance(line):
            if reported := loss_line(line):
                bar.update(reported[0] - bar.n)
                bar.set_postfix_str(f"loss {reported[1]:.3f}")

        run("train_net.py", ["--solver", path, *arguments], log_of(stage), advance)
        bar.update(solver.max_iter - bar.n)


def fold(weights):
    """Turn batch norm's statistics over training batches into the scale and shift of the inference net."""
    arguments = ["--model", TRAIN_NET, "--weights", weights, "--output", str(INFERENCE_WEIGHTS)]
    run("fold_batch_norm.py", [*arguments, "--batches", str(FOLD_BATCHES)], DEMO / "fold_batch_norm.log", print_line)


def segment_split(folder, split):
    """Segment every image of a split, window by window, into palette PNGs in demo/results; returns the Cases to score."""
    net = deconvnet.Net(DEPLOY_NET, deconvnet.TEST, weights=str(INFERENCE_WEIGHTS), share=True)
    mean, scale = input_transform(TRAIN_NET)
    (DEMO / "results").mkdir(exist_ok=True)
    cases = [
        evaluation.Case(i, folder.classes(i), DEMO / "results" / f"{i}.png", folder.image(i))
        for i in voc.read_ids(folder.split(split))
    ]
    for case in tqdm(cases, "segment", unit="image"):
        image = voc.read_image(case.photo)
        scores = segment(net, image, multi_scale_windows(*image.shape[:2]), mean=mean, scale=scale)
        voc.write_label(case.prediction, classes_of(scores))
    return cases


def input_transform(path):
    """The mean and scale that a train net's data layer applies, so that inference sees what training saw."""
    transform = next(layer for layer in read_net(path).layer if layer.HasField("transform_param")).transform_param
    return list(transform.mean_value), transform.scale


def color_matrix(folder):
    """The confusion matrix, on val, of a lookup from colour to class fitted on train."""
    lookup = ColorLookup(len(synthetic.CLASSES))
    for image_id in voc.read_ids(folder.split("train")):
        lookup.fit(voc.read_image(folder.image(image_id)), voc.read_label(folder.classes(image_id)))
    matrix = 0
    for image_id in voc.read_ids(folder.split("val")):
        prediction = lookup.predict(voc.read_image(folder.image(image_id)))
        matrix = matrix + evaluation.confusion(
            voc.read_label(folder.classes(image_id)), prediction, len(synthetic.CLASSES)
        )
    return matrix


def print_scores(count, matrix, by_color):
    """Print the per-class table of so many images and what colour alone reaches on the same ones."""
    color = evaluation.scores(by_color)
    print(f"\n{count} validation images, {len(multi_scale_windows(synthetic.HEIGHT, synthetic.WIDTH))} windows each\n")
    print(evaluation.table(matrix, synthetic.CLASSES))
    print(
        f"\ncolour alone (16x16x16 lookup fitted on train): mean IoU {color.mean_iou:.2f}; colour tells figure from"
        f" ground\n(background IoU {color.iou[0]:.2f}) but not the class (the classes' mean IoU {color.iou[1:].mean():.2f})"
    )


def write_report(folder, cases, mean_iou):
    """Draw demo/report.png from the validation images with the most objects and both stages' logs."""
    crowd = {case: len(examples.object_boxes(voc.read_label(folder.objects(case.image_id)))) for case in cases}
    fullest = sorted(cases, key=crowd.get, reverse=True)[:SHOWN]
    shown = [(voc.read_image(case.photo), *evaluation.read_case(case)[:2]) for case in fullest]
    curves = {stage: read_log(log_of(stage)) for stage in ("stage 1", "stage 2")}
    title = f"DeconvNet in small: mean IoU {mean_iou:.2f} on {len(cases)} images"
    report.draw_report(DEMO / "report.png", shown, synthetic.CLASSES, curves, title=title)


def log_of(stage):
    return DEMO / f"{stage.replace(' ', '')}.log"


def run(tool, arguments, log, on_line):
    """Run another tool of this folder; every line goes to the file `log` and to `on_line`. Exits where the tool fails."""
    command = [sys.executable, str(ROOT / "tools" / tool), *arguments]
    # maps of 32x32 are too small to share: the net takes one core, the threads that cut and resize its windows the other
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1"}
    lines = []
    with (
        open(log, "w") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        ) as process,
    ):  # fmt: skip
        for line in process.stdout:
            file.write(line)
            file.flush()
            lines = [*lines[-9:], line]
            on_line(line)
    if process.returncode:
        sys.exit(f"{''.join(lines)}tools/{tool} ended with status {process.returncode}; its whole log: {log}")


def print_line(line):
    print(line, end="", flush=True)


if __name__ == "__main__":
    command_line.run(main)
