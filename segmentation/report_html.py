"""The report of an evaluation as one web page that needs no network and no script: scores, confusions, images."""

from html import escape
from pathlib import Path
from string import Template

import numpy as np

from ..blob import replacing
from . import report_pictures as pictures
from .evaluation import confusion, read_case, scores
from .score_files import score_rows
from .voc import VOID, DataError, palette, read_image

_PAGE = Path(__file__).with_name("report_page.html")
_LISTED_CONFUSIONS = 10


def write_report(path, evaluation, names, title, shown=6, provenance=None):
    """Write the page of an Evaluation to `path`.

    names: the classes from background on; shown: how many of the worst and of the best images to show with label,
    prediction and error map, which are read again for it; provenance: {what: text} for the page's foot.
    Raises OSError that names `path`.
    """
    result = scores(evaluation.matrix)
    ranked = _ranked(evaluation.images)
    worst = ranked[:shown]
    best = ranked[len(worst) :][::-1][:shown]
    page = Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        warning=_left_out(evaluation.left_out),
        scores=_scores(result),
        counts=_counts(evaluation),
        classes="\n".join(_class_row(i, row) for i, row in enumerate(score_rows(evaluation.matrix, names))),
        matrix=pictures.matrix_svg(evaluation.matrix, names),
        confusions=_confusions(evaluation.matrix, names),
        histogram=pictures.histogram_svg([image.mean_iou for image in evaluation.images]),
        legend=_legend([*names, "void"], palette()[[*range(len(names)), VOID]]),
        error_legend=_legend(pictures.ERROR_KINDS, pictures.ERROR_COLORS),
        examples=_section("Worst images", worst, names) + _section("Best images", best, names),
        image_count=len(evaluation.images),
        images="\n".join(map(_image_row, ranked + [i for i in evaluation.images if np.isnan(i.mean_iou)])),
        made="".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in (provenance or {}).items()),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(page.encode())


def _ranked(images):
    """The images that have a score, the worst first; equals in the order of their ids."""
    scored = [image for image in images if not np.isnan(image.mean_iou)]
    return sorted(scored, key=lambda image: (image.mean_iou, image.case.image_id))


def _left_out(left_out):
    if not left_out:
        return ""
    items = "".join(f"<li>{_id(image_id)}: {escape(reason)}</li>" for image_id, reason in left_out)
    return (
        f'<div class="warning"><p><strong>{_images(len(left_out))} left out of every score here.</strong></p>'
        f"<details><summary>Which, and why</summary><ul>{items}</ul></details></div>"
    )


def _scores(result):
    values = (
        ("mean IoU", result.mean_iou),
        ("pixel accuracy", result.pixel_accuracy),
        ("mean accuracy", result.mean_accuracy),
        ("frequency-weighted IoU", result.frequency_weighted_iou),
    )
    return "".join(f"<div><dt>{name}</dt><dd>{_share(value)}</dd></div>" for name, value in values)


def _counts(evaluation):
    absent = sum(image.absent for image in evaluation.images)
    said = f"{_images(len(evaluation.images))} scored, {evaluation.matrix.sum():,} pixels counted"
    return f"{said}; {_images(absent)} without a prediction counted as background" if absent else said


def _class_row(index, row):
    """One class: swatch and name, IoU as number and bar, accuracy, share of the true pixels."""
    width = 100 * (row["iou"] or 0)
    bar = f'<span class="track"><i style="width:{width:.1f}%"></i></span>'
    return (
        f'<tr><th scope="row">{_swatch(palette()[index])}{escape(row["class"])}</th>'
        f'<td class="iou"><div>{_share(row["iou"])}{bar}</div></td>'
        f"<td>{_share(row['accuracy'])}</td><td>{100 * row['share_of_pixels']:.2f}&nbsp;%</td></tr>"
    )


def _confusions(matrix, names):
    """The most frequent errors in words, by share of all counted pixels."""
    errors = matrix - np.diag(np.diag(matrix))
    most = np.argsort(-errors, axis=None, kind="stable")[:_LISTED_CONFUSIONS]
    rows = [np.unravel_index(place, errors.shape) for place in most]
    items = [
        f"<tr><td>{escape(names[true])}</td><td>{escape(names[predicted])}</td>"
        f"<td>{errors[true, predicted]:,}</td><td>{100 * errors[true, predicted] / matrix.sum():.2f}&nbsp;%</td></tr>"
        for true, predicted in rows
        if errors[true, predicted]
    ]
    if not items:
        return "<p>No pixel was predicted wrong.</p>"
    head = "".join(f'<th scope="col">{what}</th>' for what in ("true class", "predicted as", "pixels", "of all"))
    return (
        f'<table class="classes confusions"><caption>The {len(items)} most frequent confusions</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(items)}</tbody></table>"
    )


def _legend(names, colors):
    return "".join(f"<li>{_swatch(color)}{escape(name)}</li>" for name, color in zip(names, colors, strict=True))


def _section(heading, images, names):
    if not images:
        return ""
    return f"<h2>{heading}</h2>\n" + "\n".join(_example(image, names) for image in images)


def _example(image, names):
    """One image: its scores, and side by side photograph, label, prediction and errors."""
    case = image.case
    label, prediction, absent = read_case(case, absent_as_background=image.absent)
    held = [i for i in np.unique(label) if i != VOID]
    iou = scores(confusion(label, prediction, len(names))).iou[held]
    told = ", ".join(f"{escape(names[i])} {value:.2f}" for i, value in zip(held, iou, strict=True))
    height, width = pictures.shown_size(label.shape)
    size = f'width="{width}" height="{height}"'
    shown = [
        ("ground truth", "map", pictures.label_uri(label)),
        ("no prediction: background" if absent else "prediction", "map", pictures.label_uri(prediction)),
        ("errors", "map", pictures.error_uri(label, prediction)),
    ]
    photo = _photo(case)
    if photo is not None:
        shown.insert(0, ("image", "photo", pictures.photo_uri(photo)))
    figures = "".join(
        f'<figure><img class="{kind}" {size} alt="{what} of {escape(case.image_id)}" src="{uri}">'
        f"<figcaption>{what}</figcaption></figure>"
        for what, kind, uri in shown
    )
    return (
        f'<section class="example"><h3>{_id(case.image_id)} &middot; IoU {image.mean_iou:.3f}</h3>'
        f'<p class="note">{told}</p><div class="pictures">{figures}</div></section>'
    )


def _photo(case):
    """The photograph of a case, (H, W, 3) uint8 BGR; None where there is none that can be read."""
    try:
        return None if case.photo is None else read_image(case.photo)
    except (DataError, FileNotFoundError):
        return None


def _image_row(image):
    accuracy = _share(image.pixel_accuracy)
    return f"<tr><td>{_id(image.case.image_id)}</td><td>{_share(image.mean_iou)}</td><td>{accuracy}</td></tr>"


def _id(image_id):
    return f'<span class="id">{escape(image_id)}</span>'


def _swatch(color):
    return f'<span class="swatch" style="background:rgb({",".join(map(str, color))})"></span>'


def _share(value):
    """A score with three digits; a dash where nothing was counted."""
    return "&ndash;" if value is None or np.isnan(value) else f"{value:.3f}"


def _images(count):
    return f"{count:,} image" if count == 1 else f"{count:,} images"
