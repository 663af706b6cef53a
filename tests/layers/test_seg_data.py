import numpy as np
import pytest
from example_folder import TEST, ExampleFolder, names, step

from deconvnet.core import proto
from deconvnet.core.blob import Blob
from deconvnet.core.layers.seg_data import ImageSegData, WindowSegData
from deconvnet.core.proto import caffe_pb2


@pytest.fixture
def data(tmp_path):
    made = ExampleFolder(tmp_path)
    yield made
    for layer in made.layers:
        layer.close()


# ----------------------------------------------------------------------------------------------------------- the tops


def test_a_batch_holds_images_and_labels_line_by_line(data):
    image, label = np.arange(12).reshape(3, 4), np.array([[0, 1, 2, 255]] * 3)
    data.image("a.png", image)
    data.label("a_label.png", label)
    data.image("b.png", image + 100)
    data.label("b_label.png", label[:, ::-1])
    data.write("/a.png /a_label.png", "/b.png /b_label.png")
    layer = data.layer(images="batch_size: 2 new_height: 3 new_width: 4", transform="mean_value: 5", phase=TEST)
    assert [blob.shape for blob in layer.top] == [(2, 3, 3, 4), (2, 1, 3, 4)]
    images, labels = step(layer)
    np.testing.assert_array_equal(images, np.stack([[image - 5.0] * 3, [image + 95.0] * 3]))
    np.testing.assert_array_equal(labels, np.stack([[label], [label[:, ::-1]]]))


def test_windows_are_cut_from_their_images(data):
    image = np.arange(30).reshape(5, 6)
    data.image("a.png", image)
    data.label("l.png", image + 50)
    data.write("/a.png /l.png 1 2 3 3", "/a.png /l.png -1 -1 1 0")
    layer = data.layer(WindowSegData, "batch_size: 2 new_height: 2 new_width: 3", phase=TEST)
    images, labels = step(layer)
    np.testing.assert_array_equal(images[:, 1], [[[13, 14, 15], [19, 20, 21]], [[0, 0, 0], [0, 0, 1]]])
    np.testing.assert_array_equal(labels[:, 0], [[[63, 64, 65], [69, 70, 71]], [[255, 255, 255], [255, 50, 51]]])


def test_the_tops_have_the_size_of_the_crop(data):
    data.add(1)
    data.write()
    layer = data.layer(images="batch_size: 3 new_height: 9 new_width: 10", transform="crop_size: 5")
    assert [blob.shape for blob in layer.top] == [(3, 3, 5, 5), (3, 1, 5, 5)]
    assert [top.shape for top in step(layer)] == [(3, 3, 5, 5), (3, 1, 5, 5)]


@pytest.mark.parametrize("kind, window", [(ImageSegData, ""), (WindowSegData, "0 0 2 2")])
def test_a_third_top_holds_height_and_width_of_the_image_file(data, kind, window):
    data.add(1, height=5, width=9, window=window)
    data.add(2, height=7, width=4, window=window)
    data.write()
    layer = data.layer(kind, "batch_size: 2 new_height: 3 new_width: 3", tops=3)
    assert layer.top[2].shape == (2, 1, 1, 2)
    np.testing.assert_array_equal(step(layer)[2].reshape(2, 2), [[5, 9], [7, 4]])


def test_the_label_top_may_be_absent(data):
    data.add(3)
    data.write()
    assert (step(data.layer(images="new_height: 2 new_width: 2", tops=1))[0] == 3).all()


def test_without_a_size_each_image_keeps_its_own_one_at_a_time(data):
    data.add(1, height=3, width=5)
    data.add(2, height=6, width=2)
    data.write()
    layer = data.layer(tops=3)
    assert [blob.shape for blob in layer.top] == [(1, 3, 3, 5), (1, 1, 3, 5), (1, 1, 1, 2)]
    assert [step(layer)[0].shape for _ in range(3)] == [(1, 3, 3, 5), (1, 3, 6, 2), (1, 3, 3, 5)]
    assert layer.top[1].shape == (1, 1, 3, 5)


def test_grey_images_have_one_channel(data):
    data.add(9)
    data.write()
    layer = data.layer(images="is_color: false new_height: 4 new_width: 3 antialias: true", transform="mean_value: 4")
    images, _ = step(layer)
    np.testing.assert_array_equal(images, np.full((1, 1, 4, 3), 5))


def test_a_layer_in_double_precision_gives_doubles(data):
    data.add(1)
    data.write()
    images, _ = step(data.layer(transform="mean_value: 0.1", dtype=np.float64))
    assert images.dtype == np.float64 and (images == 1 - np.float64(np.float32(0.1))).all()


def test_a_number_labels_every_pixel_with_label_type_image(data):
    data.add(1)
    data.write("/1.png 17", "/1.png 0")
    layer = data.layer(images="batch_size: 2 label_type: IMAGE new_height: 2 new_width: 2")
    np.testing.assert_array_equal(step(layer)[1][:, 0], [[[17, 17], [17, 17]], [[0, 0], [0, 0]]])


@pytest.mark.parametrize("kind, window", [(ImageSegData, ""), (WindowSegData, " 0 0 1 1")])
def test_without_labels_every_pixel_is_ignored(data, kind, window):
    data.add(1)
    data.write(f"/1.png{window}")
    layer = data.layer(kind, "label_type: NONE ignore_label: 77 new_height: 2 new_width: 2")
    images, labels = step(layer)
    assert (images == 1).all() and (labels == 77).all()


@pytest.mark.parametrize(
    "values, expected", [("mean_value: 1 mean_value: 2 mean_value: 3", [6, 5, 4]), ("", [7, 7, 7])]
)
def test_means_are_given_per_channel_in_bgr_or_not_at_all(data, values, expected):
    data.add(7, height=1, width=1)
    data.write()
    assert step(data.layer(transform=values))[0].ravel().tolist() == expected


@pytest.mark.parametrize("field", ["data", "double_data"])
@pytest.mark.parametrize("axes", [3, 4])
def test_a_mean_file_is_subtracted_pixel_by_pixel(data, axes, field):
    data.add(7, height=2, width=3)
    data.write()
    mean = np.arange(18.0).reshape(3, 2, 3)
    blob = caffe_pb2.BlobProto(**{field: mean.ravel()})
    if axes == 4:  # as Caffe's compute_image_mean writes it
        blob.num, blob.channels, blob.height, blob.width = 1, 3, 2, 3
    else:
        blob.shape.dim.extend(mean.shape)
    (data.root / "mean.binaryproto").write_bytes(blob.SerializeToString())
    images, _ = step(data.layer(transform=f'mean_file: "{data.root}/mean.binaryproto"'))
    np.testing.assert_array_equal(images, [7 - mean])


# ---------------------------------------------------------------------------------------------------------- the paths


def test_root_folder_and_path_are_joined_as_they_are(data):
    data.add(4)
    (data.root / "list.txt").write_text("4.png label4.png\n")
    layer = data.layer(images=f'root_folder: "{data.root}/"')
    assert names(layer, 1) == [4]


def test_paths_may_hold_spaces_and_blank_lines_do_not_count(data):
    data.image("my own image.png", np.full((2, 2), 9))
    data.label("l.png", np.full((2, 2), 5))
    data.write("", "/my own image.png /l.png", "   ")
    images, labels = step(data.layer())
    assert (images == 9).all() and (labels == 5).all()
    data.write("/my own image.png /l.png 0 0 0 0")
    assert step(data.layer(WindowSegData))[0].shape == (1, 3, 1, 1)


def test_lists_written_on_windows_are_read(data):
    data.add(1)
    (data.root / "list.txt").write_bytes(b"\xef\xbb\xbf/1.png /label1.png\r\n")
    assert names(data.layer(), 1) == [1]


def test_files_are_found_from_the_folder_above_the_prototxt(data, monkeypatch, tmp_path_factory):
    data.add(6)
    data.write()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    project = data.root.parent
    text = f'source: "{data.root.name}/list.txt" root_folder: "{data.root.name}" label_type: PIXEL'
    param = caffe_pb2.LayerParameter(image_data_param=proto.parse(text, caffe_pb2.ImageDataParameter()))
    layer = ImageSegData(param, model_file=str(project / "prototxt" / "net.prototxt"))
    data.layers.append(layer)
    layer.top = [Blob(), Blob()]
    layer.setup([], layer.top)
    assert names(layer, 1) == [6]


# ---------------------------------------------------------------------------------------------------------- the order


def test_without_shuffle_the_list_is_read_round_and_round(data):
    for name in (1, 2, 3):
        data.add(name)
    data.write()
    assert names(data.layer(images="batch_size: 2 new_height: 1 new_width: 1"), 4) == [1, 2, 3, 1, 2, 3, 1, 2]


def test_shuffled_every_epoch_takes_each_line_once_in_an_order_of_its_own(data):
    for name in range(12):
        data.add(name)
    data.write()
    drawn = names(data.layer(images="batch_size: 5 shuffle: true new_height: 1 new_width: 1"), 12)
    epochs = [drawn[i : i + 12] for i in range(0, 60, 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_shuffled_windows_stay_with_their_images(data):
    for name in range(8):
        data.add(name, height=10, width=10, window=f"0 0 {name} {name}")
    data.write()
    layer = data.layer(WindowSegData, "shuffle: true")
    seen = [step(layer)[1] for _ in range(8)]
    assert all(label.shape[2] == label[0, 0, 0, 0] + 1 for label in seen)


def test_another_seed_gives_another_order(data):
    for name in range(12):
        data.add(name)
    data.write()
    images = "batch_size: 12 shuffle: true new_height: 1 new_width: 1"
    assert names(data.layer(images=images, seed=1), 1) != names(data.layer(images=images, seed=2), 1)


def test_rand_skip_begins_somewhere_in_the_first_lines_by_the_seed(data):
    for name in range(6):
        data.add(name)
    data.write()
    images = "batch_size: 3 rand_skip: 4 new_height: 1 new_width: 1"
    starts = []
    for seed in range(40):
        drawn = names(data.layer(images=images, seed=seed), 1)
        assert drawn == [(drawn[0] + k) % 6 for k in range(3)]
        starts.append(drawn[0])
    assert set(starts) == {0, 1, 2, 3}
