"""How many annotated objects do edge boxes find? Recall against the number of boxes and against the overlap asked for.

    python benchmarks/proposal_recall.py                              # images as the demo's (seed 0)
    python benchmarks/proposal_recall.py --seed 7 --images 100 --out recall.json      # others like them
    python benchmarks/proposal_recall.py --voc data/voc --images 200 --out voc.json [--model forest.yml.gz]
    python benchmarks/proposal_recall.py --render                     # docs/proposals.md from the results file; measures nothing

Writes a JSON file and beside it a picture, for the committed results docs/proposal_recall.png. An object counts as found where
the intersection of its tight box with one of the first n boxes, divided by their union, reaches the overlap.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from pages import with_block

from deconvnet.core.segmentation.edges import load_forest
from deconvnet.core.segmentation.examples import object_boxes
from deconvnet.core.segmentation.proposals import LONG_SIDE, PARAMETERS, chosen, edge_boxes
from deconvnet.core.segmentation.synthetic import write_dataset
from deconvnet.core.segmentation.voc import VOID, VocFolder, read_ids, read_image, read_label
from deconvnet.core.segmentation.windows import SIDES, multi_scale_windows

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "proposals.md"
RESULTS = HERE / "results" / "proposal_recall.json"
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
OVERLAPS = tuple(round(0.5 + 0.05 * k, 2) for k in range(11))
SHOWN = (10, 25, 50, 100)  # chosen boxes that a net is shown
VARIANTS = {
    "default": {},
    "median 1 (none)": {"median": 1},
    "median 15": {"median": 15},
    "sigma 1": {"sigma": 1.0},
    "sigma 3": {"sigma": 3.0},
    "long_side 160": {"long_side": 160},
    "long_side 500": {"long_side": 500},
    "min_area 0.005": {"min_area": 0.005},
    "max_aspect_ratio 2": {"max_aspect_ratio": 2.0},
    "alpha 0.55": {"alpha": 0.55},
    "alpha 0.75": {"alpha": 0.75},
    "beta 0.55": {"beta": 0.55},
    "beta 0.75": {"beta": 0.75},
    "eta 0.9996": {"eta": 0.9996},
    "kappa 1.2": {"kappa": 1.2},
    "kappa 1.8": {"kappa": 1.8},
    "gamma 1": {"gamma": 1.0},
    "edge_min_mag 0.05": {"edge_min_mag": 0.05},
}
DRAWN = {
    "default": "edge boxes, default", "median 1 (none)": "no median filter", "long_side 160": "long side 160",
    "beta 0.75": "beta 0.75", "forest": "structured forest", "windows": "windows at 5 scales, shuffled",
    "random": "random boxes",
}  # fmt: skip


def sources(model):
    """{name: a function of an image (H, W, 3) that gives boxes (n, 4), best first}."""
    found = {name: lambda image, given=given: edge_boxes(image, **given)[0] for name, given in VARIANTS.items()}
    if model:
        forest = load_forest(model)
        found["forest"] = lambda image: edge_boxes(image, model=forest)[0]
    return found | {"windows": shuffled_windows, "random": random_boxes}


def shuffled_windows(image):
    """The demo's windows, in proportion to the image, in an order of chance."""
    sides = [max(round(side * max(image.shape) / 160), 1) for side in SIDES]
    return np.random.default_rng(0).permutation(multi_scale_windows(*image.shape[:2], sides))


def random_boxes(image):
    """Boxes between two points of chance."""
    points = np.random.default_rng(0).integers(0, (image.shape[1], image.shape[0]), (max(COUNTS), 2, 2))
    return np.hstack([points.min(axis=1), points.max(axis=1)])


def overlaps(boxes, truth):
    """Intersection over union of boxes (n, 4) with one box x1 y1 x2 y2, corners inclusive: (n,) from 0 to 1."""
    width, height = (np.minimum(boxes[:, 2:], truth[2:]) - np.maximum(boxes[:, :2], truth[:2]) + 1).clip(0).T
    areas = [(box[..., 2:] - box[..., :2] + 1).prod(axis=-1) for box in (boxes, np.array(truth))]
    return width * height / (areas[0] + areas[1] - width * height)


def covered(boxes, objects, min_side):
    """The share of objects' pixels inside the first n chosen boxes, for every n of SHOWN."""
    inside = (objects > 0) & (objects != VOID)
    seen, shares = np.zeros_like(inside), {}
    windows = chosen(boxes, max(SHOWN), min_side).clip(0)
    for n in range(1, max(SHOWN) + 1):
        for x1, y1, x2, y2 in windows[n - 1 : n]:
            seen[y1 : y2 + 1, x1 : x2 + 1] = True
        if n in SHOWN:
            shares[n] = (inside & seen).sum() / inside.sum()
    return [shares[n] for n in SHOWN]


def measure(name, source, images, min_side):
    """A row of the results: recall of all objects of the images [(image, objects)] by one source."""
    best, shares, sizes = [], [], []
    for image, objects in images:
        boxes = source(image)
        sizes.append(len(boxes))
        shares.append(covered(boxes, objects, min_side))
        for truth in object_boxes(objects).values():
            found = overlaps(boxes, truth)
            best.append([found[:count].max(initial=0) for count in COUNTS])
    best = np.array(best)

    def at(count, overlap):
        return round(float((best[:, COUNTS.index(count)] >= overlap).mean()), 4)

    return {
        "name": name,
        "boxes": round(float(np.mean(sizes)), 1),
        "by_count": {str(overlap): [at(count, overlap) for count in COUNTS] for overlap in (0.5, 0.7)},
        "by_overlap": {str(count): [at(count, overlap) for overlap in OVERLAPS] for count in (50, 1000)},
        "covered": [round(float(share), 4) for share in np.mean(shares, axis=0)],
    }


def read_images(folder, split, limit):
    """The images of a split that show an object, with their objects' labels, `limit` at most."""
    found = []
    for image_id in read_ids(folder.split(split)):
        objects = read_label(folder.objects(image_id))
        if object_boxes(objects) and len(found) < limit:
            found.append((read_image(folder.image(image_id)), objects))
    return found


def draw(result, path):
    """The curves, as the edge-box paper draws them, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 8), sharey=True, layout="constrained")
    rows = [row for row in result["rows"] if row["name"] in DRAWN]
    styles = {"windows": "--", "random": ":"}
    for row in rows:
        how = {"label": DRAWN[row["name"]], "linestyle": styles.get(row["name"], "-")}
        how |= {"linewidth": 2.5, "color": "black"} if row["name"] == "default" else {"linewidth": 1.5}
        for axis, overlap in zip(axes[0], ("0.5", "0.7"), strict=True):
            axis.semilogx(COUNTS, row["by_count"][overlap], **how)
            axis.set(title=f"overlap {overlap}", xlabel="boxes an image")
        for axis, count in zip(axes[1], ("50", "1000"), strict=True):
            axis.plot(OVERLAPS, row["by_overlap"][count], **how)
            axis.set(title=f"{count} boxes an image", xlabel="overlap asked for (intersection over union)")
    for axis in axes.flat:
        axis.set(ylim=(0, 1))
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of the objects found")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(result["data"])
    figure.savefig(path, dpi=80)


def table(result):
    """The results as Markdown."""
    heads = ["", "50 boxes, 0.5", "50, 0.7", "1000, 0.5", "1000, 0.7", "seen in 10", "in 25", "in 50", "boxes"]
    lines = [heads, ["---"] * len(heads)]
    for row in result["rows"]:
        recall = [row["by_count"][overlap][COUNTS.index(n)] for n in (50, 1000) for overlap in ("0.5", "0.7")]
        cells = [f"{share:.2f}" for share in recall + row["covered"][:3]]
        lines.append([f"`{row['name']}`" if row["name"] in VARIANTS else row["name"], *cells, f"{row['boxes']:.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(result):
    """docs/proposals.md with the table and what it was measured on between its marks."""
    said = f"{result['data']}, OpenCV {result['opencv']}, by `{result['command']}`:"
    return with_block(PAGE.read_text(), "recall table", f"{said}\n\n{table(result)}")


def defaults():
    """The parameters that the row `default` was measured with."""
    return {name: default for name, (default, _, _) in PARAMETERS.items()} | {"long_side": LONG_SIDE}


def main():
    """Measure every source, print the table, write the file and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voc", type=Path, help="a data set in VOC layout instead of the demo's")
    parser.add_argument("--split", default="val", help="its list of images (default: val)")
    parser.add_argument("--seed", type=int, default=0, help="that the demo's images are drawn from (default: 0)")
    parser.add_argument("--images", type=int, default=150, help="how many images, at most (default: 150)")
    parser.add_argument("--model", help="a structured forest (.yml or .yml.gz), measured as well")
    parser.add_argument("--min-side", type=int, help="of a chosen box, in pixels (default: 24, with --voc 112)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="only put the table of the results file into docs")
    given = parser.parse_args()
    if given.render:
        PAGE.write_text(render(json.loads(given.out.read_text())))
        return
    with tempfile.TemporaryDirectory() as drawn:
        folder = VocFolder(given.voc) if given.voc else write_dataset(drawn, train=0, val=given.images, seed=given.seed)
        images = read_images(folder, given.split, given.images)
    objects = sum(len(object_boxes(labels)) for _, labels in images)
    where = f"{given.voc} {given.split}" if given.voc else f"drawn as the demo's, seed {given.seed}"
    result = {
        "data": f"{objects} objects in {len(images)} images ({where})",
        "opencv": cv2.__version__,
        "command": " ".join(["python benchmarks/proposal_recall.py", *sys.argv[1:]]),
        "defaults": defaults(),
        "counts": COUNTS,
        "overlaps": OVERLAPS,
        "shown": SHOWN,
        "min_side": given.min_side or (112 if given.voc else 24),
        "rows": [],
    }
    for name, source in sources(given.model).items():
        result["rows"].append(measure(name, source, images, result["min_side"]))
        print(table({"rows": result["rows"][-1:]}).splitlines()[-1], flush=True)
    given.out.write_text(json.dumps(result) + "\n")
    draw(result, PAGE.with_name("proposal_recall.png") if given.out == RESULTS else given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
