"""WindowData: windows of images, drawn by their overlap with objects."""

import cv2
import numpy as np
import pytest
from one_layer import TEST, TRAIN, OneLayer

from deconvnet.core import proto
from deconvnet.core.layers.window_data import WindowList
from deconvnet.core.net import Net, data_shapes
from deconvnet.core.proto import caffe_pb2

# a pixel's place, told by its blue: 10 y + x
PLACES = np.add.outer(10 * np.arange(7), np.arange(8)).astype(np.uint8)


def block(path, *windows, number=0, size="3\n7\n8"):
    """The part of a window file about one image."""
    return f"# {number}\n{path}\n{size}\n{len(windows)}\n" + "".join(f"{window}\n" for window in windows)


def pixel(x, y, overlap, label=1):
    """A window of one pixel, which comes as it is where crop_size is 1."""
    return f"{label} {overlap} {x} {y} {x} {y}"


@pytest.fixture
def folder(tmp_path):
    """places.png, whose blue tells the place, and more.png, where it is 100 higher."""
    for name, offset in (("places.png", 0), ("more.png", 100)):
        image = np.stack([PLACES + offset, np.full_like(PLACES, 7), np.full_like(PLACES, 9)], axis=2)
        cv2.imwrite(str(tmp_path / name), image)
    return tmp_path


@pytest.fixture
def layer_of(folder):
    """A maker of WindowData layers over a window file's text; their threads end with the test."""
    made = []

    def make(
        windows,
        fields="batch_size: 2",
        transform="crop_size: 1",
        name="layer",
        tops=2,
        phase=TRAIN,
        slash="/",
        **options,
    ):
        (folder / "windows.txt").write_bytes(windows if isinstance(windows, bytes) else windows.encode())
        text = (
            f'name: "{name}" type: "WindowData" window_data_param {{ source: "{folder}/windows.txt" root_folder: "{folder}{slash}" '
            f"{fields} }} transform_param {{ {transform} }}"
        )
        made.append(OneLayer(text, tops=tops, phase=phase, **{"dtype": np.float32, **options}))
        return made[-1]

    yield make
    for case in made:
        case.layer.close()


def drawn(case, batches=1):
    """What batches hold where crop_size is 1: per batch (blue, class) of each window."""
    return [
        [(int(value), int(label)) for value, label in zip(data[:, 0, 0, 0], labels, strict=True)]
        for data, labels in (case.forward() for _ in range(batches))
    ]


SOME = block("places.png", pixel(1, 0, 0.9, 3), pixel(2, 0, 0.7, 5), pixel(3, 0, 0.2, 8), pixel(4, 0, 0)) + block(
    "more.png", pixel(5, 1, 1, 2), pixel(6, 1, 0.1, 2), number=1
)
FOREGROUND, BACKGROUND = {(1, 3), (2, 5), (115, 2)}, {(3, 0), (4, 0), (116, 0)}


# ------------------------------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize("batch, fraction, count", [
    (4, 0.25, 1), (3, 0.5, 1), (10, 0.3, 3), (100, 0.29, 29), (2, 0, 0), (2, 1, 2), (1, 0.99, 0),
])  # fmt: skip
def test_a_batch_holds_background_windows_of_class_0_and_then_its_share_of_foreground(
    device, layer_of, batch, fraction, count
):
    """The share is rounded down, from a product in float32: in float64, 0.29 of 100 would be 28."""
    case = layer_of(SOME, f"batch_size: {batch} fg_fraction: {fraction}")
    for windows in drawn(case, 3):
        assert set(windows[: batch - count]) <= BACKGROUND
        assert set(windows[batch - count :]) <= FOREGROUND and len(windows) == batch


def test_a_quarter_is_foreground_and_half_an_overlap_decides_by_default(device, layer_of):
    case = layer_of(block("places.png", pixel(1, 0, 0.5, 3), pixel(2, 0, 0.4999, 3)), "batch_size: 8")
    assert drawn(case) == [[(2, 0)] * 6 + [(1, 3)] * 2]


def test_an_overlap_that_reaches_a_threshold_is_above_it_and_between_the_two_none_is_drawn(device, layer_of):
    """0.7 as float32, the threshold's type, is less than 0.7."""
    windows = block(
        "places.png", *(pixel(x, 0, overlap, x + 1) for x, overlap in enumerate((0.7, 0.6999, 0.3, 0.2999)))
    )
    case = layer_of(windows, "batch_size: 100 fg_fraction: 0.5 fg_threshold: 0.7 bg_threshold: 0.3")
    assert set(drawn(case)[0]) == {(0, 1), (3, 0)}


def test_a_window_above_both_thresholds_is_foreground(device, layer_of):
    case = layer_of(SOME, "batch_size: 40 fg_fraction: 0.5 fg_threshold: 0.6 bg_threshold: 2")
    assert set(drawn(case)[0][20:]) == FOREGROUND and set(drawn(case)[0][:20]) == BACKGROUND


def test_every_window_is_drawn_equally_often(device, layer_of):
    windows = [one for batch in drawn(layer_of(SOME, "batch_size: 600 fg_fraction: 0.5")) for one in batch]
    assert set(windows) == FOREGROUND | BACKGROUND
    assert all(70 < windows.count(one) < 130 for one in set(windows))


def test_mirroring_turns_about_half_of_the_windows_in_test_too(device, layer_of):
    for phase in (TRAIN, TEST):
        case = layer_of(
            block("places.png", "0 0 2 1 5 4"),
            "batch_size: 200 fg_fraction: 0",
            "crop_size: 4 mirror: true",
            phase=phase,
        )
        blue = case.forward()[0][:, 0]
        turned = (blue[:, 0, 0] == 15) & (blue[:, 3, 3] == 42)
        straight = (blue[:, 0, 0] == 12) & (blue[:, 3, 3] == 45)
        assert 70 < turned.sum() < 130 and (turned ^ straight).all()


RANDOM = "crop_size: 5 mirror: true mean_value: 3 scale: 0.5"
MANY = block("places.png", *(f"{y + 1} {0.07 * (x + y)} {x} {y} {x + 2} {y + 1}" for x in range(6) for y in range(6)))


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(device, layer_of, workers):
    fields = "batch_size: 5 fg_fraction: 0.4 context_pad: 1 crop_mode: 'square'"
    alone, helped = (layer_of(MANY, f"{fields} workers: {count}", RANDOM) for count in (0, workers))
    for _ in range(12):
        for ours, theirs in zip(helped.forward(), alone.forward(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_layer_goes_on_exactly_from_a_position(device, layer_of, workers):
    fields = f"batch_size: 3 fg_fraction: 0.4 context_pad: 1 workers: {workers}"
    case = layer_of(MANY, fields, RANDOM)
    for _ in range(3):
        case.forward()
    assert case.layer.position == 9
    expected = [case.forward() for _ in range(4)]
    resumed = layer_of(MANY, fields, RANDOM)
    resumed.forward()
    resumed.layer.position = 9
    for batch in expected:
        for ours, theirs in zip(resumed.forward(), batch, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_windows_follow_from_the_seed_the_layers_name_and_their_number(device, layer_of):
    def windows(**options):
        return drawn(layer_of(SOME, "batch_size: 20", **options))

    assert windows() == windows()
    assert len({tuple(batch) for batch in drawn(layer_of(SOME, "batch_size: 20"), 3)}) == 3
    assert windows(seed=2) != windows() != windows(name="other")


# ---------------------------------------------------------------------------------------------------- the mean and the channels


def test_values_of_the_mean_are_subtracted_before_scaling(device, layer_of):
    mean = "mean_value: 2 mean_value: 4 mean_value: 6"
    for fields, transform in (("scale: 0.5", mean), ("", f"scale: 0.5 {mean}")):
        case = layer_of(block("places.png", pixel(3, 2, 0)), f"batch_size: 1 {fields}", f"crop_size: 1 {transform}")
        np.testing.assert_array_equal(case.forward()[0].ravel(), [10.5, 1.5, 1.5])


def write_mean(folder, height, width):
    mean = np.arange(3 * height * width, dtype=float).reshape(3, height, width)
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=height, width=width, data=mean.ravel())
    (folder / "mean.binaryproto").write_bytes(blob.SerializeToString())
    return mean


@pytest.mark.parametrize("size, first", [((4, 4), 0), ((9, 9), 2), ((9, 7), 1)])
def test_a_mean_file_is_subtracted_where_its_width_has_its_middle_and_is_not_mirrored(
    device, layer_of, folder, size, first
):
    mean = write_mean(folder, *size)[:, first : first + 4, first : first + 4]
    transform = f'crop_size: 4 mean_file: "{folder}/mean.binaryproto"'
    windows = block("places.png", "0 0 2 1 5 4")
    fields = "batch_size: 20 fg_fraction: 0"
    cases = [layer_of(windows, fields, f"{transform} {mirror}", dtype=float) for mirror in ("", "mirror: true")]
    straight, turned = ({data.tobytes() for data in case.forward()[0]} for case in cases)
    pixels = cv2.imread(str(folder / "places.png"))[1:5, 2:6].transpose(2, 0, 1)
    assert straight == {(pixels - mean).tobytes()}
    assert turned == {(pixels - mean).tobytes(), (pixels[:, :, ::-1] - mean).tobytes()}


def test_a_grey_image_is_read_as_colour_whatever_its_channels_are_said_to_be(device, layer_of, folder):
    cv2.imwrite(str(folder / "grey.png"), PLACES)
    case = layer_of(block("grey.png", pixel(4, 3, 0), size="1\n7\n8"), "batch_size: 1")
    assert case.forward()[0].ravel().tolist() == [34, 34, 34]


# ---------------------------------------------------------------------------------------------------------- the window file


@pytest.mark.parametrize("form", [
    lambda text: text.replace("\n", " "),
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "\n\n" + text.replace("\n", "\n \n") + "\n",
    lambda text: "\ufeff" + text,
    lambda text: text.replace("# 0", "# 1").replace("# 1", "# 7"),
    lambda text: text + block("places.png"),
    lambda text: block("gone.png", size="0 0 0") + text,
    lambda text: text.rstrip(),
])  # fmt: skip
def test_lines_may_break_anywhere_and_images_are_those_that_the_windows_stand_under(device, layer_of, form):
    plain, other = layer_of(SOME, "batch_size: 60"), layer_of(form(SOME), "batch_size: 60")
    assert drawn(other) == drawn(plain)


def test_a_path_may_hold_spaces(device, layer_of, folder):
    (folder / "a b 3.png").write_bytes((folder / "places.png").read_bytes())
    assert drawn(layer_of(block("a b 3.png", pixel(3, 3, 0)), "batch_size: 1")) == [[(33, 0)]]


def test_a_window_takes_24_bytes(tmp_path):
    path = tmp_path / "windows.txt"
    lines = [f"1 {(k % 10) / 10} {k % 500} 3 {k % 500 + 40} 30" for k in range(20000)]
    path.write_text("".join(block(f"{k}.png", *lines[k::20], number=k) for k in range(20)))
    listed = WindowList(str(path), 0.5, 0.3)
    kinds = (listed.background, listed.foreground)
    assert [len(kind.lines) for kind in kinds] == [6000, 10000]
    held = {id(array.base): array.base for kind in kinds for array in (kind.corners, kind.classes)}
    assert sum(array.nbytes for array in held.values()) + sum(kind.lines.nbytes for kind in kinds) == 24 * 16000


HEADER = r"`# image_index`, path, channels, height, width and number of windows are expected, not"
WINDOW = r"`class overlap x1 y1 x2 y2` is expected, not"


@pytest.mark.parametrize("windows, said", [
    ("", r"windows\.txt: the list is empty; `# image_index`, path and size"),
    (" \n\n", r"windows\.txt: the list is empty"),
    ("places.png 1\n", rf"windows\.txt:1: {HEADER} `places\.png 1`"),
    ("\n\n#0\nplaces.png\n3\n7\n8\n0\n", rf"windows\.txt:3: {HEADER} `#0 places\.png 3 7 8 0`"),
    (SOME + "# 2\nplaces.png\n3\n7\n", rf"windows\.txt:19: {HEADER} `# 2 places\.png 3 7`"),
    (block("places.png", "1 0.5 0 0 1"), rf"windows\.txt:7: {WINDOW} `1 0\.5 0 0 1`"),
    (block("places.png", "1 0.5 0 0 1", "2 0.5 0 0 1 1 1"), rf"windows\.txt:7: {WINDOW} `1 0\.5 0 0 1`"),
    (block("places.png", pixel(0, 0, 0), "1 x 0 0 1 1"), rf"windows\.txt:8: {WINDOW} `1 x 0 0 1 1`"),
    (block("places.png", "1.5 0 0 0 1 1"), rf"windows\.txt:7: {WINDOW} `1\.5 0"),
    (block("places.png", "1 0 0 0 1.5 1"), rf"windows\.txt:7: {WINDOW} `1 0 0 0 1\.5 1`"),
    (block("places.png", "1 nan 0 0 1 1"), rf"windows\.txt:7: {WINDOW} `1 nan"),
    (block("places.png", "1 0 0 0 1 3000000000"), rf"windows\.txt:7: {WINDOW} `1 0 0 0 1 3000000000`"),
    (SOME + "0 0 0 0 0 0\n", r"windows\.txt:12: an image of 2 windows, but 3 follow"),
    (SOME.replace("\n2\n", "\n3\n"), r"windows\.txt:12: an image of 3 windows, but 2 follow"),
    (block("places.png", pixel(0, 0, 0), "2 0.5 3 1 2 1"), r"windows\.txt:8: the window 3 1 2 1 is empty; .*inclusive"),
    (block("places.png", "2 0 3 3 3 1"), r"windows\.txt:7: the window 3 3 3 1 is empty"),
    (block("places.png", pixel(0, 0, 0), pixel(1, 1, 0.5, 0)), r"windows\.txt:8: a window of class 0 whose overlap .*from 1"),
    (block("places.png", pixel(0, 0, 0.4)), r"windows\.txt: no foreground window, of which each batch takes 1 \(fg_fraction 0\.25\).*fg_threshold 0\.5$"),
    (block("places.png", pixel(0, 0, 0.5)), r"windows\.txt: no background window, of which each batch takes 3 .*is below bg_threshold 0\.5$"),
])  # fmt: skip
def test_a_window_file_of_another_form_is_refused_at_once_with_the_line(layer_of, windows, said):
    with pytest.raises(ValueError, match=said):
        layer_of(windows, "batch_size: 4")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_does_not_do_is_named_with_its_line_each_time(device, layer_of, folder, workers):
    (folder / "broken.png").write_text("not a PNG")
    fields = f"batch_size: 1 workers: {workers}"
    missing = layer_of("\n" + block("gone.png", pixel(0, 0, 0)), fields)
    broken = layer_of("\n" + block("broken.png", pixel(0, 0, 0)), fields)
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"windows\.txt:3: no such file: .*gone\.png$"):
            missing.forward()
        with pytest.raises(ValueError, match=r"windows\.txt:3: .*broken\.png: not an image"):
            broken.forward()
    assert missing.layer.position == 0


@pytest.mark.parametrize("fields, window", [
    ("", "0 0 8 0 8 0"), ("", "0 0 -1 0 0 0"), ("", "0 0 0 5 0 7"),
    ("context_pad: 1", "0 0 50 0 60 3"), ("context_pad: 1", "0 0 0 -60 3 -50"), ("crop_mode: 'square'", "0 0 30 0 32 3"),
])  # fmt: skip
def test_a_window_that_does_not_lie_in_its_image_is_named_with_its_line(device, layer_of, fields, window):
    case = layer_of(block("places.png", window), f"batch_size: 1 {fields}", "crop_size: 4")
    corners = window.split(" ", 2)[2]
    with pytest.raises(ValueError, match=rf"windows\.txt:7: the window {corners} does not lie in its image of 7x8"):
        case.forward()


def test_a_root_folder_without_its_slash_is_pointed_out(device, layer_of):
    case = layer_of(block("places.png", pixel(0, 0, 0)), "batch_size: 1", slash="")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*places\.png \(.*write root_folder: '.*/'\)"):
        case.forward()


def test_cached_images_are_read_once_and_before_the_first_batch(device, layer_of, folder):
    fields = "batch_size: 20 cache_images: true"
    cached, fresh = layer_of(SOME, fields), layer_of(SOME, "batch_size: 20")
    expected = drawn(fresh, 2)
    for name in ("places.png", "more.png"):
        (folder / name).unlink()
    assert drawn(cached, 2) == expected
    with pytest.raises(FileNotFoundError, match=r"windows\.txt:2: no such file: .*places\.png$"):
        layer_of(SOME, fields)
    (folder / "places.png").write_text("not a PNG")
    case = layer_of(block("places.png", pixel(0, 0, 0)), "batch_size: 1 cache_images: true")
    with pytest.raises(ValueError, match=r"windows\.txt:2: .*places\.png: not an image"):
        case.forward()


# ---------------------------------------------------------------------------------------------------------------- the fields


@pytest.mark.parametrize("fields, transform, said", [
    ("batch_size: 0", "crop_size: 1", "window_data_param.batch_size must be at least 1"),
    ("batch_size: 1 workers: 65", "crop_size: 1", "window_data_param.workers is 65"),
    ("batch_size: 1", "", "transform_param.crop_size is 0: it is the side of the resized windows"),
    ("batch_size: 1 crop_size: 5", "", r"window_data_param.crop_size is of the old syntax: write transform_param \{ crop_size"),
    ("batch_size: 1 mirror: true", "crop_size: 1", "window_data_param.mirror is of the old syntax"),
    ("batch_size: 1 mean_file: 'x'", "crop_size: 1", "window_data_param.mean_file is of the old syntax"),
    ("batch_size: 1 scale: 2", "crop_size: 1 scale: 2", "window_data_param.scale or transform_param.scale; not both"),
    ("batch_size: 1 context_pad: 2", "crop_size: 4", "context_pad is 2: on both sides of crop_size 4 it leaves nothing"),
    ("batch_size: 1 crop_mode: 'warped'", "crop_size: 1", "crop_mode is 'warped': it is warp or square"),
    ("batch_size: 1 fg_fraction: 1.5", "crop_size: 1", "fg_fraction must lie in 0 to 1, not 1.5"),
    ("batch_size: 1 fg_fraction: -0.5", "crop_size: 1", "fg_fraction must lie in 0 to 1"),
    ("batch_size: 1", "crop_size: 1 mean_value: 1 mean_value: 2", "has 2 mean_value for 3 channels"),
    ("batch_size: 1", "crop_size: 1 force_gray: true", "WindowData reads images in colour"),
])  # fmt: skip
def test_fields_that_cannot_be_are_refused(layer_of, fields, transform, said):
    with pytest.raises(ValueError, match=said):
        layer_of(SOME, fields, transform)


@pytest.mark.parametrize("size", [(5, 3), (3, 5), (5, 8)])
def test_a_mean_file_too_small_is_refused(layer_of, folder, size):
    """5 x 8 has room for 4 x 4, but not two pixels further down, where its width has its middle."""
    write_mean(folder, *size)
    with pytest.raises(ValueError, match=rf"mean of mean_file is {size[0]}x{size[1]} .*too small for crop_size 4"):
        layer_of(SOME, "batch_size: 1", f'crop_size: 4 mean_file: "{folder}/mean.binaryproto"')


def test_it_has_two_tops(layer_of):
    with pytest.raises(ValueError, match="takes 2 tops, not 1"):
        layer_of(SOME, tops=1)


@pytest.mark.parametrize("syntax", [
    'layer { name: "data" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 4 mirror: true scale: 0.5 } '
    "window_data_param { %s } }",
    'layers { name: "data" type: WINDOW_DATA top: "data" top: "label" window_data_param { %s crop_size: 4 mirror: true scale: 0.5 } }',
])  # fmt: skip
def test_a_net_of_either_syntax_is_fed(device, folder, syntax):
    """The scale that the old syntax has among the layer's own fields counts, too."""
    (folder / "windows.txt").write_text(block("places.png", "0 0 2 1 5 4"))
    fields = f'source: "{folder}/windows.txt" root_folder: "{folder}/" batch_size: 3'
    net = Net(proto.parse(syntax % fields, caffe_pb2.NetParameter()), TRAIN, seed=1)
    blobs = net.forward()
    assert (blobs["data"].shape, blobs["label"].shape) == ((3, 3, 4, 4), (3,))
    assert set(blobs["data"][:, 0, 0, 0].tolist()) <= {6, 7.5} and not blobs["label"].any()
    net.close()


def test_its_shapes_are_known_without_its_files():
    text = (
        'layer { name: "data" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 227 } '
        'window_data_param { source: "gone" batch_size: 128 } }'
    )
    shapes = data_shapes(proto.parse(text, caffe_pb2.NetParameter()))
    assert shapes == {"data": (128, 3, 227, 227), "label": (128,)}
