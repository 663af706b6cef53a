"""Which layers take part in a net: phase, level, stages."""

import pytest

from deconvnet.core.proto import PrototxtError, caffe_pb2, filter_net, parse


def layers_under(rules, state):
    net = parse('layer { name: "always" } layer { name: "x" ' + rules + " }", caffe_pb2.NetParameter())
    filtered = filter_net(net, parse(state, caffe_pb2.NetState()), "net.prototxt")
    return [layer.name for layer in filtered.layer]


@pytest.mark.parametrize(
    "rules, state, takes_part",
    [
        ("", "phase: TRAIN", True),
        ("include { phase: TRAIN }", "phase: TRAIN", True),
        ("include { phase: TRAIN }", "phase: TEST", False),
        ("include { phase: TEST }", "", True),  # a state without phase is TEST
        ("exclude { phase: TRAIN }", "phase: TRAIN", False),
        ("exclude { phase: TRAIN }", "phase: TEST", True),
        ("include { }", "phase: TEST", True),
        ("exclude { }", "phase: TEST", False),
        ("include { phase: TRAIN } include { stage: 'a' }", "phase: TEST stage: 'a'", True),  # one rule is enough
        ("include { phase: TRAIN stage: 'a' }", "phase: TEST stage: 'a'", False),  # but all of it
        ("exclude { phase: TRAIN } exclude { stage: 'a' }", "phase: TEST stage: 'a'", False),
        ("exclude { phase: TRAIN stage: 'a' }", "phase: TEST stage: 'a'", True),
        ("include { min_level: 2 }", "level: 1", False),
        ("include { min_level: 2 }", "level: 2", True),
        ("include { max_level: 2 }", "level: 2", True),
        ("include { max_level: 2 }", "level: 3", False),
        ("include { min_level: -1 max_level: 1 }", "", True),
        ("include { max_level: -1 }", "", False),
        ("include { stage: 'a' stage: 'b' }", "stage: 'a'", False),
        ("include { stage: 'a' stage: 'b' }", "stage: 'b' stage: 'c' stage: 'a'", True),
        ("include { not_stage: 'a' }", "", True),
        ("include { not_stage: 'a' not_stage: 'b' }", "stage: 'b'", False),
        ("include { stage: 'a' not_stage: 'b' }", "stage: 'a' stage: 'b'", False),
        ("exclude { not_stage: 'a' }", "stage: 'a'", True),
    ],
)
def test_rules(rules, state, takes_part):
    assert layers_under(rules, state) == (["always", "x"] if takes_part else ["always"])


def test_layer_with_include_and_exclude_is_refused_by_name():
    with pytest.raises(PrototxtError, match="net.prototxt: layer 'x' has both include and exclude rules"):
        layers_under("include { phase: TRAIN } exclude { phase: TEST }", "phase: TRAIN")


def test_layers_get_the_phase_of_the_state_unless_they_have_one():
    net = parse('name: "n" state { level: 3 } layer { phase: TEST } layer { }', caffe_pb2.NetParameter())
    before = net.SerializeToString()
    filtered = filter_net(net, caffe_pb2.NetState(phase=caffe_pb2.TRAIN))
    assert [layer.phase for layer in filtered.layer] == [caffe_pb2.TEST, caffe_pb2.TRAIN]
    assert (filtered.name, filtered.state.level) == ("n", 3)
    assert net.SerializeToString() == before, "the net given is left as it is"
