import numpy as np
import pytest

from deconvnet.core.segmentation.edges import forest_edges, gradient_edges, load_forest, thinned
from deconvnet.core.segmentation.proposals import edge_boxes
from deconvnet.core.segmentation.voc import DataError

SIDE = 60


def half_plane(degrees):
    """An image that is bright on one side of a line through its middle; the direction across the line is given."""
    rows, columns = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    inside = columns * np.cos(np.radians(degrees)) + rows * np.sin(np.radians(degrees)) > 0.1
    return np.where(inside[..., None], np.uint8([200, 120, 60]), np.uint8([20, 40, 60]))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 160])
def test_a_step_is_one_thin_line_with_the_direction_across_it(degrees):
    middle = slice(10, -10)  # away from the border, where the image is continued by its mirror image
    strength, across = (part[middle, middle] for part in gradient_edges(half_plane(degrees), median=1, sigma=2))
    rows, columns = np.nonzero(strength > 0.3)
    distance = (columns - 19.5) * np.cos(np.radians(degrees)) + (rows - 19.5) * np.sin(np.radians(degrees))
    assert abs(distance).max() < 1.5
    assert 40 <= len(rows) < 90  # one or, where the maximum lies between pixels, two pixels wide
    turned = (across[rows, columns] - np.radians(degrees)) % np.pi
    assert np.minimum(turned, np.pi - turned).max() < 0.1


def test_an_edge_between_equally_light_colours_is_seen():
    image = np.full((SIDE, SIDE, 3), (60, 60, 160), np.uint8)
    image[:, 30:] = (60, 109, 60)  # Lab: about the same L
    assert gradient_edges(image)[0][30, 28:32].max() > 0.9


def test_a_blank_image_has_no_edges():
    assert not gradient_edges(np.full((SIDE, SIDE, 3), 90, np.uint8))[0].any()


def test_the_median_takes_texture_away_and_leaves_the_outline():
    image = np.full((80, 80, 3), 30, np.uint8)
    image[20:60, 20:60] = np.where(np.indices((40, 40)).sum(axis=0)[..., None] % 4 == 0, np.uint8(0), np.uint8(220))
    texture, outline = (slice(28, 52), slice(28, 52)), (slice(30, 50), slice(17, 23))
    rough, smooth = (gradient_edges(image, median, sigma=0)[0] for median in (1, 11))
    assert rough[texture].max() > 0.5 and smooth[texture].max() < 0.05
    assert smooth[outline].max(axis=1).min() > 0.8


def test_thinning_keeps_ridges_alone():
    ridge = np.float32([[0, 1, 3, 2, 0, 5, 0]] * 3)
    assert thinned(ridge, np.zeros_like(ridge))[1].tolist() == [0, 0, 3, 0, 0, 5, 0]
    along = np.full_like(ridge, np.pi / 2)
    assert np.array_equal(thinned(ridge, along), ridge)


OPTIONS = {
    "stride": 2, "shrinkNumber": 2, "patchSize": 32, "patchInnerSize": 16, "numberOfGradientOrientations": 4,
    "gradientSmoothingRadius": 0, "regFeatureSmoothingRadius": 2, "ssFeatureSmoothingRadius": 8,
    "gradientNormalizationRadius": 4, "selfsimilarityGridSize": 5, "numberOfTrees": 1, "numberOfTreesToEvaluate": 1,
}  # fmt: skip
# one tree with one question: is the gradient in the middle of the patch (channel 3) strong? then the middle is an edge
TREE = {
    "childs": [2, 0, 0],
    "featureIds": [3 * 256 + 8 * 16 + 8, 0, 0],
    "thresholds": [0.5, 0.0, 0.0],
    "edgeBoundaries": [0, 0, 0, 1],
    "edgeBins": [8 * 16 + 8],
}


def forest_file(path, options=OPTIONS, tree=TREE):
    lines = ["%YAML:1.0", "---", "options:", *(f"   {name}: {value}" for name, value in options.items())]
    for name, values in tree.items():
        lines += [f"{name}:", f"   - [ {', '.join(map(str, values))} ]"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def square():
    image = np.full((97, 131, 3), 40, np.uint8)
    image[30:70, 40:90] = (40, 200, 120)
    return image


def test_a_structured_forest_is_asked_where_a_file_of_one_is_given(tmp_path, square):
    forest = load_forest(forest_file(tmp_path / "forest.yml"))
    strength, across = forest_edges(forest, square)
    assert strength.shape == across.shape == square.shape[:2] and strength.dtype == np.float32
    rows, columns = np.nonzero(strength > 0)
    distance = np.maximum(abs(columns - 64.5) - 25, abs(rows - 49.5) - 20)
    assert len(rows) > 50 and abs(distance).max() < 8
    boxes, scores = edge_boxes(square, model=tmp_path / "forest.yml", min_score=0, edge_min_mag=0)
    assert len(boxes) and abs(boxes[0] - [40, 30, 89, 69]).max() < 12


@pytest.mark.parametrize("size", [(8, 8), (8, 33), (31, 32), (33, 35)])
def test_a_forest_takes_images_smaller_than_its_patch(tmp_path, size):
    forest = load_forest(forest_file(tmp_path / "forest.yml"))
    strength, _ = forest_edges(forest, np.zeros((*size, 3), np.uint8))
    assert strength.shape == size and not strength.any()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"\x1f\x8b\x08 cut off",
        b"%YAML:1.0\n---\nx: 1\n",
        b"%YAML:1.0\n---\noptions:\n   numberOfTrees: 0\n",
        b"<?xml",
    ],
)
def test_a_file_that_is_no_forest_is_named(tmp_path, content):
    path = tmp_path / "forest.yml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"forest\.yml: not a structured forest.*leave it out") as caught:
        load_forest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"childs": [2, 0]}, {"thresholds": [0.5]}, {"edgeBoundaries": [0]}])
def test_a_forest_with_lists_of_unequal_lengths_is_refused(tmp_path, changed):
    with pytest.raises(DataError, match="unequal lengths"):
        load_forest(forest_file(tmp_path / "forest.yml", tree=TREE | changed))


def test_a_missing_forest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yml: no such file"):
        load_forest(tmp_path / "none.yml")
