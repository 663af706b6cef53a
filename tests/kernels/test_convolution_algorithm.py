"""One place chooses how a convolution is computed; every choice computes the same."""

import numpy as np
import pytest
from arrays import numbers
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import Geometry, convolution, dense

PAPER = Geometry((3, 3), pad=(1, 1))


@pytest.fixture(autouse=True)
def no_wish(monkeypatch):
    monkeypatch.delenv("DECONVNET_CONVOLUTION", raising=False)


@pytest.mark.parametrize("channels, outputs, size", [(64, 64, 224), (512, 512, 28), (512, 512, 14)])
def test_the_papers_layers_take_winograd(channels, outputs, size):
    shapes = (1, channels, size, size), (1, outputs, size, size)
    assert kernels.algorithm(PAPER, *shapes) == "winograd"
    assert kernels.algorithm(PAPER, *shapes, transposed=True) == "winograd"


@pytest.mark.parametrize(
    "geometry, bottom, top",
    [
        (PAPER, (1, 3, 224, 224), (1, 64, 224, 224)),  # three channels leave the lanes empty
        (Geometry((3, 3), (2, 2), (1, 1)), (1, 64, 56, 56), (1, 64, 28, 28)),
        (Geometry((3, 3), pad=(1, 1), group=2), (1, 64, 56, 56), (1, 64, 56, 56)),
        (Geometry((3, 3), pad=(3, 1)), (1, 64, 56, 56), (1, 64, 60, 56)),
        (Geometry((7, 7), (2, 2), (3, 3)), (1, 3, 224, 224), (1, 64, 112, 112)),
        (Geometry((5, 5), pad=(2, 2)), (8, 32, 14, 14), (8, 96, 14, 14)),
        (Geometry((5, 5), pad=(2, 2)), (8, 32, 4, 4), (8, 64, 4, 4)),  # small maps of several images
    ],
)
def test_what_winograd_does_not_fit_or_pay_takes_the_direct_product_on_a_cpu(geometry, bottom, top):
    assert kernels.algorithm(geometry, bottom, top) == "direct"
    assert kernels.algorithm(geometry, bottom, top, gpu=True) == "product"


@pytest.mark.parametrize(
    "geometry, bottom, top",
    [
        (PAPER, (1, 512, 6, 6), (1, 512, 6, 6)),  # 36 places do not repay four tiles and the filters, nor the panels
        (PAPER, (32, 64, 1, 1), (32, 64, 1, 1)),  # one place in sixteen of a tile is wanted
        (PAPER, (1, 64, 224, 224), (1, 3, 224, 224)),  # a panel for three outputs
        (Geometry((5, 5), pad=(4, 4), dilation=(2, 2)), (1, 64, 56, 56), (1, 64, 56, 56)),
        (Geometry((1, 1)), (1, 64, 56, 56), (1, 64, 56, 56)),
        (Geometry((1, 1), (2, 2)), (1, 64, 56, 56), (1, 64, 28, 28)),  # every place is seen at most once
        (Geometry((16, 16), (16, 16)), (1, 3, 224, 224), (1, 768, 14, 14)),
        (Geometry((5, 5), pad=(2, 2)), (8, 256, 14, 14), (8, 256, 14, 14)),  # so many terms that columns do not show
    ],
)
def test_what_neither_fits_takes_the_product(geometry, bottom, top):
    assert kernels.algorithm(geometry, bottom, top) == "product"


def test_fewer_tiles_repay_the_filters_than_their_gradient():
    """4 (tiles + 5) results against 4 (tiles + 18), on a GPU 4 (tiles + 16) for both."""
    for images, forward, of_weights, on_gpu in (
        (1, "winograd", "product", "product"),
        (2, "winograd", "product", "winograd"),
        (4, "winograd", "winograd", "winograd"),
    ):
        shapes = (PAPER, (images, 512, 7, 7), (images, 512, 7, 7))
        assert kernels.algorithm(*shapes) == forward
        assert kernels.algorithm(*shapes, of_weights=True) == of_weights
        assert kernels.algorithm(*shapes, gpu=True) == kernels.algorithm(*shapes, gpu=True, of_weights=True) == on_gpu


def test_the_adjoint_is_computed_directly_at_stride_one_alone():
    five = Geometry((5, 5), pad=(2, 2))
    assert kernels.algorithm(five, (1, 32, 28, 28), (1, 16, 28, 28), transposed=True) == "direct"
    assert (
        kernels.algorithm(Geometry((4, 4), (2, 2), (1, 1)), (1, 32, 14, 14), (1, 16, 28, 28), transposed=True)
        == "product"
    )


@pytest.mark.parametrize(
    "kernel, channels, outputs, chosen",
    [
        (5, 32, 32, "direct"),
        (5, 32, 64, "product"),  # so many outputs repay the columns,
        (3, 3, 64, "direct"),  # unless there are few taps
        (7, 3, 128, "direct"),
        (11, 3, 96, "product"),
    ],
)
def test_a_small_gradient_of_the_weights_needs_no_columns_on_a_cpu(kernel, channels, outputs, chosen):
    geometry = Geometry((kernel, kernel), pad=(kernel // 2, kernel // 2))
    shapes = (8, channels, 32, 32), (8, outputs, 32, 32)
    assert kernels.algorithm(geometry, *shapes, of_weights=True) == chosen
    assert kernels.algorithm(geometry, *shapes[::-1], transposed=True, of_weights=True) == chosen
    assert kernels.algorithm(geometry, *shapes, gpu=True, of_weights=True) == "product"


def test_a_window_over_the_whole_map_takes_one_pass_for_some_images():
    fc6 = Geometry((7, 7))
    assert kernels.algorithm(fc6, (2, 512, 7, 7), (2, 4096, 1, 1)) == "dense"
    assert kernels.algorithm(fc6, (25, 512, 7, 7), (25, 4096, 1, 1)) == "dense"
    assert kernels.algorithm(fc6, (2, 4096, 1, 1), (2, 512, 7, 7), transposed=True) == "dense"
    assert kernels.algorithm(fc6, (50, 512, 7, 7), (50, 4096, 1, 1)) == "product"
    assert kernels.algorithm(fc6, (2, 512, 9, 7), (2, 4096, 3, 1)) == "product"
    assert kernels.algorithm(fc6, (2, 16, 7, 7), (2, 24, 1, 1)) == "product"  # weights that stay in the cache


def test_a_gpu_takes_winograd_and_leaves_the_largest_matrices_to_the_library():
    assert kernels.algorithm(PAPER, (1, 64, 56, 56), (1, 64, 56, 56), gpu=True) == "winograd"
    assert kernels.algorithm(Geometry((7, 7)), (2, 512, 7, 7), (2, 4096, 1, 1), gpu=True) == "product"


def test_the_environment_overrules_the_shape(monkeypatch):
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "product")
    assert kernels.algorithm(PAPER, (1, 64, 224, 224), (1, 64, 224, 224)) == "product"
    assert kernels.algorithm(Geometry((7, 7)), (2, 512, 7, 7), (2, 4096, 1, 1)) == "product"
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "winograd")
    assert kernels.algorithm(PAPER, (1, 1, 4, 4), (1, 1, 4, 4)) == "winograd"


def test_another_word_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "fast")
    with pytest.raises(ValueError, match="DECONVNET_CONVOLUTION is 'fast': it must be product or winograd"):
        kernels.algorithm(PAPER, (1, 8, 4, 4), (1, 8, 4, 4))


@pytest.mark.parametrize("engine", ["CAFFE", "CUDNN", "DEFAULT"])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_the_engine_of_a_layer_which_is_said_of_cudnn_changes_nothing(kind, engine):
    text = f'type: "{kind}" convolution_param {{ num_output: 16 kernel_size: 3 pad: 1 engine: {engine} }}'
    case = OneLayer(text, numbers(1, 16, 16, 16))
    assert case.layer.algorithm(case.bottom, case.top) == "winograd"


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("outputs, channels, size", [(5, 3, (2, 3)), (67, 30, (13, 11)), (4, 1, (1, 1))])
def test_one_pass_over_the_weights_is_the_product(images, outputs, channels, size):
    """Of four, two and one image at once; rows beyond a panel of 64, columns beyond a run of 1024 and of 2048."""
    geometry = Geometry(size)
    x, dy = numbers(images, channels, *size), numbers(images, outputs, 1, 1, seed=1)
    weights = numbers(outputs, channels, *size, seed=2)
    found = np.full(dy.shape, np.nan), np.full(x.shape, np.nan), np.ones(weights.shape)
    expected = np.empty(dy.shape), np.empty(x.shape), np.ones(weights.shape)
    dense.correlate(x, weights, found[0])
    convolution.correlate(x, weights, geometry, expected[0])
    dense.correlate_backward_data(dy, weights, found[1])
    convolution.correlate_backward_data(dy, weights, geometry, expected[1])
    dense.correlate_backward_weights(x, dy, found[2])
    convolution.correlate_backward_weights(x, dy, geometry, expected[2])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
