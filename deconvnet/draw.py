"""Drawings of nets by graphviz (pycaffe's caffe.draw). `caffe_net` is a NetParameter; docs/see_a_run.md shows the program for it."""

import os

from .core.net import DIRECTIONS, dot_source, drawn
from .core.proto import caffe_pb2, filter_net, upgrade_net


def draw_net(caffe_net, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False) -> bytes:
    """The picture of a net, in the form that `ext` names: png, svg, pdf ..., or dot, the graph as text.

    rankdir: LR, TB, BT or RL, TB where it is another; phase: TRAIN, TEST, or None for the layers of both; display_lrm: write the
    lr_mult of parameters. Raises NetError where graphviz is not installed.
    """
    net = upgrade_net(caffe_net)
    if phase is not None:
        net = filter_net(net, caffe_pb2.NetState(phase=phase), "net")
    source = dot_source(net, direction=rankdir if rankdir in DIRECTIONS else "TB", rates=display_lrm)
    return source.encode() if ext in ("dot", "raw") else drawn(source, ext)


def draw_net_to_file(
    caffe_net, filename: str, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Write such a picture; the file's suffix names its form."""
    picture = draw_net(caffe_net, rankdir, os.path.splitext(filename)[1][1:], phase, display_lrm)
    with open(filename, "wb") as file:
        file.write(picture)
