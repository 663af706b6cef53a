"""Print a net's layers with their shapes, parameters, multiply-adds and memory, and the totals.

    python tools/summary.py --model net.prototxt [--phase TEST] [--shape data=1,3,224,224 ...]

Nothing is computed and no weights take memory. Multiply-adds are those of one forward pass in matrix products. Memory is that of
the blobs a layer makes (none where it works in place), each in a place of its own: nets made with share=True, as train_net.py and
test_net.py make them, take less, and what a layer keeps for itself while it runs comes on top.
--shape gives an input another shape, or puts an input in the place of a data layer whose files are not there.
"""

import argparse

import command_line

from deconvnet.core.net import Net, summarize, totals

HEADINGS = ("layer", "type", "tops", "parameters", "multiply-adds", "memory")


def main():
    arguments = parse()
    options = {"input_shapes": dict(arguments.shape), "allow_python_layers": arguments.allow_python_layers}
    with command_line.told_of_shapes(arguments.model):
        net = Net(
            arguments.model, arguments.phase, stages=arguments.stage, level=arguments.level, fill=False, **options
        )
    try:
        rows = summarize(net)
    finally:
        net.close()
    command_line.print_table([HEADINGS, *(cells(row) for row in rows)])
    print_totals(totals(rows, net.dtype.itemsize), len(rows), net.name or arguments.model)


def cells(row):
    """The text of each column for one layer."""
    made = " ".join(
        f"{top} {'x'.join(map(str, shape)) or '1'}" for top, shape in zip(row.tops, row.shapes, strict=True)
    )
    numbers = (f"{row.parameters:,}", f"{row.multiply_adds:,}", megabytes(row.memory))
    return (
        row.name,
        row.type,
        made,
        *(number if value else "" for number, value in zip(numbers, row[5:], strict=True)),
    )


def megabytes(size):
    return f"{size / 1e6:,.2f} MB"


def print_totals(sums, layers, name):
    print(f"\n{name}: {layers} layers")
    print(f"parameters     {sums.parameters:,} ({sums.parameters / 1e6:.1f} M, {megabytes(sums.parameter_memory)})")
    print(f"multiply-adds  {sums.multiply_adds:,} ({sums.multiply_adds / 1e9:.2f} G) a forward pass")
    print(
        f"memory         {megabytes(sums.inference_memory)} for inference: blobs {megabytes(sums.blob_memory)}, and parameters"
    )
    print(f"               {megabytes(sums.training_memory)} for training: both with gradients, and momentum")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    command_line.add_phase(parser, "TEST")
    command_line.add_state(parser)
    command_line.add_shape(parser)
    command_line.add_python_layers(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
