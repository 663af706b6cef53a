"""How long each layer of a net takes."""

import time
from typing import NamedTuple

from .. import kernels
from .net import Net
from .run import run_backward


class LayerTime(NamedTuple):
    """Seconds of one forward and one backward pass of a layer; 0 where it runs none."""

    name: str
    forward: float
    backward: float


def time_layers(net: Net, backward: bool = True) -> list[LayerTime]:
    """Run one iteration, layer by layer, and tell what each took; on a GPU each is waited for.

    backward: run backward too, through the layers that a loss needs.
    """
    numbers = range(len(net._layers))
    forward = [_seconds(net._forward, number, number) for number in numbers]
    if backward:
        net.clear_param_diffs()
    back = {number: _seconds(run_backward, net, number, number) for number in reversed(numbers) if backward}
    return [LayerTime(net.layer_names[number], forward[number], back.get(number, 0.0)) for number in numbers]


def _seconds(run, *arguments) -> float:
    kernels.synchronize()
    begin = time.perf_counter()
    run(*arguments)
    kernels.synchronize()
    return time.perf_counter() - begin
