import gc
import os
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from example_folder import ExampleFolder, assert_same, step

from deconvnet.core.kernels import threads as kernel_threads
from deconvnet.core.layers import reading
from deconvnet.core.layers.seg_data import ImageSegData, WindowSegData


@pytest.fixture
def data(tmp_path):
    made = ExampleFolder(tmp_path)
    yield made
    for layer in made.layers:
        layer.close()


RANDOM = "crop_size: 4 mirror: true mean_value: 3 scale: 0.5"


@pytest.fixture
def textured(data):
    """Seven images whose pixels tell their place, labels alike."""
    for name in range(7):
        pixels = np.arange(6 * 9).reshape(6, 9) + 20 * name
        data.image(f"{name}.png", pixels)
        data.label(f"label{name}.png", pixels)
        data.lines.append(f"/{name}.png /label{name}.png {-name} 0 8 {name + 4}")
    data.write()
    return data


@pytest.mark.parametrize("kind", [ImageSegData, WindowSegData])
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(textured, kind, workers):
    images = "batch_size: 3 shuffle: true new_height: 7 new_width: 6"
    if kind is ImageSegData:
        textured.write(*(line.rsplit(None, 4)[0] for line in textured.lines))
    alone = textured.layer(kind, f"{images} workers: 0", RANDOM)
    helped = textured.layer(kind, f"{images} workers: {workers}", RANDOM)
    for _ in range(12):
        assert_same(step(alone), step(helped))


def test_random_choices_differ_between_epochs_and_mirror_about_half(textured):
    textured.write("/0.png /label0.png")
    layer = textured.layer(images="batch_size: 200", transform="crop_size: 4 mirror: true")
    labels = step(layer)[1][:, 0]
    mirrored = labels[:, 0, 0] > labels[:, 0, 3]
    assert 70 < mirrored.sum() < 130
    assert len({labels[k].tobytes() for k in range(200)}) == 2 * 3 * 6


def test_image_and_label_take_the_same_crop_and_turn(textured):
    textured.write(*(line.rsplit(None, 4)[0] for line in textured.lines))
    layer = textured.layer(images="batch_size: 7", transform="crop_size: 4 mirror: true")
    for _ in range(5):
        images, labels = step(layer)
        np.testing.assert_array_equal(images, labels.repeat(3, axis=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_layer_goes_on_exactly_from_a_position(textured, workers):
    images = f"batch_size: 3 shuffle: true new_height: 5 new_width: 5 workers: {workers}"
    layer = textured.layer(WindowSegData, images, RANDOM)
    for _ in range(4):
        step(layer)
    position = layer.position
    assert position == 12
    expected = [step(layer) for _ in range(4)]
    resumed = textured.layer(WindowSegData, images, RANDOM)
    step(resumed)
    resumed.position = position
    for batch in expected:
        assert_same(step(resumed), batch)
    layer.position = position
    assert_same(step(layer), expected[0])


def test_a_layer_goes_back_to_an_earlier_epoch(textured):
    layer = textured.layer(WindowSegData, "batch_size: 7 shuffle: true new_height: 2 new_width: 2")
    first = [step(layer) for _ in range(3)]
    layer.position = 0
    for batch in first:
        assert_same(step(layer), batch)


def test_closing_and_going_on_loses_no_example(textured):
    layer = textured.layer(WindowSegData, "batch_size: 2 new_height: 1 new_width: 1")
    other = textured.layer(WindowSegData, "batch_size: 2 new_height: 1 new_width: 1")
    for _ in range(4):
        assert_same(step(layer), step(other))
        layer.close()


def test_opencv_takes_as_many_threads_as_the_kernels(textured, monkeypatch):
    asked = []
    monkeypatch.setattr(cv2, "setNumThreads", asked.append)
    reading._limit_opencv_threads.cache_clear()
    for _ in range(2):
        textured.layer(WindowSegData)
    assert asked == [kernel_threads.count()]


def test_threads_start_with_the_first_forward_and_end_with_close(textured):
    before = set(threading.enumerate())
    layer = textured.layer(WindowSegData, "workers: 3 new_height: 1 new_width: 1")
    assert set(threading.enumerate()) == before
    step(layer)
    own = set(threading.enumerate()) - before
    assert len(own) == 3
    layer.close()
    assert not any(thread.is_alive() for thread in own)


def test_a_forgotten_layer_ends_its_threads(textured):
    before = set(threading.enumerate())
    layer = textured.layer(WindowSegData, "workers: 2 new_height: 1 new_width: 1")
    step(layer)
    own = set(threading.enumerate()) - before
    textured.layers.clear()
    del layer
    gc.collect()
    for thread in own:
        thread.join(5)
    assert len(own) == 2 and not any(thread.is_alive() for thread in own)


def test_a_process_that_forgets_its_layer_ends_quietly(textured):
    code = f"""
from deconvnet.core import proto
from deconvnet.core.blob import Blob
from deconvnet.core.layers.seg_data import WindowSegData
param = proto.caffe_pb2.LayerParameter()
param.image_data_param.source, param.image_data_param.root_folder = "{textured.root}/list.txt", "{textured.root}"
param.image_data_param.label_type, param.image_data_param.batch_size = proto.caffe_pb2.ImageDataParameter.PIXEL, 64
param.image_data_param.new_height = param.image_data_param.new_width = 64
layer, top = WindowSegData(param), [Blob(), Blob()]
layer.setup([], top)
layer.forward([], top)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
