"""Draw a net: its layers as boxes, its blobs as the arrows between them.

    python tools/draw_net.py --model net.prototxt --output net.svg [--phase TRAIN] [--rankdir LR] [--sizes] [--display_lrm]

The suffix chooses the form, .svg, .png or .pdf. They are drawn by graphviz's program `dot` (Debian: apt-get install graphviz); .dot
writes the graph as text, for which nothing need be installed. Only the prototxt is read; with --sizes the net is built for its shapes,
so data layers need their files, or --shape in their place.
"""

import argparse
import os

import command_line

from deconvnet.core.net import DIRECTIONS, Net, NetError, dot_source, drawn
from deconvnet.core.proto import caffe_pb2, filter_net, read_net

FORMS = (".svg", ".png", ".pdf", ".dot")


def main():
    arguments = parse()
    form = os.path.splitext(arguments.output)[1]
    if form not in FORMS:
        raise NetError(f"{arguments.output}: the suffix chooses the form of the drawing: one of {', '.join(FORMS)}")
    state = caffe_pb2.NetState(phase=arguments.phase, level=arguments.level, stage=arguments.stage)
    net = filter_net(read_net(arguments.model), state, arguments.model)
    shapes = shapes_of(arguments) if arguments.sizes or arguments.shape else None
    text = dot_source(net, shapes, arguments.rankdir, arguments.display_lrm)
    picture = text.encode() if form == ".dot" else drawn(text, form[1:])
    with open(arguments.output, "wb") as file:
        file.write(picture)


def shapes_of(arguments):
    """The shape of each blob of the net."""
    options = {"input_shapes": dict(arguments.shape), "allow_python_layers": arguments.allow_python_layers}
    net = Net(arguments.model, arguments.phase, stages=arguments.stage, level=arguments.level, fill=False, **options)
    net.close()
    return {name: blob.shape for name, blob in net.blobs.items()}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    parser.add_argument("--output", required=True, metavar="FILE", help=f"the drawing: {', '.join(FORMS)}")
    parser.add_argument(
        "--rankdir", choices=DIRECTIONS, default="TB", help="where it runs (default: TB, top to bottom)"
    )
    parser.add_argument("--sizes", action="store_true", help="write each blob's shape on its arrow")
    parser.add_argument("--display_lrm", action="store_true", help="write the lr_mult of parameters that have one")
    command_line.add_phase(parser, "TRAIN")
    command_line.add_state(parser)
    command_line.add_shape(parser)
    command_line.add_python_layers(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
