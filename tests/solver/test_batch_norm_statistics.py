"""A solver, weight decay and all, never moves batch norm's statistics: only forward passes do."""

import numpy as np

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver

NET = """
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 4 dim: 3 } data_filler { type: "gaussian" } } }
layer { name: "norm" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { moving_average_fraction: 0.9 } }
layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" reduction_param { operation: SUMSQ } loss_weight: 1 }
"""


def test_statistics_move_by_forward_passes_alone(tmp_path):
    model = tmp_path / "net.prototxt"
    model.write_text(NET)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{model}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.5 random_seed: 3 max_iter: 5 solver_mode: CPU '
        "snapshot_after_train: false"
    )
    solver = SGDSolver(str(tmp_path / "solver.prototxt"))
    solver.step(5)
    alone = Net(proto.parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, seed=3)
    for _ in range(5):
        alone.forward()
    for moved, expected in zip(solver.net.params["norm"], alone.params["norm"], strict=True):
        np.testing.assert_array_equal(moved.data, expected.data)
    assert not np.array_equal(solver.net.params["scale"][0].data, alone.params["scale"][0].data)
