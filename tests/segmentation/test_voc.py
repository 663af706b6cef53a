import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from deconvnet.core.segmentation import voc


def test_palette_begins_and_ends_with_vocs_colours():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 5: (128, 0, 128)}
    known |= {8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    colors = voc.palette()
    assert colors.shape == (256, 3) and colors.dtype == np.uint8
    assert {i: tuple(int(c) for c in colors[i]) for i in known} == known


def test_no_two_indices_share_a_colour():
    assert len({tuple(color) for color in voc.palette().tolist()}) == 256


def test_voc_has_background_and_twenty_classes_in_the_benchmarks_order():
    assert len(voc.CLASSES) == 21
    assert [voc.CLASSES[i] for i in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_written_label_reads_back_as_the_same_indices(tmp_path_factory, label):
    path = tmp_path_factory.mktemp("label") / "x.png"
    voc.write_label(path, label)
    np.testing.assert_array_equal(voc.read_label(path), label)


def test_a_written_label_shows_vocs_colours(tmp_path):
    voc.write_label(tmp_path / "x.png", np.array([[0, 1], [15, 255]], np.uint8))
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image.convert("RGB")), voc.palette()[[[0, 1], [15, 255]]])


def test_a_palette_of_any_colours_and_a_grey_image_are_read_as_indices(tmp_path):
    label = np.array([[0, 7], [3, 255]], np.uint8)
    palette = Image.fromarray(label)
    palette.putpalette([255 - c for c in range(256) for _ in range(3)])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(label).save(tmp_path / "grey.png")
    for name in ("palette.png", "grey.png"):
        np.testing.assert_array_equal(voc.read_label(tmp_path / name), label)


def test_a_label_of_colours_is_refused_with_the_remedy(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png: a label image holds one class index a pixel.*RGB.: convert"):
        voc.read_label(tmp_path / "rgb.png")


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_broken_label_is_a_clear_error(tmp_path, keep):
    voc.write_label(tmp_path / "x.png", np.arange(256, dtype=np.uint8).reshape(16, 16))
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x\.png: not a label image"):
        voc.read_label(tmp_path / "x.png")


@pytest.mark.parametrize("read", [voc.read_label, voc.read_size])
def test_an_image_so_large_that_pillow_refuses_it_is_a_clear_error(tmp_path, monkeypatch, read):
    voc.write_label(tmp_path / "x.png", np.zeros((5, 5), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(voc.DataError, match=r"x\.png: not .* that Pillow can read \(Image size"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize(
    "label", [np.full((2, 2), 256), np.full((2, 2), -1), np.zeros((2, 2, 3), int), np.zeros((2, 2))]
)
def test_only_indices_from_0_to_255_can_be_written(tmp_path, label):
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        voc.write_label(tmp_path / "x.png", label)


def test_an_image_is_read_as_bgr(tmp_path):
    Image.new("RGB", (3, 2), (255, 0, 10)).save(tmp_path / "x.png")
    image = voc.read_image(tmp_path / "x.png")
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [10, 0, 255]


def test_a_written_image_reads_back_but_for_jpegs_rounding(tmp_path):
    image = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    voc.write_image(tmp_path / "x.jpg", image)
    np.testing.assert_allclose(voc.read_image(tmp_path / "x.jpg").astype(int), image, atol=3)


def test_an_image_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    with pytest.raises(OSError, match=r"absent.x\.jpg: cannot be written \(No such file"):
        voc.write_image(tmp_path / "absent" / "x.jpg", np.zeros((2, 2, 3), np.uint8))


def test_an_image_keeps_the_orientation_its_label_has(tmp_path):
    rotated = Image.Exif()
    rotated[0x0112] = 6  # turn by 90 degrees for display
    Image.new("RGB", (3, 2)).save(tmp_path / "x.jpg", exif=rotated)
    assert voc.read_image(tmp_path / "x.jpg").shape == (2, 3, 3)


def test_a_size_is_that_of_the_stored_pixels(tmp_path):
    rotated = Image.Exif()
    rotated[0x0112] = 6
    Image.new("RGB", (3, 2)).save(tmp_path / "x.jpg", exif=rotated)
    assert voc.read_size(tmp_path / "x.jpg") == (2, 3)


ORANGE = (250, 130, 10)  # RGB


@pytest.mark.parametrize(
    "name, mode, color, bgr",
    [
        ("grey.jpg", "L", 130, (130, 130, 130)),
        ("grey.png", "L", 130, (130, 130, 130)),
        ("transparent.png", "RGBA", (*ORANGE, 0), ORANGE[::-1]),
        ("grey_transparent.png", "LA", (130, 0), (130, 130, 130)),
        ("16_bit.png", "I;16", 130 * 257, (130, 130, 130)),
        ("two_level.png", "1", 1, (255, 255, 255)),
        ("cmyk.jpg", "CMYK", (0, 0, 0, 125), (130, 130, 130)),
        ("palette.png", "P", 1, ORANGE[::-1]),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (5, 3)])
def test_every_kind_of_photograph_is_read_as_8_bit_bgr(tmp_path, name, mode, color, bgr, size):
    image = Image.new(mode, size, color)
    if mode == "P":
        image.putpalette([0, 0, 0, *ORANGE])
    image.save(tmp_path / name)
    read = voc.read_image(tmp_path / name)
    assert read.shape == (size[1], size[0], 3) and read.dtype == np.uint8
    assert np.abs(read.astype(int) - bgr).max() <= 2  # JPEG's rounding


def test_a_palette_image_of_one_pixel_is_read_as_a_label(tmp_path):
    voc.write_label(tmp_path / "x.png", np.array([[20]]))
    assert voc.read_label(tmp_path / "x.png").tolist() == [[20]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "LA", "1"])
def test_labels_of_other_kinds_than_palette_and_grey_are_refused(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "x.png")
    with pytest.raises(voc.DataError, match=rf"x\.png: a label image holds one class index.* this one .*{mode}"):
        voc.read_label(tmp_path / "x.png")


def test_a_label_of_another_size_is_an_error_that_names_both_files():
    voc.require_one_size("x.png", (2, 3), "x.jpg", (2, 3))
    with pytest.raises(voc.DataError, match=r"^x\.png: the label is 3x3 \(height x width\), but x\.jpg is 2x3$"):
        voc.require_one_size("x.png", (3, 3), "x.jpg", (2, 3))
    with pytest.raises(
        voc.DataError, match=r"x\.jpg is 2x3; EXIF rotation is not applied: save the image as it is shown$"
    ):
        voc.require_one_size("x.png", (3, 2), "x.jpg", (2, 3))


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_only_a_whole_image_has_a_size(tmp_path, name):
    Image.effect_noise((40, 30), 50).save(tmp_path / name)
    assert voc.size_of_whole_image(tmp_path / name) == (30, 40)
    whole = (tmp_path / name).read_bytes()
    for length in (0, 30, len(whole) // 2, len(whole) - 100):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(voc.DataError, match=f"{name}: not a whole image"):
            voc.size_of_whole_image(tmp_path / name)


def test_images_too_large_to_be_meant_are_clear_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    voc.write_label(tmp_path / "x.png", np.zeros((3, 3), np.uint8))
    for read in (voc.read_label, voc.size_of_whole_image):
        with pytest.raises(voc.DataError, match=r"x\.png: not a"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("read", [voc.read_image, voc.read_size])
def test_a_file_that_is_no_image_is_a_clear_error(tmp_path, read):
    (tmp_path / "x.jpg").write_text("no image")
    with pytest.raises(voc.DataError, match=r"x\.jpg: not an image"):
        read(tmp_path / "x.jpg")


@pytest.mark.parametrize("read", [voc.read_image, voc.read_size, voc.read_label, voc.read_ids])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="absent: no such file"):
        read(tmp_path / "absent")


def test_ids_read_back_without_blank_lines_and_spaces(tmp_path):
    voc.write_ids(tmp_path / "sets" / "train.txt", ["2007_000032", "2007_000039"])
    assert voc.read_ids(tmp_path / "sets" / "train.txt") == ["2007_000032", "2007_000039"]
    (tmp_path / "val.txt").write_text("a \r\n\n b\n")
    assert voc.read_ids(tmp_path / "val.txt") == ["a", "b"]


def test_the_folder_knows_vocs_layout(tmp_path):
    folder = voc.VocFolder(tmp_path)
    relative = [
        p.relative_to(tmp_path).as_posix() for p in (folder.image("i"), folder.classes("i"), folder.objects("i"))
    ]
    assert relative == ["JPEGImages/i.jpg", "SegmentationClass/i.png", "SegmentationObject/i.png"]
    assert folder.split("val").relative_to(tmp_path).as_posix() == "ImageSets/Segmentation/val.txt"
