"""The nets that `make against-caffe` draws: every layer type of Caffe that computes is among them, and all run here, without Caffe too."""

import drawn_solvers
import numpy as np
import pytest
from compare import DRAWN, drawn_net
from drawing import Drawing

from deconvnet.core.layers import layer_types
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import get_solver

# read files, hold what a program put there, or compute nothing
ELSEWHERE = "Data DummyData HDF5Data HDF5Output ImageData Input MemoryData Python Silence WindowData".split()
NEWER = ["Clip"]  # than that Caffe
# of other Caffes
FORKS = """
Axpy BN ContinuationIndicator ConvolutionDepthwise DenseImageData DepthwiseConvolution DetectionOutput EltwiseAccuracy ImageSegData Interp L1Loss
Lstm MatWrite Normalize PSROIPooling Permute
PriorBox ROIPooling ReLU6 Reverse SegAccuracy ShuffleChannel SmoothL1Loss Transpose Unpooling Upsample
WindowSegData
""".split()


def test_every_layer_type_of_caffe_that_computes_is_drawn():
    assert set(DRAWN) == set(layer_types()) - {*ELSEWHERE, *NEWER, *FORKS}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_runs_forward_and_backward(kind):
    for seed in range(5):
        draw = drawn_net(kind, seed)
        net = Net(parse(draw.text, caffe_pb2.NetParameter()), getattr(caffe_pb2, draw.phase), seed=1)
        for name, values in draw.inputs.items():
            net.blobs[name].data[...] = values
        results = net.forward()
        if draw.backward:
            net.backward()
        assert all(np.isfinite(values).all() for values in results.values()), draw.text


def test_a_seed_draws_the_same_net_again():
    for kind in DRAWN:
        first, again = drawn_net(kind, 7), drawn_net(kind, 7)
        assert first.text == again.text
        for name, values in first.inputs.items():
            np.testing.assert_array_equal(values, again.inputs[name])


@pytest.mark.parametrize("kind", drawn_solvers.TYPES)
def test_drawn_solvers_train(kind, tmp_path):
    for number, policy in enumerate(drawn_solvers.POLICIES):
        draw, net = Drawing(number), tmp_path / "net.prototxt"
        net.write_text(drawn_solvers.net_text(draw, drawn_solvers.write_data(draw, tmp_path / "batch")))
        (tmp_path / "solver.prototxt").write_text(drawn_solvers.solver_text(draw, kind, policy, str(net)))
        solver = get_solver(str(tmp_path / "solver.prototxt"))
        solver.step(drawn_solvers.STEPS)
        assert np.isfinite(solver.losses).all()
