import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import proto
from deconvnet.core.layers.example import ImageCache, Transform, cut, read_image, read_label, resize_image, resize_label
from deconvnet.core.proto import caffe_pb2

Image = pytest.importorskip("PIL.Image")

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


def make_transform(image="", transformation="", phase=TEST, mean=0.0, channels=3, dtype=np.float32):
    text = f"image_data_param {{ {image} }} transform_param {{ {transformation} }}"
    param = proto.parse(text, caffe_pb2.LayerParameter())
    param.phase = phase
    mean = np.asarray(mean, float)
    return Transform(param, mean if mean.ndim == 3 else np.resize(mean, (channels, 1, 1)), dtype)


def numbered(height, width, channels=3):
    """An image whose values tell place and channel, and the label that tells the place."""
    places = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    return np.stack([places + np.uint8(80 * c) for c in range(channels)], axis=2), places


class Drawn:
    """Draws these numbers of [0, 1)."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def random(self, count):
        assert count == len(self.numbers)
        return self.numbers


# --------------------------------------------------------------------------------------------------------- the window


def test_a_window_is_cut_with_both_corners_inside_it():
    _, places = numbered(4, 5)
    np.testing.assert_array_equal(cut(places, (1, 2, 3, 2), fill=255), [[11, 12, 13]])


def test_a_window_over_the_border_is_filled_up():
    _, places = numbered(2, 2)
    np.testing.assert_array_equal(cut(places, (-1, -1, 0, 2), fill=9), [[9, 9], [9, 0], [9, 2], [9, 9]])


@pytest.mark.parametrize("window", [(-5, 0, -4, 1), (0, -7, 1, -6), (2, 0, 3, 1), (0, 5, 1, 6), (2, 2, 3, 3)])
def test_a_window_beside_the_image_is_filled_only(window):
    image, _ = numbered(2, 2)
    np.testing.assert_array_equal(cut(image, window, fill=9), np.full((2, 2, 3), 9))


@given(st.tuples(*[st.integers(-9, 9)] * 2), st.tuples(*[st.integers(1, 12)] * 2), st.tuples(*[st.integers(1, 6)] * 2))
def test_any_window_equals_the_one_cut_from_a_generously_padded_image(corner, sides, shape):
    (x, y), (width, height) = corner, sides
    image, _ = numbered(*shape)
    padded = np.pad(image, ((30, 30), (30, 30), (0, 0)), constant_values=7)
    expected = padded[30 + y : 30 + y + height, 30 + x : 30 + x + width]
    np.testing.assert_array_equal(cut(image, (x, y, x + width - 1, y + height - 1), fill=7), expected)


def test_outside_the_image_lie_zeros_and_in_the_label_ignore_label():
    image, label = numbered(2, 2)
    data, label = make_transform("ignore_label: 33", "mean_value: 10", mean=10)(
        image + np.uint8(1), label, (1, 1, 2, 1)
    )
    np.testing.assert_array_equal(data[0], [[4 - 10, 0 - 10]])
    np.testing.assert_array_equal(label, [[3, 33]])


# --------------------------------------------------------------------------------------------------------- the resize


def test_an_image_is_enlarged_bilinearly_about_pixel_centres():
    image = np.array([[0, 100]], np.uint8)[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(resize_image(image, 1, 4, antialias=False)[0, :, 0], [0, 25, 75, 100])


def test_an_image_shrinks_by_interpolation_and_antialiased_by_means():
    image = np.array([[0, 0, 0, 200, 0, 0, 0, 200]], np.uint8)[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(resize_image(image, 1, 2, antialias=False)[0, :, 1], [0, 0])
    np.testing.assert_array_equal(resize_image(image, 1, 2, antialias=True)[0, :, 1], [50, 50])


def test_antialiasing_takes_means_along_a_shrinking_axis_and_interpolates_a_growing_one():
    image = np.array([[0, 80, 0, 80], [100, 180, 100, 180]], np.uint8)[:, :, None].repeat(3, axis=2)
    expected = [[40, 40], [65, 65], [115, 115], [140, 140]]
    np.testing.assert_array_equal(resize_image(image, 4, 2, antialias=True)[:, :, 2], expected)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.sampled_from([1, 3])
)
def test_an_even_image_stays_even_at_any_size(height, width, new_height, new_width, antialias, channels):
    image = np.full((height, width, channels), 77, np.uint8)
    resized = resize_image(image, new_height, new_width, antialias)
    np.testing.assert_array_equal(resized, np.full((new_height, new_width, channels), 77))


def test_a_label_shrinks_to_the_pixels_at_the_upper_left_as_in_the_release():
    _, places = numbered(1, 9)
    np.testing.assert_array_equal(resize_label(places, 1, 3, antialias=False), [[0, 3, 6]])
    np.testing.assert_array_equal(resize_label(places, 1, 4, antialias=False), [[0, 2, 4, 6]])
    np.testing.assert_array_equal(resize_label(places[:, :2], 2, 5, antialias=False), [[0, 0, 0, 1, 1]] * 2)


def test_antialiased_a_label_shrinks_to_the_pixels_in_the_middle():
    _, places = numbered(1, 9)
    np.testing.assert_array_equal(resize_label(places, 1, 3, antialias=True), [[1, 4, 7]])
    np.testing.assert_array_equal(resize_label(places[:, :5], 1, 2, antialias=True), [[1, 3]])
    np.testing.assert_array_equal(resize_label(places[:, :2], 2, 4, antialias=True), [[0, 0, 1, 1]] * 2)


def test_the_releases_rule_for_labels_is_opencvs_nearest():
    _, places = numbered(11, 13)
    for height, width in ((5, 7), (11, 4), (22, 26), (3, 17)):
        expected = cv2.resize(places, (width, height), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(resize_label(places, height, width, antialias=False), expected)


@pytest.mark.parametrize("antialias", ["true", "false"])
def test_no_label_value_is_invented(antialias):
    image, _ = numbered(7, 5)
    label = np.where(np.arange(35).reshape(7, 5) % 3 == 0, 255, 4).astype(np.uint8)
    resize = make_transform(f"new_height: 11 new_width: 3 antialias: {antialias}")
    assert set(np.unique(resize(image, label)[1])) == {4, 255}


def test_the_window_is_cut_before_it_is_resized():
    image, label = numbered(4, 4)
    data, label = make_transform("new_height: 4 new_width: 2")(image, label, (2, 0, 2, 1))
    np.testing.assert_array_equal(label, [[2, 2], [2, 2], [6, 6], [6, 6]])
    np.testing.assert_array_equal(data[0], [[2, 2], [3, 3], [5, 5], [6, 6]])


# --------------------------------------------------------------------------------------- crop, mirror, mean and scale


@pytest.mark.parametrize("size, first", [(4, 0), (5, 0), (6, 1), (7, 1), (8, 2)])
def test_the_crop_of_a_test_lies_in_the_centre(size, first):
    image, label = numbered(size, size)
    data, cropped = make_transform("", "crop_size: 4")(image, label)
    np.testing.assert_array_equal(cropped, label[first : first + 4, first : first + 4])
    np.testing.assert_array_equal(data[0], cropped)


@pytest.mark.parametrize("down, right", [(0, 0), (0.4, 0.7), (0.99, 0.99)])
def test_the_crop_of_training_is_drawn_among_all_places(down, right):
    image, label = numbered(6, 9)
    data, cropped = make_transform("", "crop_size: 4", TRAIN)(image, label, draw=Drawn(down, right, 0))
    y, x = int(down * 3), int(right * 6)
    np.testing.assert_array_equal(cropped, label[y : y + 4, x : x + 4])
    np.testing.assert_array_equal(data[2], cropped + np.float32(160))


def test_every_place_of_the_crop_is_reached():
    image, label = numbered(5, 6)
    crop = make_transform("", "crop_size: 4", TRAIN)
    corners = {int(crop(image, label, draw=np.random.default_rng(k))[1][0, 0]) for k in range(200)}
    assert corners == {0, 1, 2, 6, 7, 8}


def test_a_smaller_image_is_padded_below_and_right_by_the_mean_and_ignore_label():
    image, label = numbered(2, 3)
    data, label = make_transform("ignore_label: 200", "crop_size: 4", mean=(1.5, 2, 3))(image, label)
    np.testing.assert_array_equal(label, [[0, 1, 2, 200], [3, 4, 5, 200], [200] * 4, [200] * 4])
    np.testing.assert_array_equal(data[0], [[-1.5, -0.5, 0.5, 0], [1.5, 2.5, 3.5, 0], [0] * 4, [0] * 4])


def test_an_image_that_is_smaller_along_one_axis_is_padded_there_and_cropped_along_the_other():
    image, label = numbered(1, 4)
    data, label = make_transform("", "crop_size: 2", TRAIN)(image, label, draw=Drawn(0.9, 0.5, 0))
    np.testing.assert_array_equal(label, [[1, 2], [255, 255]])
    np.testing.assert_array_equal(data[0], [[1, 2], [0, 0]])


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("turn, mirrored", [(0.49, True), (0.5, False)])
def test_half_of_the_draws_mirror_image_and_label_alike_in_both_phases(phase, turn, mirrored):
    image, label = numbered(2, 3)
    data, result = make_transform("", "mirror: true", phase)(image, label, draw=Drawn(0, 0, turn))
    expected = label[:, ::-1] if mirrored else label
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(data, [expected, expected + np.float32(80), expected + np.float32(160)])


def test_padding_is_mirrored_with_the_image():
    image, label = numbered(1, 2)
    data, label = make_transform("", "crop_size: 3 mirror: true", mean=10)(image, label, draw=Drawn(0, 0, 0))
    np.testing.assert_array_equal(label, [[255, 1, 0], [255] * 3, [255] * 3])
    np.testing.assert_array_equal(data[0], [[0, -9, -10], [0] * 3, [0] * 3])


def test_the_mean_of_each_channel_is_subtracted_before_scaling():
    image = np.array([[[10, 20, 30]]], np.uint8)
    data, _ = make_transform("", "scale: 0.5", mean=(1, 2, 4))(image, image[:, :, 0])
    np.testing.assert_array_equal(data.ravel(), [4.5, 9, 13])


def test_a_mean_image_is_cropped_and_mirrored_with_the_image():
    image, label = numbered(3, 4)
    mean = image.transpose(2, 0, 1) - 5.0
    data, _ = make_transform("", "crop_size: 2 mirror: true", TRAIN, mean)(image, label, draw=Drawn(0.9, 0.5, 0))
    np.testing.assert_array_equal(data, np.full((3, 2, 2), 5))


def test_a_mean_image_of_another_size_is_refused():
    image, label = numbered(3, 4)
    with pytest.raises(ValueError, match="the mean of mean_file is 4x3 and the image 3x4"):
        make_transform("", "", TEST, np.zeros((3, 4, 3)))(image, label)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_has_the_type_of_the_net_and_labels_stay_bytes(dtype):
    image, label = numbered(2, 2)
    data, label = make_transform(mean=0.1, dtype=dtype)(image, label)
    assert (data.dtype, label.dtype) == (dtype, np.uint8)
    np.testing.assert_array_equal(data[0], np.arange(4, dtype=dtype).reshape(2, 2) - dtype(0.1))


def test_the_inputs_stay_as_they_are():
    image, label = numbered(5, 5)
    before = image.copy(), label.copy()
    make_transform("new_height: 5 new_width: 5", "mirror: true scale: 3 crop_size: 5", mean=9)(
        image, label, (0, 0, 4, 4), Drawn(0, 0, 0)
    )
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


# ------------------------------------------------------------------------------------------------------------ reading


def test_images_are_read_as_bgr_or_grey(tmp_path):
    Image.fromarray(np.array([[[250, 100, 5]]], np.uint8)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "x.png")), [[[5, 100, 250]]])
    assert read_image(str(tmp_path / "x.png"), color=False).shape == (1, 1, 1)


@pytest.mark.parametrize("color, channels", [(True, 3), (False, 1)])
def test_an_exif_rotation_is_not_applied(tmp_path, color, channels):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 9, 3), np.uint8)).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(str(tmp_path / "x.jpg"), color).shape == (4, 9, channels)


def test_labels_are_palette_indices_or_grey_levels(tmp_path):
    label = np.array([[0, 7], [3, 255]], np.uint8)
    palette = Image.fromarray(label)
    palette.putpalette([255 - c for c in range(256) for _ in range(3)])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(label).save(tmp_path / "grey.png")
    for name in ("palette.png", "grey.png"):
        np.testing.assert_array_equal(read_label(str(tmp_path / name)), label)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16", "1"])
def test_a_label_of_another_kind_is_refused(tmp_path, mode):
    Image.new(mode, (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=rf"x\.png: a label image holds one class index.* this one .* .{mode}.:"):
        read_label(str(tmp_path / "x.png"))


def test_a_label_in_a_jpeg_is_refused(tmp_path):
    label = Image.fromarray(np.zeros((8, 8), np.uint8))
    for form, more in (
        ("JPEG", {}),
        ("MPO", {"append_images": [label], "save_all": True}),
        ("TIFF", {"compression": "jpeg"}),
    ):
        label.save(tmp_path / "x.png", form, **more)
        with pytest.raises(ValueError, match=r"x\.png: a label image in a JPEG, which changes the numbers of classes"):
            read_label(str(tmp_path / "x.png"))


@pytest.mark.parametrize("form", ["png", "tif"])
def test_sensors_values_of_12_bits_in_16_are_warned_of_once(tmp_path, monkeypatch, form):
    monkeypatch.setattr("deconvnet.core.layers.example._has_warned", False)
    path = str(tmp_path / f"x.{form}")
    cv2.imwrite(path, np.full((4, 4, 3), [4000, 0, 7], np.uint16))
    with pytest.warns(UserWarning, match=rf"x\.{form}: has 16 bits a pixel and no value above 4000, of 65535"):
        assert read_image(path).max() <= 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)
        monkeypatch.setattr("deconvnet.core.layers.example._has_warned", False)
        for values in (
            np.full((4, 4, 3), 40000, np.uint16),
            np.zeros((4, 4, 3), np.uint16),
            np.ones((4, 4, 3), np.uint8),
        ):
            cv2.imwrite(path, values)
            read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.png: not an image"):
        read_image(str(tmp_path / "x.png"))
    with pytest.raises(ValueError, match=r"x\.png: not a label image"):
        read_label(str(tmp_path / "x.png"))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*gone\.jpg"):
        read_image(str(tmp_path / "gone.jpg"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(str(tmp_path))


# ---------------------------------------------------------------------------------------------------------- the cache


def test_the_cache_reads_each_file_once_while_it_has_room():
    read = []

    def load(name):
        read.append(name)
        return np.full(10, ord(name), np.uint8)

    cache = ImageCache(budget=20)
    assert [int(cache.get(load, name)[0]) for name in "abab"] == [97, 98, 97, 98]
    assert read == ["a", "b"]


def test_the_cache_drops_what_was_used_longest_ago_and_never_exceeds_its_budget():
    read = []

    def load(name):
        read.append(name)
        return np.zeros(10, np.uint8)

    cache = ImageCache(budget=25)
    for name in "abacab":
        cache.get(load, name)
        assert cache.bytes <= 25
    assert read == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_cache_is_read_each_time():
    cache = ImageCache(budget=5)
    first, second = (cache.get(np.zeros, 6) for _ in range(2))
    assert first is not second and cache.bytes == 0


def test_cached_images_cannot_be_overwritten():
    with pytest.raises(ValueError, match="read-only"):
        ImageCache().get(np.zeros, 6)[0] = 1
