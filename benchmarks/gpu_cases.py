"""What is measured on a GPU: DeconvNet's batches, and each kernel at the shapes of the net's own maps, with what it cannot avoid.

Both sides of the comparison take their cases from here, so that they do the same; nothing but Python is needed.
"""

import random
from typing import NamedTuple

FLOAT = 4  # bytes
CLASSES = 21
CHANNELS = (64, 128, 256, 512, 512)  # of the maps that pool1 .. pool5 halve
WHOLE = (4096, 512)  # channels of fc6's result and of its input
# an image: its windows are cut out, go through the net at once, and their scores are merged to a class of each pixel
NETS = tuple(
    (work, n)
    for work, batches in [("forward", (1, 16, 50)), ("image", (50,)), ("training", (8, 32, 64))]
    for n in batches
)
PHOTO = (375, 500)  # rows and columns of that image
SIDES = (112, 500)  # the smallest and the largest side of its windows
PRECISIONS = ("float32", "tf32", "bfloat16")
COPIED = 1 << 28  # values that the copy moves, the yardstick of bytes
PRODUCT = 8192  # rows, columns and depth of the product, the yardstick of operations


def proposals(count: int) -> list[tuple[int, int, int, int]]:
    """Drawn windows x1 y1 x2 y2, inclusive, some over the border by up to 30 pixels; the same ones each time."""
    draw, boxes = random.Random(0), []
    for _ in range(count):
        height, width = draw.randint(*SIDES), draw.randint(*SIDES)
        top, left = (
            draw.randint(-30, max(all_of - part, 0) + 30) for all_of, part in zip(PHOTO, (height, width), strict=True)
        )
        boxes.append((left, top, left + width - 1, top + height - 1))
    return boxes


class Case(NamedTuple):
    """One call to time.

    name: what it does; level: 1 to 5 for the maps around pool1 .. pool5, 6 for fc6 (0: none of them); batch, channels, size: of the
    larger map, which is square; bytes: every input read once and every output written once, whoever computes it; operations: of a product, else 0
    """

    name: str
    level: int
    batch: int
    channels: int
    size: int
    bytes: int
    operations: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the larger map."""
        return self.batch, self.channels, self.size, self.size


# multiples of the larger map, of the map that pooling leaves of it
MAPS = {
    "relu": (2, 0),
    "relu backward": (3, 0),
    "batch norm": (2, 0),
    "batch norm backward": (3, 0),
    "batch norm + relu": (2, 0),
    "batch norm + relu backward": (3, 0),
    "batch norm + relu + max pool": (1, 2),
    "max pool with switches": (1, 2),
    "max pool backward": (1, 2),
    "unpool": (1, 2),
    "unpool backward": (0, 3),  # of the larger map only what the switches name
    "dropout": (2, 0),
    "bias": (2, 0),
    "bias backward": (1, 0),
}
FIRST_LEVEL_ONLY = ("dropout", "bias", "bias backward")
PRODUCTS = tuple(
    f"{name}{way}" for name in ("convolution", "deconvolution") for way in ("", " backward, data", " backward, weights")
)


def map_cases(batch: int, size: int):
    """What moves values, at each of the five levels."""
    for name, (larger, smaller) in MAPS.items():
        for level, channels in enumerate(CHANNELS, 1):
            if level > 1 and name in FIRST_LEVEL_ONLY:
                continue
            side = size >> (level - 1)
            values = batch * channels * side * side
            yield Case(name, level, batch, channels, side, FLOAT * (larger * values + smaller * values // 4))


def product_cases(batch: int, size: int):
    """3x3 convolutions and deconvolutions that keep the number of channels, and fc6 with its mirror."""
    for name in (*PRODUCTS, "unpool + deconvolution"):
        for level, channels in enumerate(CHANNELS, 1):
            side = size >> (level - 1)
            values, weights = batch * channels * side * side, 9 * channels * channels
            # after unpooling: a quarter of the values and their switches in the place of the input
            moved = values + (values // 2 if name.startswith("unpool") else values) + weights
            yield Case(name, level, batch, channels, side, FLOAT * moved, 2 * weights * batch * side * side)
    side = size // 32
    weights = WHOLE[0] * WHOLE[1] * side * side
    moved = batch * (WHOLE[0] + WHOLE[1] * side * side) + weights
    for name in PRODUCTS:
        yield Case(name, 6, batch, WHOLE[1], side, FLOAT * moved, 2 * weights * batch)


def other_cases(batch: int, size: int, parameters: int):
    """The loss and the accuracy over every pixel, bilinear upsampling, and the solver's pass over all parameters."""
    scores, places = batch * CLASSES * size * size, batch * size * size
    for name in ("softmax loss", "softmax loss backward"):
        yield Case(name, 0, batch, CLASSES, size, FLOAT * (2 * scores + places))
    yield Case("accuracy", 0, batch, CLASSES, size, FLOAT * (scores + places))
    for name in ("upsampling", "upsampling backward, data"):
        yield Case(name, 0, batch, CLASSES, size, FLOAT * (scores + scores // 4))
    for name in ("sgd update", "sgd update, fused"):  # PyTorch has both, ours is one
        yield Case(name, 0, 1, parameters, 1, FLOAT * 5 * parameters)


def parameters_of_net(size: int) -> int:
    """How many parameters DeconvNet has with batch norm, for inputs of that side."""
    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)] + [
        (512, 512)
    ] * 5
    decoder = [(512, 512)] * 5 + [
        (512, 256),
        (256, 256),
        (256, 256),
        (256, 128),
        (128, 128),
        (128, 64),
        (64, 64),
        (64, 64),
    ]
    layers = [(9, *pair) for pair in encoder + decoder]
    layers += [((size // 32) ** 2, 512, 4096), (1, 4096, 4096), ((size // 32) ** 2, 4096, 512)]
    return sum(taps * a * b + 3 * b for taps, a, b in layers) + 64 * CLASSES + CLASSES  # bias, scale and shift


def kernel_cases(batch: int, size: int) -> list[Case]:
    """All of them."""
    return [*map_cases(batch, size), *product_cases(batch, size), *other_cases(batch, size, parameters_of_net(size))]
