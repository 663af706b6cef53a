"""ROIPooling (Fast R-CNN, section 2.1) and PSROIPooling (R-FCN, section 2.2) against their definitions, cell by cell."""

import math

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse


def pooled(x, regions, cells=(2, 3), scale=0.5, **options):
    fields = f"pooled_h: {cells[0]} pooled_w: {cells[1]} spatial_scale: {scale}"
    return OneLayer(f'type: "ROIPooling" roi_pooling_param {{ {fields} }}', x, np.array(regions), **options)


def rounded(value):
    """C's round: half away from 0."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def covered(low, high, scale, cell, cells, size):
    """The places of a side under a cell."""
    first, last = rounded(low * scale), rounded(high * scale)
    each = max(last - first + 1, 1) / cells
    begin, end = first + math.floor(cell * each), first + math.ceil((cell + 1) * each)
    return slice(min(max(begin, 0), size), min(max(end, 0), size))


def expected(x, regions, cells, scale):
    y = np.zeros((len(regions), x.shape[1], *cells))
    for number, (image, x1, y1, x2, y2) in enumerate(regions):
        for i, j in np.ndindex(*cells):
            rows = covered(y1, y2, scale, i, cells[0], x.shape[2])
            columns = covered(x1, x2, scale, j, cells[1], x.shape[3])
            window = x[int(image), :, rows, columns].reshape(x.shape[1], -1)
            if window.shape[1]:
                y[number, :, i, j] = window.max(axis=1)
    return y


CASES = {
    "whole": [(0, 0, 0, 19, 15)],
    "two images, out of order": [(1, 2, 3, 12, 9), (0, 4, 0, 9, 15), (1, 0, 0, 5, 5)],
    "halves": [(0, 1, 3, 11, 13), (0, 5, 5, 7, 7)],
    "one place": [(0, 8, 8, 8, 8)],
    "upside down": [(0, 12, 9, 4, 3)],
    "beyond the map": [(0, -30, -7, 200, 90), (1, 14, 10, 60, 60)],
    "outside": [(0, 100, 100, 120, 120), (0, -50, -50, -40, -40)],
    "half a pixel outside": [(0, -3, -3, -0.5, -0.5)],
    "none": np.zeros((0, 5)),
}


@pytest.mark.parametrize("regions", CASES.values(), ids=CASES)
@pytest.mark.parametrize("cells", [(2, 3), (1, 1), (7, 7)])
def test_each_cell_is_the_maximum_under_it(device, regions, cells):
    x = numbers(2, 3, 8, 10)
    np.testing.assert_array_equal(pooled(x, regions, cells).forward()[0], expected(x, regions, cells, 0.5))


@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    cells=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_any_box_on_any_map(device, data, size, cells):
    side = st.integers(-4, 24)
    regions = data.draw(st.lists(st.tuples(st.integers(0, 1), side, side, side, side), min_size=1, max_size=4))
    x = numbers(2, 2, *size)
    np.testing.assert_array_equal(pooled(x, regions, cells, 0.25).forward()[0], expected(x, regions, cells, 0.25))


def test_gradients_are_those_of_the_maxima_also_where_regions_and_cells_share_them(device):
    regions = [(0, 0, 0, 11, 9), (0, 2, 2, 8, 8), (1, 0, 3, 11, 5), (0, 40, 40, 50, 50), (1, 10, 8, 10, 8)]
    check_gradients(pooled(spaced(2, 2, 5, 6), regions))


def test_a_nan_reaches_its_cells_and_no_others(device):
    x = numbers(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    (y,) = pooled(x, [(0, 0, 0, 3, 3)], (2, 2), 1).forward()
    assert np.isnan(y[0, 0]).tolist() == [[True, False], [False, False]]


def test_corners_are_as_far_away_as_can_be(device):
    """Half of an endless box lies beyond the map, or ends on its first place."""
    x = numbers(1, 1, 4, 4)
    (y,) = pooled(x, [(0, -np.inf, -1e300, 3, np.inf)], (2, 2), 1).forward()
    assert y[0, 0].tolist() == [[0, x[0, 0, 0].max()], [0, x.max()]]


def test_corners_that_are_no_numbers_touch_no_memory(device):
    x = numbers(1, 1, 4, 4)
    layer = pooled(x, [(0, np.nan, -np.inf, np.inf, 1e300)], (2, 2), 1)
    assert np.isfinite(layer.forward()[0]).all() and np.isfinite(layer.backward(np.ones((1, 1, 2, 2)))[0]).all()


@pytest.mark.parametrize("image", [-1, 2, 0.5, np.nan])
def test_a_region_of_an_image_that_is_not_there_is_said(device, image):
    layer = pooled(numbers(2, 1, 4, 4), [(0, 0, 0, 3, 3), (image, 0, 0, 3, 3)])
    with pytest.raises(ValueError, match=f"region 1 is one of image {image:g}; the maps are of images 0 to 1"):
        layer.forward()


@pytest.mark.parametrize(
    "fields, regions, said",
    [
        ("pooled_h: 2", (1, 5), "pooled_h and pooled_w of at least 1"),
        ("pooled_h: 2 pooled_w: 2 spatial_scale: 0", (1, 5), "spatial_scale must be above 0, not 0"),
        ("pooled_h: 2 pooled_w: 2", (1, 4), r"must have the shape \(R, 5\), image x1 y1 x2 y2, not \(1, 4\)"),
    ],
)
def test_wrong_settings_and_shapes_are_said(fields, regions, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(f'type: "ROIPooling" roi_pooling_param {{ {fields} }}', numbers(1, 1, 4, 4), np.zeros(regions))


def test_a_plane_too_large_for_its_places_is_refused():
    x = np.broadcast_to(np.float32(0), (1, 1, 4097, 4097))
    with pytest.raises(ValueError, match="a plane of 4097 x 4097 has more places than float32 switches can name"):
        kernels.region_pool(x, np.zeros((1, 5), np.float32), 1.0, *(np.zeros((1, 1, 1, 1), np.float32),) * 2)


DETECTOR = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 4 dim: 5 dim: 1 dim: 1 } } }
layer { name: "targets" type: "Input" top: "targets" top: "inside" top: "outside" input_param { shape { dim: 4 dim: 8 } shape { dim: 4 dim: 8 } shape { dim: 4 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 stride: 4 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool" roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.25 } }
layer { name: "boxes" type: "InnerProduct" bottom: "pool" top: "boxes" inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "loss" type: "SmoothL1Loss" bottom: "boxes" bottom: "targets" bottom: "inside" bottom: "outside" top: "loss" }
"""


def test_a_head_of_fast_rcnn_learns_its_boxes(device):
    net = Net(parse(DETECTOR, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, seed=1)
    rois = np.array([(0, 0, 0, 15, 15), (0, 8, 8, 31, 31), (0, 0, 16, 15, 31), (0, 4, 4, 20, 27)], np.float32).reshape(
        4, 5, 1, 1
    )
    given = {"data": numbers(1, 3, 32, 32, dtype=np.float32), "rois": rois, "targets": numbers(4, 8, seed=1)}
    given |= {"inside": np.ones((4, 8)), "outside": np.ones((4, 8))}
    losses = []
    for _ in range(40):
        net.clear_param_diffs()
        losses.append(float(net.forward(**given)["loss"]))
        net.backward()
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] -= 0.1 * blob.diff
    assert losses[-1] < 0.2 * losses[0]


def test_regions_and_maps_that_change_behind_the_forward_pass_touch_no_memory(device):
    """What names an image, or a place, that is not there gets no gradient; the others get theirs."""
    layer = pooled(numbers(2, 1, 4, 4), [(0, 0, 0, 3, 3), (1, 0, 0, 3, 3)], (1, 1), 1)
    layer.forward()
    for image in (10**7, -1, np.nan):
        layer.bottom[1].host_data[0, 0] = image
        dx = layer.backward(np.ones((2, 1, 1, 1)))[0]
        assert not dx[0].any() and dx[1].sum() == 1
    layer.bottom[0].reshape(2, 1, 1, 1)
    layer.bottom[1].host_data[:, 0] = 0, 1
    assert layer.backward(np.ones((2, 1, 1, 1)))[0].sum() <= 2


# ------------------------------------------------------------------------------------------------------------------------- means (R-FCN)


def averaged(x, regions, group=2, scale=0.5, **options):
    fields = f"output_dim: {x.shape[1] // group**2} group_size: {group} spatial_scale: {scale}"
    return OneLayer(f'type: "PSROIPooling" psroi_pooling_param {{ {fields} }}', x, np.array(regions), **options)


def touched(low, high, scale, cell, cells, size):
    """The places of a side that a cell of means touches."""
    first, end = rounded(low) * scale, (rounded(high) + 1) * scale
    each = max(end - first, 0.1) / cells
    begin, behind = math.floor(cell * each + first), math.ceil((cell + 1) * each + first)
    return slice(min(max(begin, 0), size), min(max(behind, 0), size))


def expected_means(x, regions, group, scale):
    outputs = x.shape[1] // group**2
    y = np.zeros((len(regions), outputs, group, group))
    for number, (image, x1, y1, x2, y2) in enumerate(regions):
        for o, i, j in np.ndindex(outputs, group, group):
            rows = touched(y1, y2, scale, i, group, x.shape[2])
            columns = touched(x1, x2, scale, j, group, x.shape[3])
            window = x[int(image), (o * group + i) * group + j, rows, columns]
            y[number, o, i, j] = window.mean() if window.size else 0
    return y


@pytest.mark.parametrize("regions", CASES.values(), ids=CASES)
@pytest.mark.parametrize("group", [1, 2, 3])
def test_each_cell_is_the_mean_of_its_own_map_under_it(device, regions, group):
    x = numbers(2, 2 * group**2, 8, 10)
    np.testing.assert_allclose(
        averaged(x, regions, group).forward()[0], expected_means(x, regions, group, 0.5), rtol=0, atol=1e-6
    )


@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    group=st.integers(1, 3),
    scale=st.sampled_from([0.0625, 0.25, 1]),
)
def test_means_of_any_box_on_any_map(device, data, size, group, scale):
    side = st.integers(-4, 24) | st.sampled_from([0.5, 2.25, -0.5, -1.5])
    regions = data.draw(st.lists(st.tuples(st.integers(0, 1), side, side, side, side), min_size=1, max_size=4))
    x = numbers(2, group**2, *size)
    found = averaged(x, regions, group, scale, dtype=np.float64).forward()[0]
    np.testing.assert_allclose(found, expected_means(x, regions, group, scale), rtol=0, atol=1e-12)


def test_gradients_of_the_means_also_where_regions_and_cells_share_places(device):
    regions = [(0, 0, 0, 11, 9), (0, 2, 2, 8, 8), (1, 0, 3, 11, 5), (0, 40, 40, 50, 50), (1, 10, 8, 10, 8)]
    check_gradients(averaged(numbers(2, 8, 5, 6), regions))


def test_corners_of_means_that_are_no_numbers_touch_no_memory(device):
    layer = averaged(numbers(1, 4, 4, 4), [(0, np.nan, -np.inf, np.inf, 1e300)], 2, 1)
    assert np.isfinite(layer.forward()[0]).all() and np.isfinite(layer.backward(np.ones((1, 1, 2, 2)))[0]).all()


@pytest.mark.parametrize(
    "fields, said",
    [
        ("group_size: 2 spatial_scale: 1", "output_dim and group_size of at least 1"),
        ("group_size: 2 output_dim: 1", "spatial_scale must be above 0, not 0"),
        ("group_size: 2 output_dim: 3 spatial_scale: 1", "output_dim 3 and group_size 2 take 12 maps, not 4"),
    ],
)
def test_wrong_settings_of_means_are_said(fields, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(f'type: "PSROIPooling" psroi_pooling_param {{ {fields} }}', numbers(1, 4, 4, 4), np.zeros((1, 5)))
    with pytest.raises(ValueError, match="region 0 is one of image 7"):
        averaged(numbers(1, 4, 4, 4), [(7, 0, 0, 1, 1)]).forward()
