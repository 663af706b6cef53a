"""How much memory of a GPU a net or a training takes, known without a GPU: a dry run of one test pass and one iteration."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from .. import kernels
from ..net import Net, NetError, data_shapes, makes_data, require_data, with_inputs
from ..proto import caffe_pb2, filter_net, read_net
from .log import logger
from .nets import find_test_nets, find_train_net
from .rules import get_solver

# beside the arrays: CUDA's context and the compiled kernels. Assumed; no run has measured it yet.
CONTEXT = 500_000_000
MOST_EXAMPLES = 4096
_NETS = ("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param", "train_state", "test_state")
_WRITE_FILES = ("HDF5Output", "MatWrite")  # which a dry run is not to do


class Need(NamedTuple):
    """Bytes of GPU memory that the arrays of a run take.

    peak: the most at any moment; of it parameters, their gradients, momentum, the blobs' data and gradients (as data what serves both);
    rest: what layers keep for themselves, workspaces of the products and temporary arrays
    """

    peak: int
    parameters: int
    gradients: int
    momentum: int
    data: int
    diffs: int

    @property
    def rest(self) -> int:
        return self.peak - sum(self[1:])


def training_need(param, solver_file: str | None = None, batch: int | None = None, shapes=None, **net_options) -> Need:
    """Of a SolverParameter's training, its test nets included.

    batch: of the train net; shapes: of data by name, where the definition does not say them or others are meant; a test net keeps those that
    its own definition says. net_options: precision and allow_python_layers, as Net takes them. The solver's `recompute` and `recompute_convolution` count.
    Raises FileNotFoundError, PrototxtError, NetError, SolverError.
    """
    dry = caffe_pb2.SolverParameter()
    dry.CopyFrom(param)
    dry.iter_size = 1
    for field in (*_NETS, "weights", "snapshot", "display", "test_initialization", "debug_info"):
        dry.ClearField(field)
    shapes = shapes or {}
    sources = [find_train_net(param, solver_file), *find_test_nets(param, solver_file)]
    nets = [source.read() for source in sources]
    require_data(shapes, nets, sources[0].name)
    dry.train_net_param.CopyFrom(_placed(nets[0], batch, shapes, sources[0].name))
    for source, net in zip(sources[1:], nets[1:], strict=True):
        dry.test_net_param.append(_placed(net, None, shapes, source.name, own_first=True))
    dry.test_iter[:] = [1] * len(dry.test_iter)
    with kernels.dry_run() as memory, _silence():
        solver = get_solver(dry, [], share=True, fill=False, **net_options)
        try:
            solver.step(1)
            return _need(memory, [solver.net, *solver.test_nets], solver.history)
        finally:
            solver.close()


def _placed(param, batch: int | None, shapes, name: str, own_first: bool = False):
    """A net with inputs in the place of its data, of the given shapes, and where those are missing or `own_first` of what it says itself."""
    placed: dict[str, tuple[int, ...]] = {}
    for layer in param.layer:
        if not makes_data(layer):
            continue
        given = {top: (batch or shapes[top][0], *shapes[top][1:]) for top in layer.top if top in shapes}
        if own_first or len(given) < len(layer.top):
            try:
                own = data_shapes(caffe_pb2.NetParameter(layer=[layer]), batch, name)
            except NetError:
                if len(given) < len(layer.top):
                    raise
                own = {}
            given = given | own if own_first else own | given
        placed |= given
    net = with_inputs(param, placed, name)
    for layer in net.layer:
        if layer.type in _WRITE_FILES:
            layer.type = "Silence"
    return net


def inference_need(model: str, batch: int | None = None, shapes=None, stages=(), level: int = 0, **net_options) -> Need:
    """Of one forward pass of a net in TEST, with these stages and this level, made with share=True; net_options as in `training_need`.

    Raises FileNotFoundError, PrototxtError, NetError.
    """
    state = caffe_pb2.NetState(phase=caffe_pb2.TEST, stage=stages, level=level)
    net = filter_net(read_net(model), state, model)
    require_data(shapes or {}, [net], model)
    placed = _placed(net, batch, shapes or {}, model)
    with kernels.dry_run() as memory:
        net = Net(placed, caffe_pb2.TEST, share=True, fill=False, stages=stages, level=level, **net_options)
        try:
            net.forward()
            return _need(memory, [net], [])
        finally:
            net.close()


class _silence:
    """The log of what does not really happen is not written."""

    def __enter__(self):
        self._level = logger.level
        logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_):
        logger.setLevel(self._level)


def _need(memory, nets, history) -> Need:
    seen: set[int] = set()

    def total(memories) -> int:
        new = {id(one): one for one in memories if id(one) not in seen}
        seen.update(new)
        return sum(one.device_bytes for one in new.values())

    parameters = [blob for net in nets for layer, *_ in net.connections() for blob in layer.blobs]
    blobs = [blob for net in nets for _, bottom, top in net.connections() for blob in (*bottom, *top)]
    return Need(
        memory.peak,
        total(blob.data_memory for blob in parameters),
        total(blob.diff_memory for blob in parameters),
        total(blob.data_memory for blob in history),
        total(blob.data_memory for blob in blobs),
        total(blob.diff_memory for blob in blobs),
    )


def largest_batch(need: Callable[[int], Need], limit: int) -> int:
    """The largest batch whose need, as `need` says it, stays within `limit` bytes; 0 where not even one example does."""
    low, high = 0, 1
    while high <= MOST_EXAMPLES and need(high).peak <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if need(middle).peak <= limit else (low, middle)
    return low
