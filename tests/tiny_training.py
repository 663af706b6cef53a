"""Training runs so small that a test can afford several: a net on drawn numbers, and one on image files."""

import cv2
import numpy as np
from PIL import Image

from deconvnet.core.proto import caffe_pb2, parse

# labels are constant, so the net learns within a few steps; data and Dropout draw at every forward
DUMMY_NET = """
name: "dummy"
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 4 dim: 2 dim: 5 dim: 5 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 }
  }
}
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""

# sequences that never begin anew: every pass goes on from the states of the one before
RECURRENT_NET = """
name: "recurrent"
layer {
  name: "data" type: "DummyData" top: "data" top: "cont" top: "label"
  dummy_data_param {
    shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 3 dim: 2 }
    data_filler { type: "gaussian" std: 1 } data_filler { value: 1 } data_filler { value: 1 }
  }
}
layer { name: "lstm" type: "LSTM" bottom: "data" bottom: "cont" top: "lstm"
  recurrent_param { num_output: 5 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "rnn" type: "RNN" bottom: "lstm" bottom: "cont" top: "rnn"
  recurrent_param { num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "rnn" bottom: "label" top: "loss" softmax_param { axis: 2 } }
layer { name: "accuracy" type: "Accuracy" bottom: "rnn" bottom: "label" top: "accuracy" accuracy_param { axis: 2 }
  include { phase: TEST } }
"""

_SEG_DATA = """
layer {{
  name: "data" type: "ImageSegData" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ crop_size: 8 mirror: true mean_value: 128 scale: 0.02 }}
  image_data_param {{
    source: "{folder}/list.txt" root_folder: "{folder}" batch_size: 3 shuffle: true workers: 2
    new_height: 10 new_width: 10 label_type: PIXEL
  }}
}}
"""
_SEG_LAYERS = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" dropout_param { dropout_ratio: 0.2 } }
layer { name: "unpool" type: "Unpooling" bottom: "pool" bottom: "mask" top: "unpool"
  unpooling_param { kernel_size: 2 stride: 2 } }
layer { name: "score" type: "Deconvolution" bottom: "unpool" top: "score"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } }
layer { name: "accuracy" type: "EltwiseAccuracy" bottom: "score" bottom: "label" top: "accuracy"
  include { phase: TEST } eltwise_accuracy_param { ignore_label: 255 } }
"""

SOLVER = """
base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 max_iter: 8 solver_mode: CPU
"""


def dummy_solver(fields="", net=DUMMY_NET):
    """A SolverParameter for a net on drawn numbers; `fields` override SOLVER's."""
    param = parse(SOLVER, caffe_pb2.SolverParameter())
    param.MergeFrom(parse(fields, caffe_pb2.SolverParameter()))
    parse(net, param.net_param)
    return param


def write_dummy_solver(folder, fields="", net=DUMMY_NET):
    """The same in files, solver/s.prototxt beside prototxt/net.prototxt; returns the solver's path."""
    return _write(folder, net, fields)


def write_seg_solver(folder, fields=""):
    """A solver for a small DeconvNet on seven image files, all in `folder`; returns the solver's path."""
    _write_images(folder)
    data = "".join(_SEG_DATA.format(phase=phase, folder=folder) for phase in ("TRAIN", "TEST"))
    return _write(folder, data + _SEG_LAYERS, fields)


def _write(folder, net, fields):
    (folder / "prototxt").mkdir(exist_ok=True)
    (folder / "solver").mkdir(exist_ok=True)
    (folder / "prototxt/net.prototxt").write_text(net)
    param = parse(SOLVER, caffe_pb2.SolverParameter())
    param.MergeFrom(parse(fields, caffe_pb2.SolverParameter()))
    param.net = "prototxt/net.prototxt"
    if not param.snapshot_prefix:
        param.snapshot_prefix = str(folder / "snapshots/run")
    path = folder / "solver/s.prototxt"
    path.write_text(str(param))
    return path


def _write_images(folder):
    draw = np.random.default_rng(0)
    lines = []
    for number in range(7):
        label = np.zeros((12, 14), np.uint8)
        label[2:8, 3:9] = 1 + number % 2
        label[0] = 255
        image = draw.integers(0, 60, (12, 14, 3)).astype(np.uint8) + (label % 255 * 60)[..., None].astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        Image.fromarray(label).save(folder / f"{number}_label.png")
        lines.append(f"/{number}.png /{number}_label.png\n")
    (folder / "list.txt").write_text("".join(lines))
