"""The paper's protocol on the demo's data set: a small version of its Table 1, the ablations, every paper/code switch.

    python tools/reproduce.py [--out reproduce] [--jobs 2] [--seeds 3] [--results benchmarks/results/reproduce.json]
    python tools/reproduce.py --render     # put the tables of the results file into README.md and docs/reproduction.md

What is trained is kept: a call that was interrupted, or whose settings changed in part, goes on with the rest.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import command_line
from reproduce_scoring import COUNT, COUNTS, Images, deploy, score_net, score_system
from reproduce_table import ablation_table, counts_table, main_table, order_against_paper
from reproduce_training import Run, fold, train_all

from deconvnet.core.proto import read_solver
from deconvnet.core.segmentation import examples, synthetic, voc
from deconvnet.core.segmentation.evaluation import scores
from deconvnet.core.segmentation.proposals import Proposals
from deconvnet.core.segmentation.whole_images import write_whole_images

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from pages import commit, with_block  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "reproduce.json"
TRAIN, VAL = 320, 120  # images
DEPLOY, FCN_DEPLOY = "prototxt/demo/deploy.prototxt", "prototxt/demo/fcn8s_deploy.prototxt"
STAGE1, STAGE2, FCN = "solver/demo_stage1.prototxt", "solver/demo_stage2.prototxt", "solver/demo_fcn8s.prototxt"
OBJECTS = ("stage1_train.txt", "stage1_val.txt")
WINDOWS = ("stage2_train.txt", "stage2_val.txt")
AROUND = ("around_train.txt", "around_val.txt")
WHOLE = ("fcn_train.txt", "fcn_val.txt")
# of train and val: the FCN learns images at several scales
WHOLE_WINDOWS = {"per_image": 40, "scales": (0.75, 1.35)}, {}
SIDE = 32  # pixels of our net's input
SWITCH_ITERATIONS = 4000  # for what is measured by training stage 2 again and again


def main():
    arguments = parse()
    os.chdir(ROOT)
    if not arguments.render:
        command_line.optional("pydensecrf.densecrf", "pip install 'deconvnet[crf]' (Python 3.12 at most)")
        results = reproduce(arguments)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        print("\n".join(["", main_table(results), "", order_against_paper(results), ""]))
        print(f"{arguments.results} holds every figure; --render puts the tables into the pages")
    else:
        render(json.loads(arguments.results.read_text()))


def reproduce(arguments):
    """Carry out the whole protocol: the contents of the results file."""
    out = Path(arguments.out)
    folder, propose, counts = write_data(out / "data")
    runs = plan(arguments.seeds)
    print(f"{len(runs)} trainings, {arguments.jobs} at a time, into {out}/runs", flush=True)
    seconds = train_all(runs, out, out / "data", arguments.jobs, lambda line: print(line, flush=True))
    images = Images(folder, voc.read_ids(folder.split("val")), propose)
    found = score_all(images, {run.name: run for run in runs}, out, arguments)
    return {
        "command": shlex.join(["python", "tools/reproduce.py", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "training_minutes": round(sum(seconds.values()) / 60, 1),
        "examples": counts,
        "training_seconds": {name: round(value) for name, value in seconds.items()},
        "scores": found,
    }


def write_data(data):
    """Write the data set and the example lists; proposals are kept from call to call.

    Returns the VocFolder, the Proposals and {list: lines}.
    """
    print("data set, proposals and example lists", flush=True)
    folder, propose = synthetic.write_dataset(data, train=TRAIN, val=VAL), Proposals(cache=data / "proposals")
    counts, windows = {}, examples.proposal_windows(propose)
    for split, *names, whole in zip(synthetic.SPLITS, OBJECTS, WINDOWS, AROUND, WHOLE, WHOLE_WINDOWS, strict=True):
        lists = (
            examples.write_stage1(data, split, data / names[0]),
            examples.write_stage2(data, split, data / names[1], windows=windows, workers=os.cpu_count()),
            examples.write_stage2(data, split, data / names[2], windows=examples.random_windows()),
            write_whole_images(data, split, data / names[3], **whole),
        )
        counts |= {name: len(lines) for name, lines in zip(names, lists, strict=True)}
    return folder, propose, counts


def plan(seeds):
    """The trainings, each after that which it starts from."""
    switch = {"max_iter": SWITCH_ITERATIONS}
    both_stages = {"max_iter": sum(read_solver(ROOT / solver).max_iter for solver in (STAGE1, STAGE2))}
    runs = []
    for seed in range(seeds):
        first, second = f"deconvnet_{seed}_stage1", f"deconvnet_{seed}"
        runs += [
            Run(first, STAGE1, OBJECTS, seed=seed),
            Run(second, STAGE2, WINDOWS, start=first, seed=seed),
            Run(f"fcn_{seed}", FCN, WHOLE, seed=seed),
        ]
    for seed in range(min(seeds, 2)):
        plain = f"no_batch_norm_{seed}_stage1"
        runs += [
            Run(plain, STAGE1, OBJECTS, seed=seed, batch_norm=False),
            Run(f"no_batch_norm_{seed}", STAGE2, WINDOWS, start=plain, seed=seed, batch_norm=False),
            Run(f"around_objects_{seed}", STAGE2, AROUND, start=f"deconvnet_{seed}_stage1", seed=seed),
            # as many iterations as both stages have
            Run(f"one_stage_{seed}", STAGE2, WINDOWS, seed=seed, solver_changes=both_stages),
            # as many examples, of the same size, as our net sees in stage 2
            Run(f"fcn_on_proposals_{seed}", FCN, WINDOWS, seed=seed, batch=32, size=SIDE),
        ]
    runs.append(Run("fcn_on_large_proposals", FCN, WINDOWS, batch=8, size=3 * SIDE))
    halves = {"batch": 4, "solver_changes": {"iter_size": 2, **switch}}
    start = "deconvnet_0_stage1"
    runs += [
        Run("short", STAGE2, WINDOWS, start=start, solver_changes=switch),
        Run("two_micro_batches", STAGE2, WINDOWS, start=start, **halves),
    ]
    for name in ("decay_divided_by_iter_size", "bn_gradient_of_last_micro_batch"):
        changes = {**halves, "solver_changes": {**halves["solver_changes"], name: True}}
        runs.append(Run(name, STAGE2, WINDOWS, start=start, **changes))
    return runs


def score_all(images, runs, out, arguments):
    """Score every net: {variant: {"mean_iou": a value a seed, ...}}; some nets at a time, a process each."""
    jobs = []
    for seed in range(arguments.seeds):
        jobs.append((score_seed, seed))
    jobs += [(score_run, name, variant) for variant, names in variants(runs).items() for name in names]
    tallies = {}
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that follow
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(job[0], images, runs, out, *job[1:]) for job in jobs]
        for future in futures:
            for variant, matrix in future.result().items():
                tallies.setdefault(variant, []).append(scores(matrix))
    return {
        variant: {
            "mean_iou": [round(one.mean_iou, 4) for one in found],
            "pixel_accuracy": [round(one.pixel_accuracy, 4) for one in found],
            "iou": [[round(value, 4) for value in one.iou.tolist()] for one in found],
        }
        for variant, found in tallies.items()
    }


def variants(runs):
    """{variant: its runs, a seed each}, of the nets that have a training of their own."""
    grouped = {}
    for name in runs:
        variant = name.rstrip("0123456789").rstrip("_")
        if variant not in ("deconvnet", "fcn") and not name.endswith("stage1"):
            grouped.setdefault(variant, []).append(name)
    return grouped


def score_seed(images, runs, out, seed):
    """The rows of the table and what else can be asked of one seed's pair of nets."""
    run = runs[f"deconvnet_{seed}"]
    net = deploy(DEPLOY, run.weights(out))
    matrices = score_system(images, net, deploy(FCN_DEPLOY, runs[f"fcn_{seed}"].weights(out)))
    as_released = run.folder(out) / "inference_release.caffemodel"
    fold(run, out, as_released, "--batch-norm-rule", "release")
    by_batch = deploy(DEPLOY, run.snapshot(out), "batch")
    matrices |= score_net(images, deploy(DEPLOY, as_released), "variance as the release folds it")
    return matrices | score_net(images, by_batch, "statistics of the proposals at hand", batch=COUNT)


def score_run(images, runs, out, name, variant):
    """One net of an ablation over the proposals."""
    run = runs[name]
    model, batch_norm = FCN_DEPLOY if run.solver == FCN else DEPLOY, "folded" if run.batch_norm else "none"
    return score_net(images, deploy(model, run.weights(out), batch_norm, run.size), variant)


ABLATIONS = (
    ("one stage: windows only, as many iterations", "one_stage", None),
    ("stage 2 on windows drawn around objects, not proposals", "around_objects", None),
    ("no batch norm", "no_batch_norm", None),
    (f"FCN-8s trained on and applied to proposals, {SIDE}x{SIDE} as ours", "fcn_on_proposals", None),
    (f"FCN-8s trained on and applied to proposals, {3 * SIDE}x{3 * SIDE}", "fcn_on_large_proposals", None),
    ("sum instead of max", f"DeconvNet, {COUNT} proposals, sum", None),
    ("windows at all scales instead of proposals, max", "DeconvNet, windows at all scales, max", None),
    ("windows at all scales instead of proposals, sum", "DeconvNet, windows at all scales, sum", None),
    ("CRF, distances scaled to the image", "DeconvNet+CRF, distances scaled", None),
)
SWITCHES = (
    ("ensemble: product of clipped scores (release), not mean (paper)", "EDeconvNet as released", "EDeconvNet"),
    ("the same with CRF", "EDeconvNet as released+CRF", "EDeconvNet+CRF"),
    ("plain bilinear resizing (training), not antialiased (release's inference)",
     "DeconvNet, plain bilinear resizing", None),
    ("batch norm by the statistics of the proposals at hand (LEARN), not averaged and folded",
     "statistics of the proposals at hand", None),
    ("variance averaged without m/(m-1) (release's script)", "variance as the release folds it", None),
    ("micro-batches: 2 of 4, not 1 of 8 (statistics over 4)", "two_micro_batches", "short"),
    ("weight decay divided by iter_size (release), not BVLC's", "decay_divided_by_iter_size", "two_micro_batches"),
    ("batch norm's gradient of the last micro-batch only (release)", "bn_gradient_of_last_micro_batch",
     "two_micro_batches"),
)  # fmt: skip


def render(results, root=ROOT):
    """Put the tables of a results file into the pages below `root`."""
    where = f"On {results['machine']}, commit {results['commit']}, {results['date']}, by `{results['command']}`"
    minutes = f"its {len(results['training_seconds'])} trainings took {results['training_minutes']:.0f} minutes"
    blocks = {
        "made by": f"{where}; {minutes} of processor time.",
        "main table": main_table(results),
        "order": order_against_paper(results),
        "ablations": ablation_table(results, ABLATIONS),
        "proposals": counts_table(results, COUNTS),
        "switches": ablation_table(results, SWITCHES),
    }
    for path, own in (
        (root / "README.md", {"reproduction table": main_table(results)}),
        (root / "docs" / "reproduction.md", blocks),
    ):
        page = path.read_text()
        for mark, text in own.items():
            page = with_block(page, mark, text)
        path.write_text(page)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--out", default="reproduce", metavar="DIR", help="where data and nets go (default: %(default)s)")
    option(
        "--jobs",
        type=command_line.at_least(1),
        default=2,
        metavar="N",
        help="trainings at a time, a core each (default: %(default)s)",
    )
    option(
        "--seeds",
        type=command_line.at_least(1),
        default=3,
        metavar="N",
        help="of the table's nets (default: %(default)s)",
    )
    option("--results", type=Path, default=RESULTS, metavar="FILE", help="the results file")
    option("--render", action="store_true", help="put the tables of the results file into the pages, no more")
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
