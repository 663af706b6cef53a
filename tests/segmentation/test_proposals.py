import errno
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from deconvnet.core.segmentation import proposals
from deconvnet.core.segmentation.examples import object_boxes
from deconvnet.core.segmentation.proposals import PARAMETERS, Proposals, StoredBoxes, chosen, edge_boxes, read_boxes
from deconvnet.core.segmentation.synthetic import draw_image
from deconvnet.core.segmentation.voc import DataError


@st.composite
def images(draw):
    """Noise, or patches of colour, of any shape."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    cells = draw(st.integers(1, 8))
    image = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)


def overlap(one, other):
    """Intersection over union of two boxes x1 y1 x2 y2, the second corner exclusive."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


@settings(deadline=None, max_examples=40)
@given(images(), st.integers(1, 300))
def test_boxes_lie_inside_the_image_best_first_none_twice(image, count):
    boxes, scores = edge_boxes(image, count)
    height, width = image.shape[:2]
    assert boxes.dtype == np.int32 and scores.dtype == np.float32 and boxes.shape == (len(scores), 4)
    assert len(boxes) <= count
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= boxes[:, :2]).all() and (boxes[:, 2:] < [width, height]).all()
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)


@settings(deadline=None, max_examples=40)
@given(images(), st.sampled_from(sorted(PARAMETERS)), st.floats(0, 1))
def test_every_value_that_a_parameter_may_have_is_survived(image, name, share):
    _, low, high = PARAMETERS[name]
    value = low + share * (min(high, 400) - low)
    if name in ("median", "long_side"):
        value = int(value) // 2 * 2 + 1
    if name == "alpha":
        value = min(value, 0.85)  # it works above, but takes long
    boxes, scores = edge_boxes(image, 100, **{name: value})
    assert np.isfinite(scores).all() and len(boxes) == len(scores)


def test_the_same_image_has_the_same_boxes_with_any_number_of_threads():
    image = draw_image(0, 0, 1)[0]
    first = edge_boxes(image, 200)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            for one, other in zip(first, edge_boxes(image, 200), strict=True):
                assert np.array_equal(one, other)
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (7, 400), (400, 7)])
def test_a_tiny_image_has_no_boxes(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    boxes, scores = edge_boxes(noise)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_a_blank_image_has_no_boxes():
    boxes, scores = edge_boxes(np.full((120, 160, 3), 90, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@pytest.mark.parametrize("scale", [1, 4, 25])
def test_an_object_is_found_at_any_size_of_the_image(scale):
    image = np.full((120 * scale, 160 * scale, 3), 90, np.uint8)
    x1, y1, x2, y2 = np.array([50, 40, 100, 80]) * scale
    image[y1:y2, x1:x2] = (40, 200, 120)
    ((left, top, right, bottom),), _ = edge_boxes(image, 1)
    assert overlap((left, top, right + 1, bottom + 1), (x1, y1, x2, y2)) > 0.85


def test_most_objects_of_the_demo_are_among_the_boxes():
    found = []
    for index in range(8):
        image, _, objects = draw_image(5, 1, index)
        boxes, _ = edge_boxes(image, 1000)
        for truth in map(np.array, object_boxes(objects).values()):
            ends = [0, 0, 1, 1]  # from the last pixel to where it ends
            found.append(max(overlap(box, truth + ends) for box in boxes + ends) > 0.5)
    assert len(found) > 12 and np.mean(found) > 0.8


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8)])
def test_an_array_that_is_no_colour_image_is_refused(image):
    with pytest.raises(ValueError, match=r"an image is \(H, W, 3\) uint8"):
        edge_boxes(image)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"alfa": 0.6}, "no parameter 'alfa'; they have .*alpha"),
        ({"alpha": 1.0}, "alpha must be from 0.1 to 0.95"),
        ({"kappa": float("nan")}, "kappa must be"),
        ({"sigma": None}, "sigma must be"),
        ({"median": 4}, "odd"),
        ({"count": 0}, "from 1 on, not 0"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        edge_boxes(np.zeros((20, 20, 3), np.uint8), **given)


# ----------------------------------------------------------------------------------------------------------- chosen

corners = st.tuples(st.integers(-50, 300), st.integers(-50, 300), st.integers(0, 300), st.integers(0, 300))


@given(st.lists(corners, max_size=30), st.integers(0, 12), st.integers(1, 200), st.floats(1, 2))
def test_chosen_boxes_are_the_first_that_are_large_enough_with_their_context(drawn, count, min_side, context):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in drawn]).reshape(-1, 4)
    sizes = np.round((boxes[:, 2:] - boxes[:, :2] + 1) * context).clip(1)
    low = np.round((boxes[:, :2] + boxes[:, 2:] + 1 - sizes) / 2)
    wanted = np.hstack([low, low + sizes - 1])[sizes.min(axis=1, initial=9999) >= min_side][:count]
    got = chosen(boxes, count, min_side, context)
    assert got.dtype == np.int32 and np.array_equal(got, wanted.reshape(-1, 4))


def test_the_release_shows_its_net_50_boxes_of_at_least_112_pixels_with_a_context_of_a_fifth():
    boxes = [(0, 0, 99, 91), (10, 10, 109, 102)] * 60  # 92 and 93 pixels high: 110 and 112 with context
    assert chosen(boxes).tolist() == [[0, 0, 119, 111]] * 50


def test_no_boxes_give_no_boxes():
    assert chosen(np.zeros((0, 4), np.int32)).shape == (0, 4)


# ------------------------------------------------------------------------------------------------------------ cache


@pytest.fixture
def image():
    return draw_image(0, 0, 0)[0]


@pytest.fixture
def computed(monkeypatch):
    """The images that boxes were computed for, in order."""
    calls, true = [], proposals.edge_boxes

    def counted(image, *arguments, **parameters):
        calls.append(image)
        return true(image, *arguments, **parameters)

    monkeypatch.setattr(proposals, "edge_boxes", counted)
    return calls


def test_a_kept_image_is_not_computed_again_whatever_its_id(tmp_path, image, computed):
    first = Proposals(50, cache=tmp_path / "boxes")("a", image)
    again = Proposals(50, cache=tmp_path / "boxes")("b", image.copy())
    assert len(computed) == 1 and len(first) == 50
    assert np.array_equal(first, again) and np.array_equal(first, edge_boxes(image, 50)[0])


def test_no_boxes_are_kept_too(tmp_path, computed):
    for _ in range(2):
        assert Proposals(cache=tmp_path)("a", np.zeros((30, 30, 3), np.uint8)).shape == (0, 4)
    assert len(computed) == 1


@pytest.mark.parametrize("change", [{"count": 51}, {"sigma": 1.5}, {"beta": 0.75}, {"long_side": 200}])
def test_other_parameters_are_computed_anew(tmp_path, image, computed, change):
    Proposals(**{"count": 50}, cache=tmp_path)("a", image)
    changed = Proposals(**{"count": 50} | change, cache=tmp_path)("a", image)
    assert len(computed) == 2 and len(list(tmp_path.iterdir())) == 2
    assert np.array_equal(changed, edge_boxes(image, **{"count": 50} | change)[0])


def test_the_default_said_aloud_is_the_same_as_not_said(tmp_path, image, computed):
    Proposals(50, cache=tmp_path)("a", image)
    Proposals(np.int64(50), cache=tmp_path, beta=0.65, sigma=2, long_side=proposals.LONG_SIDE)("a", image)
    assert len(computed) == 1


def test_one_other_pixel_or_another_shape_is_computed_anew(tmp_path, image, computed):
    source = Proposals(50, cache=tmp_path)
    other = image.copy()
    other[0, 0, 0] ^= 1
    for each in (image, other, image.reshape(160, 120, 3)):
        source("a", each)
    assert len(computed) == 3


def test_another_opencv_is_computed_anew(tmp_path, image, computed, monkeypatch):
    Proposals(50, cache=tmp_path)("a", image)
    monkeypatch.setattr(cv2, "__version__", "99.0")
    Proposals(50, cache=tmp_path)("a", image)
    assert len(computed) == 2


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    at = content.index(b"boxes.npy") + 60
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b"", lambda content: b"not a file of boxes"])
def test_a_damaged_file_is_made_again(tmp_path, image, computed, damage):
    source = Proposals(50, cache=tmp_path)
    first = source("a", image)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert np.array_equal(source("a", image), first) and len(computed) == 2
    source("a", image)
    assert len(computed) == 2 and [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_behind(tmp_path, image, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match=r"boxes/\w+\.npz: cannot be written \(No space left on device\)"):
        Proposals(50, cache=tmp_path / "boxes")("a", image)
    assert list((tmp_path / "boxes").iterdir()) == []


def test_a_cache_that_is_no_folder_is_named(tmp_path, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="File exists: .*file"):
        Proposals(50, cache=tmp_path / "file")("a", image)


def test_threads_may_share_a_cache(tmp_path):
    drawn = [draw_image(0, 0, index)[0] for index in range(4)]
    alone = [edge_boxes(image, 100)[0] for image in drawn]
    source = Proposals(100, cache=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: source("a", image), drawn * 4))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 4, together, strict=True))
    assert len(list(tmp_path.iterdir())) == 4


def test_parameters_are_checked_before_the_first_image():
    with pytest.raises(ValueError, match="no parameter 'alfa'"):
        Proposals(alfa=1)


# ------------------------------------------------------------------------------------------------------ boxes in files

BOXES = np.array([[3, 4, 30, 40], [-2, 0, 9, 9]])


def written(path, rows, name="boxes"):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".mat":
        savemat(path, {name: rows, "threshold": 0.5})
    else:
        path.write_text("# boxes\n\n" + "\n".join(" ".join(map(str, row)) for row in np.asarray(rows).tolist()) + "\n")
    return path


@pytest.mark.parametrize("end", [".npy", ".mat", ".txt", ".lst"])
def test_boxes_of_every_kind_of_file_are_read(tmp_path, end):
    boxes = read_boxes(written(tmp_path / f"a{end}", BOXES))
    assert boxes.dtype == np.int32 and boxes.tolist() == BOXES.tolist()


@pytest.mark.parametrize("end", [".npy", ".mat", ".txt"])
def test_scores_put_the_best_first_and_equal_ones_stay_in_order(tmp_path, end):
    rows = np.column_stack([np.repeat(np.arange(4)[:, None], 4, axis=1), [0.1, 0.9, 0.5, 0.9]])
    assert read_boxes(written(tmp_path / f"a{end}", rows))[:, 0].tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("layout, row", [("xyxy", [2, 3, 11, 7]), ("xywh1", [3, 4, 10, 5]), ("yxyx1", [4, 3, 8, 12])])
def test_the_layouts_of_others_are_the_same_box(tmp_path, layout, row):
    assert read_boxes(written(tmp_path / "a.txt", [row]), layout).tolist() == [[2, 3, 11, 7]]


def test_commas_and_fractions_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1,2, 3.4,4.6  # the first\n")
    assert read_boxes(path).tolist() == [[1, 2, 3, 5]]


@pytest.mark.parametrize("name", ["bbs", "anything"])
def test_a_matlab_files_only_matrix_of_boxes_is_taken(tmp_path, name):
    assert read_boxes(written(tmp_path / "a.mat", BOXES, name)).tolist() == BOXES.tolist()


@pytest.mark.parametrize("end", [".npy", ".mat", ".txt"])
def test_a_file_without_boxes_gives_none(tmp_path, end):
    boxes = read_boxes(written(tmp_path / f"a{end}", np.zeros((0, 4))))
    assert boxes.shape == (0, 4) and boxes.dtype == np.int32


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("a.npy", b"\x93NUMPY junk", "not a .npy file"),
        ("a.npy", b"", "not a .npy file"),
        ("a.mat", b"junk" * 100, "not a MATLAB file"),
        ("a.mat", b"", "not a MATLAB file"),
        ("a.txt", b"1 2 3 4\n1 2 3\n", r"a\.txt:2: '1 2 3' is no box"),
        ("a.txt", b"1 2 3 4\n1 2 3 4 .5\n", r"a\.txt:2: "),
        ("a.txt", b"1 2 x 4\n", "'1 2 x 4' is no box"),
        ("a.txt", b"\xff\xfe\x00", r"a\.txt:1: "),
        ("a.txt", b"1 2 nan 4\n", "not finite"),
        ("a.txt", b"1 2 1e30 4\n", "beyond any image"),
        ("a.txt", b"5 5 4 9\n", "box 5 5 4 9 ends before it begins; is the layout another"),
    ],
)
def test_a_file_of_something_else_is_named_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_boxes(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [np.zeros((3, 6)), np.zeros(8), np.array([["a"] * 4]), np.zeros((2, 4), complex)])
def test_an_array_of_something_else_is_refused(tmp_path, rows):
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(DataError, match=r"a\.npy: boxes are n rows of 4 numbers"):
        read_boxes(tmp_path / "a.npy")


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(DataError, match="not a .npy file"):
        read_boxes(tmp_path / "a.npy")


def test_a_matlab_file_with_two_candidates_names_them(tmp_path):
    savemat(tmp_path / "a.mat", {"first": BOXES, "second": BOXES})
    with pytest.raises(DataError, match="named boxes or bbs, or the only such one; it holds first, second"):
        read_boxes(tmp_path / "a.mat")


def test_stored_boxes_are_found_by_the_images_id(tmp_path):
    written(tmp_path / "2007_000032.txt", [[1, 1, 10, 5]])
    assert StoredBoxes(tmp_path, "xywh1")("2007_000032", None).tolist() == [[0, 0, 9, 4]]


def test_an_image_without_a_file_of_boxes_is_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.npy: no such file, nor \.mat or \.txt; image x needs its boxes"):
        StoredBoxes(tmp_path)("x")


def test_a_missing_file_and_an_unknown_layout_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.txt: no such file"):
        read_boxes(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="one of xyxy, xywh1, yxyx1, not 'xywh'"):
        StoredBoxes(tmp_path, "xywh")
