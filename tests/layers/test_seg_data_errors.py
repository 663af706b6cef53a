import pytest
from example_folder import ExampleFolder, step

from deconvnet.core.layers.seg_data import ImageSegData, WindowSegData
from deconvnet.core.proto import caffe_pb2


@pytest.fixture
def data(tmp_path):
    made = ExampleFolder(tmp_path)
    yield made
    for layer in made.layers:
        layer.close()


@pytest.mark.filterwarnings("ignore:.*files listed are not there")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("lines, error, message", [
    (["/gone.png /label1.png"], FileNotFoundError, r"list\.txt:1: no such file: .*/gone\.png$"),
    (["", "/1.png /gone.png"], FileNotFoundError, r"list\.txt:2: no such file: .*/gone\.png$"),
    (["/broken.png /label1.png"], ValueError, r"list\.txt:1: .*/broken\.png: not an image"),
    (["/1.png /broken.png"], ValueError, r"list\.txt:1: .*/broken\.png: not a label image"),
    (["/1.png /1.png"], ValueError, r"list\.txt:1: .*/1\.png: a label image holds .* this one holds colours .RGB."),
    (["/1.png /label2.png"], ValueError, r"list\.txt:1: the label .*/label2\.png is 3x3 .* image .*/1\.png 6x8"),
])  # fmt: skip
def test_a_file_that_does_not_do_is_named_with_its_line_each_time(data, workers, lines, error, message):
    data.add(1)
    data.add(2, height=3, width=3)
    (data.root / "broken.png").write_bytes(b"broken")
    data.write(*lines)
    layer = data.layer(images=f"new_height: 2 new_width: 2 workers: {workers}")
    for _ in range(2):
        with pytest.raises(error, match=message):
            step(layer)
    assert layer.position == 0


def test_files_that_are_not_there_are_counted_before_a_run_begins(data):
    """Images and labels, each once, in folders that there may not be; the first is named with its first line."""
    data.add(1)
    data.write("/1.png /label1.png", "/1.png /gone.png", "/far/2.png /label1.png", "/far/2.png /gone.png")
    with pytest.warns(UserWarning) as told:
        data.layer(images="new_height: 2 new_width: 2")
    assert str(told[0].message) == (
        f"{data.root}/list.txt:2: no such file: {data.root}/gone.png (2 of the 4 files listed are not there); "
        "a run ends where one is drawn"
    )


def test_a_list_whose_files_are_there_is_read_without_a_word(data, recwarn):
    data.add(1)
    data.write("/1.png /label1.png", f"/../{data.root.name}/1.png /label1.png")
    data.layer(images="new_height: 2 new_width: 2")
    assert not recwarn


def test_a_root_folder_without_its_slash_is_pointed_out(data):
    data.add(1)
    data.write("1.png label1.png")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*1\.png \(.*write root_folder: '.*/'\)"):
        step(data.layer(images="new_height: 2 new_width: 2"))


@pytest.mark.parametrize("kind, lines, message", [
    (ImageSegData, ["/1.png"], r"list\.txt:1: `image label` is expected, not `/1\.png`"),
    (WindowSegData, ["/1.png /l.png 0 0 1 1", "", "/1.png /l.png 0 0 1"], r"list\.txt:3: `image label x1 y1 x2 y2` is"),
    (WindowSegData, ["/1.png /l.png 0 0 1 1.5"], r"list\.txt:1: `image label x1 y1 x2 y2` is expected"),
    (WindowSegData, ["/1.png"], r"list\.txt:1: `image label x1 y1 x2 y2` is expected, not `/1\.png`"),
    (WindowSegData, ["/1.png 0 0 1 1"], r"1: `image label x1 y1 x2 y2` is expected, not `/1\.png 0 0 1 1`"),
    (WindowSegData, ["/1.png /l.png 0 0 1 99999999999"], r"list\.txt:1: `image label x1 y1 x2 y2` is expected"),
    (WindowSegData, ["", "/1.png /l.png 3 0 1 5"], r"list\.txt:2: a window of -1x6 pixels"),
    (WindowSegData, ["/1.png /l.png 0 0 1 40000"], r"list\.txt:1: a window of 2x40001 pixels"),
    (ImageSegData, ["i\0.\0j\0"], r"list\.txt:1: no text of a list; save it as UTF-8"),
    (ImageSegData, ["", ""], r"list\.txt: the list is empty; lines of the form `image label` are expected"),
])  # fmt: skip
def test_a_list_of_another_form_is_refused_at_once_with_the_line(data, kind, lines, message):
    data.write(*lines)
    with pytest.raises(ValueError, match=message):
        data.layer(kind, "new_height: 2 new_width: 2")


@pytest.mark.parametrize("label", ["/label.png", "-1", "256", "1.5"])
def test_a_label_that_is_no_class_is_refused_with_label_type_image(data, label):
    data.write(f"/1.png {label}")
    with pytest.raises(ValueError, match=r"list\.txt:1: .*a class from 0 to 255, not `.*label_type: PIXEL reads label"):
        data.layer(images="label_type: IMAGE")


@pytest.mark.parametrize("images, transform, message", [
    ('source: ""', "", "source is missing"),
    ("batch_size: 0", "", "batch_size must be at least 1"),
    ("batch_size: 2", "", "give crop_size, new_height and new_width, or batch_size: 1"),
    ("new_height: 3", "", "give new_height and new_width, or neither"),
    ("new_height: 2 new_width: 99999", "", "image_data_param.new_width is 99999: a side has at most 32767 pixels"),
    ("", "crop_size: 99999", "transform_param.crop_size is 99999: a side has at most 32767 pixels"),
    ("workers: 999", "", "image_data_param.workers is 999: at most 64 threads read ahead"),
    ("ignore_label: -1", "", "ignore_label must be .* 0 to 255, not -1"),
    ("crop_size: 3", "", r"image_data_param\.crop_size is of the old syntax: write transform_param \{ crop_size"),
    ("mirror: true", "", r"image_data_param\.mirror is of the old syntax"),
    ("", "force_gray: true", "use image_data_param.is_color"),
    ("", "mean_value: 1 mean_value: 2", "2 mean_value for 3 channels: give one, or one for each"),
    ("", 'mean_value: 1 mean_file: "x"', "mean_file or mean_value; not both"),
])  # fmt: skip
def test_parameters_that_do_not_fit_are_refused_with_the_remedy(data, images, transform, message):
    data.add(1)
    data.write()
    with pytest.raises(ValueError, match=message):
        data.layer(images=images, transform=transform)


def test_a_missing_list_or_folder_is_named(data):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*list\.txt; ImageSegData reads its examples from"):
        data.layer()
    data.write("/1.png /l.png")
    with pytest.raises(FileNotFoundError, match="no such file: .*nowhere"):
        data.layer(images='root_folder: "/nowhere"')
    with pytest.raises(FileNotFoundError, match="no such file: .*mean.binaryproto"):
        data.layer(transform='mean_file: "mean.binaryproto"')
    with pytest.raises(ValueError, match="the list cannot be read"):
        data.layer(images=f'source: "{data.root}"')


@pytest.mark.parametrize(
    "content", [b"no blob", caffe_pb2.BlobProto(data=[1, 2, 3], num=1, channels=1, height=1, width=3)]
)
def test_a_mean_file_of_another_kind_or_shape_is_refused(data, content):
    data.add(1)
    data.write()
    written = content if isinstance(content, bytes) else content.SerializeToString()
    (data.root / "mean.binaryproto").write_bytes(written)
    with pytest.raises(
        ValueError, match=r"mean\.binaryproto: (not a mean file|a mean of shape \(1, 3, H, W\) is expected)"
    ):
        data.layer(transform=f'mean_file: "{data.root}/mean.binaryproto"')


def test_bottoms_and_the_number_of_tops_are_checked(data):
    data.add(1)
    data.write()
    layer = data.layer()
    for bottoms, tops in ((1, 2), (0, 0), (0, 4)):
        with pytest.raises(ValueError, match="takes"):
            layer.check_counts(bottoms, tops)
