"""caffe.io: images and arrays on their way into a net and back."""

import io
import re
import sys

import cv2
import numpy as np
import pytest

import deconvnet as caffe

RNG = np.random.default_rng(0)
IMAGE = RNG.random((6, 8, 3)).astype(np.float32)
BYTES = RNG.integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def saved(tmp_path):
    """A function that saves pixels as a PNG and names the file."""

    def save(pixels):
        path = str(tmp_path / "image.png")
        cv2.imwrite(path, pixels)
        return path

    return save


def test_an_image_is_loaded_as_rgb_from_0_to_1(saved):
    image = caffe.io.load_image(saved(BYTES))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, BYTES[:, :, ::-1] / np.float32(255))


def test_alpha_is_dropped_and_sixteen_bits_are_scaled(saved):
    alpha = np.dstack([BYTES, np.full((6, 8), 7, np.uint8)])
    np.testing.assert_array_equal(caffe.io.load_image(saved(alpha)), caffe.io.load_image(saved(BYTES)))
    wide = BYTES.astype(np.uint16) * 257
    np.testing.assert_allclose(caffe.io.load_image(saved(wide)), BYTES[:, :, ::-1] / 255, rtol=1e-6)


def test_an_open_file_will_do(saved):
    """As uploads to a server come: Caffe's web_demo gives load_image what it received."""
    path = saved(BYTES)
    with open(path, "rb") as file:
        received = io.BytesIO(file.read())
    np.testing.assert_array_equal(caffe.io.load_image(received), caffe.io.load_image(path))
    with pytest.raises(ValueError, match="BytesIO.*: not an image that OpenCV can read"):
        caffe.io.load_image(io.BytesIO(b"text"))


def test_a_grey_image_gets_three_channels_or_keeps_one(saved):
    path = saved(BYTES[:, :, 0])
    assert caffe.io.load_image(path).shape == (6, 8, 3)
    np.testing.assert_array_equal(caffe.io.load_image(path, color=False), BYTES[:, :, :1] / np.float32(255))


def test_colours_become_grey_by_luminance(saved):
    grey = caffe.io.load_image(saved(BYTES), color=False)
    blue, green, red = np.moveaxis(BYTES / 255, 2, 0)
    assert grey.shape == (6, 8, 1)
    np.testing.assert_allclose(grey[:, :, 0], 0.2125 * red + 0.7154 * green + 0.0721 * blue, rtol=1e-5)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png: not an image"):
        caffe.io.load_image(str(tmp_path / "text.png"))
    with pytest.raises(FileNotFoundError, match=r"no such file: .*gone\.png"):
        caffe.io.load_image(str(tmp_path / "gone.png"))


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_resizing_is_linear_between_the_middles_of_pixels(channels):
    ramp = np.tile(np.arange(4, dtype=np.float32)[None, :, None], (2, 1, channels))
    resized = caffe.io.resize_image(ramp, (2, 8))
    assert resized.shape == (2, 8, channels) and resized.dtype == np.float32
    np.testing.assert_allclose(resized[0, :, -1], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)
    np.testing.assert_array_equal(
        caffe.io.resize_image(ramp, (4, 8), interp_order=0)[3, :, 0], [0, 0, 1, 1, 2, 2, 3, 3]
    )
    with pytest.raises(ValueError, match="interp_order is 0 .nearest., 1 .linear. or 3 .cubic., not 2"):
        caffe.io.resize_image(ramp, (2, 8), interp_order=2)


def test_oversampling_takes_corners_centre_and_their_mirror_images():
    crops = caffe.io.oversample([IMAGE, IMAGE + 1], (4, 4))
    assert crops.shape == (20, 4, 4, 3) and crops.dtype == np.float32
    for crop, (y, x) in zip(crops, [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)], strict=False):
        np.testing.assert_array_equal(crop, IMAGE[y : y + 4, x : x + 4])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], crops[:10] + 1)
    with pytest.raises(ValueError, match="an image of 6x8 is smaller than the crops, 7x4"):
        caffe.io.oversample([IMAGE], (7, 4))


@pytest.fixture
def transformer():
    """As the scripts for ImageNet's nets set one up."""
    made = caffe.io.Transformer({"data": (10, 3, 6, 8)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (2, 1, 0))
    made.set_raw_scale("data", 255)
    made.set_mean("data", np.array([104, 117, 123]))
    made.set_input_scale("data", 0.5)
    return made


def test_preprocessing_scales_then_subtracts_the_mean_then_scales(transformer):
    before = IMAGE.copy()
    expected = (IMAGE[:, :, ::-1].transpose(2, 0, 1) * 255 - np.array([104, 117, 123])[:, None, None]) * 0.5
    np.testing.assert_allclose(transformer.preprocess("data", IMAGE), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(IMAGE, before)


def test_deprocessing_undoes_preprocessing(transformer):
    image = transformer.deprocess("data", transformer.preprocess("data", IMAGE)[np.newaxis])
    np.testing.assert_allclose(image, IMAGE, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (1, 8), (6, 1)])
def test_deprocessing_keeps_the_axes_of_a_single_channel_row_or_column(size):
    made = caffe.io.Transformer({"data": (1, 1, *size)})
    made.set_transpose("data", (2, 0, 1))
    made.set_mean("data", np.full(1, 0.25))
    grey = IMAGE[: size[0], : size[1], :1]
    np.testing.assert_allclose(made.deprocess("data", made.preprocess("data", grey)), grey, atol=1e-6)


def test_orders_that_are_not_their_own_inverse_are_undone_too():
    made = caffe.io.Transformer({"data": (1, 3, 6, 8)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (1, 2, 0))
    np.testing.assert_array_equal(made.deprocess("data", made.preprocess("data", IMAGE)), IMAGE)


def test_an_image_of_another_size_is_resized_to_the_input(transformer):
    large = caffe.io.resize_image(IMAGE, (12, 16))
    np.testing.assert_array_equal(
        transformer.preprocess("data", large), transformer.preprocess("data", caffe.io.resize_image(large, (6, 8)))
    )


@pytest.mark.parametrize("shape", [(3,), (6, 8), (3, 6, 8), (1, 6, 8), (3, 12, 16)])
def test_a_mean_of_any_fitting_shape_is_subtracted(shape):
    made = caffe.io.Transformer({"data": (1, 3, 6, 8)})
    made.set_transpose("data", (2, 0, 1))
    made.set_mean("data", np.full(shape, 0.25))
    np.testing.assert_allclose(made.preprocess("data", IMAGE), IMAGE.transpose(2, 0, 1) - 0.25, atol=1e-6)


def test_settings_that_do_not_fit_the_input_are_refused(transformer):
    with pytest.raises(ValueError, match="'image' is no input: those are data"):
        transformer.preprocess("image", IMAGE)
    with pytest.raises(ValueError, match=r"axes 0 to 2 once each, not \(2, 0\)"):
        transformer.set_transpose("data", (2, 0))
    with pytest.raises(ValueError, match=r"channels 0 to 2 once each, not \(2, 1, 1\)"):
        transformer.set_channel_swap("data", (2, 1, 1))
    with pytest.raises(ValueError, match=r"a mean of shape \(4, 1, 1\) does not fit the input 'data', \(3, 6, 8\)"):
        transformer.set_mean("data", np.zeros(4))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4, 5), (1, 3, 6, 8)])
def test_arrays_and_their_gradients_go_through_blobprotos(shape):
    values, slopes = RNG.random((2, *shape), np.float32)
    blob = caffe.io.array_to_blobproto(values, slopes)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), slopes)


def test_old_blobprotos_have_four_sizes():
    blob = caffe.proto.caffe_pb2.BlobProto(num=1, channels=2, height=1, width=2, data=[1, 2, 3, 4])
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), [[[[1, 2]], [[3, 4]]]])


def test_lists_of_arrays_go_through_bytes():
    arrays = [RNG.random(shape, np.float32) for shape in ((2, 3), (4,))]
    stored = caffe.io.arraylist_to_blobprotovector_str(arrays)
    for ours, theirs in zip(caffe.io.blobprotovector_str_to_arraylist(stored), arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("array", [BYTES.transpose(2, 0, 1), RNG.random((2, 3, 4), np.float32)])
def test_arrays_and_labels_go_through_datums(array):
    datum = caffe.io.array_to_datum(array, 7)
    assert datum.label == 7 and bool(datum.data) == (array.dtype == np.uint8)
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum), array)
    with pytest.raises(ValueError, match=r"not of shape \(3, 4\)"):
        caffe.io.array_to_datum(np.zeros((3, 4)))


def test_a_single_value_without_a_shape_is_a_scalar():
    assert caffe.io.blobproto_to_array(caffe.proto.caffe_pb2.BlobProto(data=[123])) == 123
    assert caffe.io.blobproto_to_array(caffe.io.array_to_blobproto(np.float32(5))).shape == ()


def test_an_image_is_resized_as_scikit_image_does():
    """Half the size by linear interpolation is the mean of four; bytes count from 0 to 1."""
    expected = IMAGE.reshape(3, 2, 4, 2, 3).mean(axis=(1, 3))
    found = caffe.io.resize(IMAGE, (3, 4, 3))
    assert (found.shape, found.dtype) == ((3, 4, 3), np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(caffe.io.resize(BYTES, (3, 4)), caffe.io.resize(BYTES / 255, (3, 4)), atol=1e-6)
    assert caffe.io.resize(BYTES[:, :, 0], (3, 4), preserve_range=True).max() > 1


def test_what_is_resized_stays_in_its_range_and_in_its_channels():
    edge = np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.uint8), 4, axis=0)
    assert (caffe.io.resize(edge, (9, 17), order=3).min(), caffe.io.resize(edge, (9, 17), order=3).max()) == (0, 1)


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 6, 8), (3, 4, 300)])
def test_channels_are_resized_like_the_other_axes(shape):
    """Half the channels apart, or axes in another order than their sizes, as a recipe for HDF5 data has it."""
    found = caffe.io.resize(IMAGE, shape)
    plane = caffe.io.resize(IMAGE, shape[:2]).reshape(-1, 3)
    expected = [np.interp((np.arange(shape[2]) + 0.5) * 3 / shape[2] - 0.5, range(3), values) for values in plane]
    np.testing.assert_allclose(found, np.reshape(expected, shape), atol=1e-6)


def test_an_axis_of_one_is_added_and_a_row_of_values_is_resized():
    grey = IMAGE[:, :, 0]
    np.testing.assert_array_equal(caffe.io.resize(grey, (3, 4, 1))[:, :, 0], caffe.io.resize(grey, (3, 4)))
    np.testing.assert_allclose(caffe.io.resize(np.arange(8.0), (4,)), [0.5, 2.5, 4.5, 6.5])


@pytest.mark.parametrize("of, to", [((6, 8, 3), (5,)), ((8,), (4, 4)), ((2, 2, 2, 2), (2, 2)), ((6, 8), (3, 4, 1, 1))])
def test_other_axes_are_refused(of, to):
    with pytest.raises(ValueError, match="cannot be resized to"):
        caffe.io.resize(np.zeros(of), to)


def test_an_image_is_loaded_from_an_address(saved):
    path = saved(BYTES)
    np.testing.assert_array_equal(caffe.io.load_image(f"file://{path}"), caffe.io.load_image(path))
    for wrong in (f"file://{path}.gone", "http://127.0.0.1:abc/a.png", "http://127.0.0.1/a b.png", "http://[bad/a.png"):
        with pytest.raises(OSError, match=re.escape(f"{wrong}: cannot be read (")):
            caffe.io.load_image(wrong)


def test_any_number_of_channels_is_resized():
    many = np.repeat(IMAGE[:, :, :1], 300, axis=2)
    found = caffe.io.resize_image(many, (3, 4))
    np.testing.assert_allclose(found, np.repeat(caffe.io.resize_image(IMAGE[:, :, :1], (3, 4)), 300, axis=2), rtol=1e-6)


def test_pixels_of_a_datum_may_be_written_to():
    array = caffe.io.datum_to_array(caffe.io.array_to_datum(BYTES, True))
    array[...] = 0
    assert caffe.io.array_to_datum(BYTES, np.int64(3)).label == 3


def test_stored_floats_come_as_float64():
    datum, blob = caffe.io.array_to_datum(IMAGE), caffe.io.array_to_blobproto(IMAGE)
    assert caffe.io.datum_to_array(datum).dtype == caffe.io.blobproto_to_array(blob).dtype == np.float64


def test_scikit_image_is_found_where_pycaffe_has_it(tmp_path, monkeypatch):
    """A stand-in in its place: it is loaded when it is asked for."""
    for part in ("", "io", "transform"):
        folder = tmp_path / "skimage" / part
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(f"name = 'skimage {part}'")
    monkeypatch.syspath_prepend(tmp_path)
    assert (caffe.io.skimage.io.name, caffe.io.skimage.transform.name) == ("skimage io", "skimage transform")
    for name in [name for name in sys.modules if name.split(".")[0] == "skimage"]:
        del sys.modules[name]


def test_without_scikit_image_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(AttributeError, match="needs scikit-image: pip install scikit-image"):
        caffe.io.skimage  # noqa: B018
    assert not hasattr(caffe.io, "skimage")
