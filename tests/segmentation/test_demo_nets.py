"""The demo's nets and solvers fit each other and the data set they are written for."""

from pathlib import Path

import pytest

from deconvnet.core.proto import caffe_pb2, filter_net, read_net, read_solver
from deconvnet.core.segmentation import synthetic

ROOT = Path(__file__).parents[2]
TRAIN_NETS = [ROOT / "prototxt" / "demo" / f"stage{stage}_train_val.prototxt" for stage in (1, 2)]
DEPLOY_NET = ROOT / "prototxt" / "demo" / "deploy.prototxt"
PHASES = (caffe_pb2.TRAIN, caffe_pb2.TEST)


def layers(path, phase=caffe_pb2.TRAIN):
    return {layer.name: layer for layer in filter_net(read_net(path), caffe_pb2.NetState(phase=phase)).layer}


def connections(path):
    """What must agree for weights to mean the same: type, bottoms, tops and shape of every layer of the net proper."""
    return [
        (layer.name, layer.type, list(layer.bottom), list(layer.top), *shape(layer.convolution_param))
        for layer in layers(path).values()
        if layer.name not in ("data", "seg-loss", "seg-accuracy")
    ]


def shape(convolution):
    return convolution.num_output, list(convolution.kernel_size), list(convolution.pad)


@pytest.mark.parametrize("path", TRAIN_NETS, ids=lambda path: path.name)
def test_the_trained_nets_are_the_deployed_one_but_for_data_and_loss(path):
    assert connections(path) == connections(DEPLOY_NET)


def test_the_mirror_undoes_each_level_with_its_own_switches():
    net = layers(DEPLOY_NET)
    for level in (1, 2, 3):
        assert net[f"pool{level}"].top[1] == net[f"unpool{level}"].bottom[1] == f"pool{level}_mask"
    assert [layer.name for layer in net.values() if layer.type == "Unpooling"] == ["unpool3", "unpool2", "unpool1"]


@pytest.mark.parametrize("path", [*TRAIN_NETS, DEPLOY_NET], ids=lambda path: path.name)
def test_every_deconvolution_restores_the_channels_its_unpooling_needs(path):
    channels, held = {"data": 3}, {}
    for layer in layers(path).values():
        if layer.type in ("Convolution", "Deconvolution"):
            channels[layer.top[0]] = layer.convolution_param.num_output
        elif layer.type == "Pooling":
            held[layer.top[1]] = channels[layer.top[0]] = channels[layer.bottom[0]]
        elif layer.type == "Unpooling":
            assert held[layer.bottom[1]] == channels[layer.bottom[0]], layer.name
            channels[layer.top[0]] = channels[layer.bottom[0]]
    assert channels["seg-score"] == len(synthetic.CLASSES)


def test_batch_norm_learns_in_training_and_is_folded_in_deployment():
    learnt, folded = caffe_pb2.BNParameter.LEARN, caffe_pb2.BNParameter.INFERENCE
    for path, mode in ((TRAIN_NETS[0], learnt), (TRAIN_NETS[1], learnt), (DEPLOY_NET, folded)):
        assert {layer.bn_param.bn_mode for layer in layers(path).values() if layer.type == "BN"} == {mode}


@pytest.mark.parametrize("phase", PHASES, ids=("TRAIN", "TEST"))
@pytest.mark.parametrize("path", TRAIN_NETS, ids=lambda path: path.name)
def test_data_is_prepared_alike_in_every_net_and_fits_the_deployed_input(path, phase):
    data = layers(path, phase)["data"]
    size = (data.image_data_param.new_height, data.image_data_param.new_width)
    assert size == tuple(layers(DEPLOY_NET)["data"].input_param.shape[0].dim[2:])
    assert (list(data.transform_param.mean_value), data.transform_param.scale) == ([128], 1 / 64)
    assert data.image_data_param.antialias and data.image_data_param.label_type == caffe_pb2.ImageDataParameter.PIXEL
    assert data.transform_param.mirror == (phase == caffe_pb2.TRAIN)


@pytest.mark.parametrize("stage, kind", [(1, "ImageSegData"), (2, "WindowSegData")])
def test_each_stage_reads_its_own_lists_and_solves_its_own_net(stage, kind):
    solver = read_solver(ROOT / "solver" / f"demo_stage{stage}.prototxt")
    assert ROOT / solver.net == TRAIN_NETS[stage - 1]
    assert solver.snapshot_prefix == f"demo/stage{stage}"
    for phase, split in zip(PHASES, synthetic.SPLITS, strict=True):
        data = layers(ROOT / solver.net, phase)["data"]
        assert data.type == kind
        assert data.image_data_param.source == f"demo/data/stage{stage}_{split}.txt"
        assert data.image_data_param.root_folder == "demo/data"
