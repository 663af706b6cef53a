"""The reproduction's results as text: tables for the pages, and how our order of rows compares with the paper's."""

import statistics

# PASCAL VOC 2012 test, mean IoU in percent (paper, Table 1)
PUBLISHED = {"FCN-8s": 62.2, "DeconvNet": 69.6, "DeconvNet+CRF": 70.5, "EDeconvNet": 71.7, "EDeconvNet+CRF": 72.5}
ROWS = {"FCN-8s": "FCN", **{name: name for name in list(PUBLISHED)[1:]}}


def mean_and_spread(values):
    """(mean, standard deviation over seeds); the spread of one value is None."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def shown(values):
    """Shares as percent: 81.2, or 81.2 +- 0.4 where there are several seeds."""
    mean, spread = mean_and_spread([100 * value for value in values])
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


def main_table(results):
    """The paper's Table 1 beside ours, as Markdown."""
    lines = [
        "| | mean IoU, ours (demo data) | pixel accuracy | seeds | paper (VOC 2012 test) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row, variant in ROWS.items():
        found = results["scores"][variant]
        pixel = shown(found["pixel_accuracy"])
        lines.append(
            f"| {row} | {shown(found['mean_iou'])} | {pixel} | {len(found['mean_iou'])} | {PUBLISHED[row]:.1f} |"
        )
    return "\n".join(lines)


def ablation_table(results, rows, baseline="DeconvNet"):
    """Variants beside a baseline, as Markdown; rows: [(what is changed, variant, the baseline of its own or None)]."""
    lines = ["| | mean IoU | difference | seeds |", "| --- | --- | --- | --- |"]
    for what, variant, against in rows:
        values = results["scores"][variant]["mean_iou"]
        base = results["scores"][against or baseline]["mean_iou"]
        lines.append(f"| {what} | {shown(values)} | {_difference(values, base)} | {len(values)} |")
    return "\n".join(lines)


def _difference(values, base):
    """Of the same seeds, in points: the mean and, over several, the spread."""
    differences = [100 * (value - other) for value, other in zip(values, base, strict=False)]
    mean, spread = mean_and_spread(differences)
    return f"{mean:+.1f}" if spread is None else f"{mean:+.1f} ± {spread:.1f}"


def counts_table(results, counts):
    """IoU against the number of proposals, by max and by sum, as Markdown."""
    lines = ["| proposals | " + " | ".join(map(str, counts)) + " |", "| --- " * (len(counts) + 1) + "|"]
    for aggregate, equation in (("max", "Eq. 1"), ("sum", "Eq. 2")):
        cells = [results["scores"][f"DeconvNet, {n} proposals, {aggregate}"]["mean_iou"] for n in counts]
        lines.append(f"| {aggregate} ({equation}) | " + " | ".join(shown(cell) for cell in cells) + " |")
    return "\n".join(lines)


def order_against_paper(results):
    """Sentences, one for each row of the paper's table after the first, on whether ours follows it.

    Each row is compared with the one before it, seed by seed; a difference counts as more than the spread where its mean
    is larger than its standard deviation over the seeds.
    """
    sentences, rows = [], list(ROWS)
    for lower, upper in zip(rows, rows[1:], strict=False):
        pairs = [results["scores"][ROWS[name]]["mean_iou"] for name in (upper, lower)]
        differences = [100 * (a - b) for a, b in zip(*pairs, strict=True)]
        mean, spread = mean_and_spread(differences)
        agrees = "as in the paper" if mean > 0 else "unlike the paper"
        if spread is None:
            certain = "one seed only"
        else:
            certain = f"{'more' if abs(mean) > spread else 'not more'} than the spread over seeds, {spread:.1f}"
        relation = "above" if mean > 0 else "below"
        by_paper = PUBLISHED[upper] - PUBLISHED[lower]
        sentences.append(
            f"- {upper} lies {abs(mean):.1f} points {relation} {lower}, {agrees} ({by_paper:+.1f} there); {certain}."
        )
    return "\n".join(sentences)
