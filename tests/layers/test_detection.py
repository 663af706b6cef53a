"""PriorBox and DetectionOutput against their definitions, box by box; a small SSD from text to detections."""

import math

import numpy as np
import pytest
from arrays import numbers
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse

# ---------------------------------------------------------------------------------------------------------------------------- PriorBox


def prior_boxes(fields, places=(2, 3), image=(40, 60), **options):
    return OneLayer(
        f'type: "PriorBox" prior_box_param {{ {fields} }}',
        np.zeros((2, 5, *places)),
        np.zeros((2, 3, *image)),
        **options,
    )


def expected_priors(places, image, step, sizes, offset=0.5):
    """(h * w * P * 4,) of (width, height) in pixels of the boxes of a place."""
    boxes = []
    for row in range(places[0]):
        for column in range(places[1]):
            x, y = (column + offset) * step[1], (row + offset) * step[0]
            for width, height in sizes:
                corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
                boxes += [corner / image[1 - k % 2] for k, corner in enumerate(corners)]
    return np.array(boxes)


TALL, WIDE = (10 / math.sqrt(2), 10 * math.sqrt(2)), (10 * math.sqrt(2), 10 / math.sqrt(2))
FIELDS = {
    "min_size: 10": [(10, 10)],
    "min_size: 10 aspect_ratio: 2 flip: false": [(10, 10), WIDE],
    "min_size: 10 aspect_ratio: 2": [(10, 10), WIDE, TALL],
    "min_size: 10 max_size: 40 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 0.5": [(10, 10), (20, 20), WIDE, TALL],
    "min_size: 10 min_size: 2.5 max_size: 40 max_size: 10 aspect_ratio: 4": [
        *[(10, 10), (20, 20), (20, 5), (5, 20)],
        *[(2.5, 2.5), (5, 5), (5, 1.25), (1.25, 5)],
    ],
}


@pytest.mark.parametrize("places, image", [((2, 3), (40, 60)), ((1, 1), (7, 9)), ((3, 2), (31, 17)), ((0, 2), (8, 8))])
@pytest.mark.parametrize("fields", FIELDS)
def test_boxes_of_every_size_and_shape_stand_around_every_place(device, fields, places, image):
    layer = prior_boxes(fields, places, image)
    (top,) = layer.forward()
    step = (image[0] / max(places[0], 1), image[1] / places[1])
    assert top.shape == (1, 2, math.prod(places) * len(FIELDS[fields]) * 4)
    np.testing.assert_allclose(top[0, 0], expected_priors(places, image, step, FIELDS[fields]), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(top[0, 1], np.full(top.shape[2], 0.1))


@pytest.mark.parametrize(
    "fields, image, step, offset",
    [
        ("step: 8", (40, 60), (8, 8), 0.5),
        ("step_h: 8 step_w: 9.5 offset: 0.25", (40, 60), (8, 9.5), 0.25),
        ("img_size: 80", (80, 80), (40, 80 / 3), 0.5),
        ("img_h: 20 img_w: 90 offset: 0", (20, 90), (10, 30), 0),
    ],
)
def test_steps_and_sizes_may_be_given(fields, image, step, offset):
    (top,) = prior_boxes(f"min_size: 10 {fields}").forward()
    np.testing.assert_allclose(
        top[0, 0], expected_priors((2, 3), image, step, [(10, 10)], offset), rtol=1e-12, atol=1e-14
    )


def test_boxes_are_clipped_where_asked():
    (apart,), (clipped,) = (prior_boxes(f"min_size: 30 {fields}").forward() for fields in ("", "clip: true"))
    assert apart[0, 0].min() < 0 and apart[0, 0].max() > 1
    np.testing.assert_array_equal(clipped[0, 0], np.clip(apart[0, 0], 0, 1))


def test_variances_are_one_for_all_or_one_for_each():
    (one,), (four,) = (
        prior_boxes(f"min_size: 10 {fields}").forward()
        for fields in ("variance: 0.5", "variance: 0.125 variance: 0.25 variance: 0.5 variance: 1")
    )
    np.testing.assert_array_equal(one[0, 1], np.full(24, 0.5))
    np.testing.assert_array_equal(four[0, 1], [0.125, 0.25, 0.5, 1] * 6)


def test_boxes_are_made_once_for_the_sizes_of_map_and_image(monkeypatch):
    layer = prior_boxes("min_size: 10")
    first = layer.forward()[0]
    monkeypatch.setattr(layer.layer, "_boxes", lambda *sizes: pytest.fail("made again"))
    np.testing.assert_array_equal(layer.forward()[0], first)
    monkeypatch.undo()
    layer.reshape(np.zeros((1, 5, 2, 3)), np.zeros((1, 3, 80, 60)))  # the top keeps its shape
    np.testing.assert_array_equal(layer.forward()[0], prior_boxes("min_size: 10", image=(80, 60)).forward()[0])


@pytest.mark.parametrize(
    "fields, said",
    [
        ("", "give at least one min_size"),
        ("min_size: -1", "min_size must be above 0, not -1"),
        ("min_size: inf", "min_size must be above 0, not inf"),
        ("min_size: 3 aspect_ratio: 0", "aspect_ratio must be above 0, not 0"),
        ("min_size: 3 max_size: 3", "max_size 3 must be greater than its min_size 3"),
        ("min_size: 3 max_size: 4 max_size: 5", "has 1 min_size and 2 max_size: give none, or one for each"),
        ("min_size: 3 variance: 1 variance: 2", "has 2 variance: give none, one for all, or four"),
        ("min_size: 3 variance: nan", "variance must be above 0, not nan"),
        ("min_size: 3 step: 0", "step must be above 0, not 0$"),
        ("min_size: 3 step_h: 2 step_w: -1", "step_h and step_w must be above 0, not 2 and -1"),
        ("min_size: 3 step_h: 2", "give step, or both step_h and step_w, not step_h"),
        (
            "min_size: 3 step: 2 step_h: 2 step_w: 2",
            "give step, or both step_h and step_w, not step and step_h and step_w",
        ),
        ("min_size: 3 img_size: 3 img_h: 3", "give img_size, or both img_h and img_w, not img_size and img_h"),
    ],
)
def test_boxes_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        prior_boxes(fields)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ValueError, match="has no pixels: boxes cannot be shares of it"):
        prior_boxes("min_size: 3", image=(0, 5))
    assert prior_boxes("min_size: 3 img_size: 8", image=(0, 5)).forward()[0].shape == (1, 2, 24)


# --------------------------------------------------------------------------------------------------------------------- DetectionOutput


def decoded(code, told, box, variance):
    """One box, number by number."""
    xmin, ymin, xmax, ymax = box
    width, height = xmax - xmin, ymax - ymin
    a, b, c, d = (float(t * v) for t, v in zip(told, variance, strict=True))
    if code == "CORNER":
        return [xmin + a, ymin + b, xmax + c, ymax + d]
    if code == "CORNER_SIZE":
        return [xmin + a * width, ymin + b * height, xmax + c * width, ymax + d * height]
    x, y = (xmin + xmax) / 2 + a * width, (ymin + ymax) / 2 + b * height
    width, height = math.exp(c) * width, math.exp(d) * height
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def detections(
    location,
    scores,
    priors,
    classes,
    *,
    background=0,
    code="CORNER",
    share=True,
    encoded=False,
    least=-math.inf,
    **options,
):
    """(M, 7) by the definition; options: threshold, eta, top_k, keep_top_k."""
    images, count = len(location), priors.shape[2] // 4
    location = location.reshape(images, count, 1 if share else classes, 4)
    scores, (boxes, variances) = scores.reshape(images, count, classes), priors.reshape(2, count, 4)
    rows = []
    for image in range(images):
        found = []
        for label in range(classes):
            if label == background:
                continue
            candidates = [p for p in range(count) if scores[image, p, label] > least]
            candidates.sort(key=lambda p: -scores[image, p, label])
            if options.get("top_k", -1) >= 0:
                candidates = candidates[: options["top_k"]]
            kept, threshold = [], options.get("threshold", 0.3)
            for p in candidates:
                variance = [1] * 4 if encoded else variances[p]
                box = decoded(code, location[image, p, 0 if share else label], boxes[p], variance)
                if all(overlap(box, other) <= threshold for other in kept):
                    kept.append(box)
                    found.append((image, label, scores[image, p, label], *box))
                    if threshold > 0.5:
                        threshold *= options.get("eta", 1)
        if options.get("keep_top_k", -1) >= 0:
            best = sorted(found, key=lambda row: -row[2])[: options["keep_top_k"]]
            found = [row for row in found if row in best]
        rows += found
    return np.array(rows or [[image] + [-1] * 6 for image in range(images)], float).reshape(-1, 7)


def detection_output(fields, location, scores, priors, **options):
    return OneLayer(
        f'type: "DetectionOutput" detection_output_param {{ {fields} }}', location, scores, priors, **options
    )


def drawn(images=2, count=40, classes=3, locations=1, seed=0):
    """Boxes that overlap a lot, and scores."""
    draw = np.random.default_rng([seed, images, count, classes])
    low = draw.uniform(0, 0.6, (count, 2))
    boxes = np.hstack([low, low + draw.uniform(0.1, 0.4, (count, 2))])
    priors = np.stack([boxes.ravel(), draw.uniform(0.05, 0.2, 4 * count)])[None]
    return draw.normal(size=(images, count * locations * 4)), draw.random((images, count * classes)), priors


def check(fields, arrays, classes=3, **options):
    """The layer's top is that of the definition; it is returned."""
    (top,) = detection_output(f"num_classes: {classes} {fields}", *arrays).forward()
    expected = detections(*arrays, classes, **options)
    assert top.shape == (1, 1, *expected.shape)
    np.testing.assert_allclose(top[0, 0], expected, rtol=1e-13, atol=1e-13)
    return top[0, 0]


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
def test_boxes_are_told_by_corners_or_by_middle_and_size(device, code, share, encoded):
    fields = (
        f"code_type: {code}" + " variance_encoded_in_target: true" * encoded + " share_location: false" * (not share)
    )
    check(fields, drawn(locations=1 if share else 3), code=code, share=share, encoded=encoded)


@pytest.mark.parametrize("images, count, classes", [(1, 1, 2), (1, 40, 2), (3, 7, 5), (2, 0, 3), (0, 4, 3)])
def test_any_number_of_images_priors_and_classes(device, images, count, classes):
    check("", drawn(images, count, classes), classes)


@pytest.mark.parametrize(
    "fields, options",
    [
        ("confidence_threshold: 0.5", {"least": 0.5}),
        ("confidence_threshold: 0.5 background_label_id: 2", {"least": 0.5, "background": 2}),
        ("background_label_id: -1", {"background": -1}),
        ("nms_param { nms_threshold: 0.6 top_k: 10 }", {"threshold": 0.6, "top_k": 10}),
        ("nms_param { nms_threshold: 0 }", {"threshold": 0}),
        ("nms_param { nms_threshold: 0.75 eta: 0.875 }", {"threshold": 0.75, "eta": 0.875}),
        ("nms_param { top_k: -1 } keep_top_k: -1", {}),
        ("nms_param { top_k: 0 }", {"top_k": 0}),
        ("keep_top_k: 9", {"keep_top_k": 9}),
        ("keep_top_k: 0", {"keep_top_k": 0}),
        ("keep_top_k: 1000", {"keep_top_k": 1000}),
    ],
)
def test_which_boxes_are_kept(device, fields, options):
    check(fields, drawn(), **options)


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 25),
    threshold=st.sampled_from([0.0, 0.25, 0.75, 1.0]),
    eta=st.sampled_from([0.5, 0.875, 1.0]),
    top_k=st.integers(-1, 30),
    keep=st.integers(-1, 30),
)
def test_any_choice(seed, count, threshold, eta, top_k, keep):
    fields = f"nms_param {{ nms_threshold: {threshold} eta: {eta} top_k: {top_k} }} keep_top_k: {keep} code_type: CENTER_SIZE"
    options = {"threshold": threshold, "eta": eta, "top_k": top_k, "keep_top_k": keep}
    check(fields, drawn(count=count, seed=seed), code="CENTER_SIZE", **options)


def test_rows_come_by_image_label_and_falling_score(device):
    top = check("confidence_threshold: 0.25 keep_top_k: 9", drawn(), least=0.25, keep_top_k=9)
    keys = [(image, label, -score) for image, label, score in top[:, :3]]
    assert keys == sorted(keys) and {image for image, *_ in keys} == {0, 1} and len(keys) == 18


def apart(count):
    """Priors that do not meet, in rows of ten."""
    corners = np.array([(0.1 * (p % 10), 0.1 * (p // 10)) for p in range(count)])
    return np.stack([np.hstack([corners, corners + 0.0625]).ravel(), np.ones(4 * count)])[None]


def test_of_equal_scores_the_earlier_prior_then_the_lower_label_comes_first(device):
    location, scores = np.zeros((1, 4 * 40)), np.full((1, 3 * 40), 0.5)
    top = check("nms_param { top_k: 30 } keep_top_k: 40", (location, scores, apart(40)), top_k=30, keep_top_k=40)
    assert top[:, 1].tolist() == [1] * 30 + [2] * 10
    np.testing.assert_allclose(top[:, 3:], apart(40)[0, 0].reshape(-1, 4)[[*range(30), *range(10)]], atol=1e-15)


def test_a_score_must_be_above_the_threshold_and_a_number():
    scores = np.array([[0, 0.5, 0, np.nan, 0, 0.5000001, 0, -np.inf]])
    (top,) = detection_output("num_classes: 2 confidence_threshold: 0.5", np.zeros((1, 16)), scores, apart(4)).forward()
    assert top.shape == (1, 1, 1, 7) and top[0, 0, 0, 2] == 0.5000001


def test_an_overlap_of_just_the_threshold_stays():
    """Two boxes of one size with a third of their union in common."""
    priors = np.stack([np.array([0, 0, 0.5, 0.5, 0.25, 0, 0.75, 0.5]), np.ones(8)])[None]
    arrays = np.zeros((1, 8)), np.array([[0, 1, 0, 0.5]]), priors
    for threshold, left in ((0.3333, 1), (0.3334, 2)):
        fields = f"num_classes: 2 nms_param {{ nms_threshold: {threshold} }}"
        assert detection_output(fields, *arrays).forward()[0].shape[2] == left


def test_where_nothing_is_found_each_image_has_a_row_of_its_number_and_minus_ones(device):
    layer = detection_output("num_classes: 3 confidence_threshold: 2", *drawn(3))
    np.testing.assert_array_equal(layer.forward()[0], [[[[image] + [-1] * 6 for image in range(3)]]])
    layer.inputs[1][1, 4] = 3  # an image that shows something is enough
    (top,) = layer.forward()
    assert top.shape == (1, 1, 1, 7) and top[0, 0, 0, :3].tolist() == [1, 1, 3]


def test_scores_and_boxes_may_have_further_axes_of_one():
    location, scores, priors = drawn()
    (flat,) = detection_output("num_classes: 3", location, scores, priors).forward()
    (top,) = detection_output("num_classes: 3", location[..., None, None], scores.reshape(2, 40, 3), priors).forward()
    np.testing.assert_array_equal(top, flat)


def test_boxes_without_end_are_no_error():
    location, scores, priors = drawn()
    with np.errstate(all="raise"):
        (top,) = detection_output("num_classes: 3 code_type: CENTER_SIZE", location * 1e5, scores, priors).forward()
    assert top.shape[2] > 0


@pytest.mark.parametrize(
    "fields, said",
    [
        ("", "give num_classes, with the background"),
        ("num_classes: 3 nms_param { nms_threshold: -1 }", "nms_threshold must be 0 or more .*, not -1 and 1"),
        ("num_classes: 3 nms_param { eta: 0 }", "eta above 0 and 1 at most, not 0.3 and 0"),
        ("num_classes: 4", "40 priors and num_classes 4 take 160 scores of each image, not a bottom of shape .2, 120."),
        ("num_classes: 3 share_location: false", "take 480 differences of each image, not a bottom of shape .2, 160."),
    ],
)
def test_settings_and_bottoms_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        detection_output(fields, *drawn())


@pytest.mark.parametrize("shape", [(2, 160), (1, 1, 160), (1, 2, 161)])
def test_priors_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"the third bottom has the shape .*: priors \(1, 2, 4 \* P\) are expected"):
        detection_output("num_classes: 3", *drawn()[:2], np.zeros(shape))


@pytest.mark.parametrize(
    "fields, said",
    [("save_output_param { output_directory: 'out' }", "writes no files"), ("visualize: true", "shows no windows")],
)
def test_what_is_not_done_with_the_detections_is_told_and_the_rest_done(fields, said):
    """As in SSD's published deploy.prototxt."""
    wanted = detection_output("num_classes: 3", *drawn()).forward()[0]
    with pytest.warns(UserWarning, match=said):
        found = detection_output(f"num_classes: 3 {fields}", *drawn())
    np.testing.assert_array_equal(found.forward()[0], wanted)


def test_what_would_say_where_to_save_is_passed_over_where_it_says_nothing():
    detection_output(
        "num_classes: 3 save_output_param { output_directory: '' label_map_file: 'x' } visualize: false", *drawn()
    )


# ------------------------------------------------------------------------------------------------------------------------- a small SSD

FILLERS = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.3 }'


def convolution(name, bottom, outputs, more=""):
    window = f"num_output: {outputs} kernel_size: 3 pad: 1 {more} {FILLERS}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ {window} }} }}'


def head(source, what, outputs):
    """A map's convolution, its values place after place, and those in a row."""
    name = f"{source}_{what}"
    return f"""{convolution(name, source, outputs)}
    layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm"
      permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
    layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" }}"""


def together(what, suffix, axis):
    return f"""layer {{ name: "{what}" type: "Concat" bottom: "norm_{what}{suffix}" bottom: "conv2_{what}{suffix}" top: "{what}"
      concat_param {{ axis: {axis} }} }}"""


PRIORS = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
SSD = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 33 dim: 41 }} }} }}
{convolution("conv1", "data", 6, "stride: 4")}
layer {{ name: "norm" type: "Normalize" bottom: "conv1" top: "norm"
  norm_param {{ across_spatial: false channel_shared: false scale_filler {{ value: 2 }} }} }}
{convolution("conv2", "conv1", 5, "stride: 3")}
{head("norm", "loc", 4 * 4)} {head("norm", "conf", 4 * 3)}
{head("conv2", "loc", 2 * 4)} {head("conv2", "conf", 2 * 3)}
layer {{ name: "norm_prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "norm_prior"
  prior_box_param {{ min_size: 8 max_size: 16 aspect_ratio: 2 {PRIORS} step: 4 }} }}
layer {{ name: "conv2_prior" type: "PriorBox" bottom: "conv2" bottom: "data" top: "conv2_prior"
  prior_box_param {{ min_size: 16 max_size: 30 clip: true {PRIORS} }} }}
{together("loc", "_flat", 1)} {together("conf", "_flat", 1)} {together("prior", "", 2)}
layer {{ name: "rows" type: "Reshape" bottom: "conf" top: "rows" reshape_param {{ shape {{ dim: 0 dim: -1 dim: 3 }} }} }}
layer {{ name: "softmax" type: "Softmax" bottom: "rows" top: "softmax" softmax_param {{ axis: 2 }} }}
layer {{ name: "scores" type: "Flatten" bottom: "softmax" top: "scores" }}
layer {{ name: "found" type: "DetectionOutput" bottom: "loc" bottom: "scores" bottom: "prior" top: "found" include {{ phase: TEST }}
  detection_output_param {{ num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.4 keep_top_k: 50
    nms_param {{ nms_threshold: 0.45 top_k: 100 }} }} }}
"""


def ssd(**options):
    return Net(parse(SSD, caffe_pb2.NetParameter()), caffe_pb2.TEST, seed=2, **options)


def test_a_small_ssd_finds_what_its_definition_finds(device):
    net = ssd(dtype=np.float64)
    for size in ((2, 3, 33, 41), (1, 3, 20, 50)):
        net.blobs["data"].reshape(*size)
        found = net.forward(data=numbers(*size))["found"]
        scores, told, priors = (np.array(net.blobs[name].data) for name in ("scores", "loc", "prior"))
        options = {"code": "CENTER_SIZE", "least": 0.4, "keep_top_k": 50, "threshold": 0.45, "top_k": 100}
        expected = detections(told, scores, priors, 3, **options)
        assert found.shape == (1, 1, *expected.shape) and len(expected) > 20
        np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6, atol=1e-12)  # a float32 0.45 decides
        maps = [np.array(net.blobs[f"{name}_loc"].data) for name in ("norm", "conv2")]
        rows = [values.transpose(0, 2, 3, 1).reshape(len(values), -1) for values in maps]
        np.testing.assert_array_equal(told, np.concatenate(rows, axis=1))


def test_memory_that_is_used_again_changes_nothing_and_spares_the_priors():
    data = numbers(2, 3, 33, 41)
    plain, shared = ssd(), ssd(share=True)
    for _ in range(2):
        np.testing.assert_array_equal(shared.forward(data=data)["found"], plain.forward(data=data)["found"])
    np.testing.assert_array_equal(shared.blobs["norm_prior"].data, plain.blobs["norm_prior"].data)


def test_a_gpu_finds_the_same(gpu):
    data = numbers(2, 3, 33, 41)
    expected = ssd().forward(data=data)["found"]
    kernels.set_mode("gpu")
    net = ssd()
    for _ in range(2):
        np.testing.assert_allclose(net.forward(data=data)["found"], expected, rtol=1e-5, atol=1e-5)
