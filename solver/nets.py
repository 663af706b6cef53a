"""Which nets a solver trains and tests: Caffe's rules for net, train_net, test_net, their _param forms and states."""

import os
from typing import NamedTuple

from ..net import Net
from ..proto import PrototxtError, caffe_pb2, filter_net, find_file, read_net, read_solver
from .errors import SolverError

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


class NetSource(NamedTuple):
    """Where a net comes from: `model` (path or NetParameter), the solver field that says so, and the net's state."""

    model: object
    field: str
    state: caffe_pb2.NetState

    @property
    def name(self) -> str:
        """What errors call the net: its file, else the field."""
        return self.model if isinstance(self.model, str) else self.field

    def read(self):
        """The NetParameter of the layers that take part. Raises FileNotFoundError, PrototxtError."""
        written = read_net(self.model) if isinstance(self.model, str) else self.model
        return filter_net(written, self.state, self.name)

    def build(self, seed: int, **options) -> Net:
        """The net, its fillers and draws derived from `seed`; options as Net's (weights, beside, share, allow_python_layers).

        Raises FileNotFoundError, PrototxtError, NetError.
        """
        state = {"stages": tuple(self.state.stage), "level": self.state.level}
        return Net(self.model, self.state.phase, **state, seed=seed, **options)


def find_train_net(param, solver_file: str | None = None) -> NetSource:
    """The train net of a SolverParameter. Raises SolverError where none or several are given, FileNotFoundError."""
    name = solver_file or "solver"
    given = [field for field in _TRAIN_FIELDS if param.HasField(field)]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "no train net is given"
        raise SolverError(f"{name}: {said}: give one of {', '.join(_TRAIN_FIELDS)}")
    return _source(getattr(param, given[0]), given[0], caffe_pb2.TRAIN, param.train_state, solver_file)


def find_test_nets(param, solver_file: str | None = None) -> list[NetSource]:
    """The test nets of a SolverParameter, one for each test_iter: test_net_param, test_net, then the common net.

    Raises SolverError where the numbers of nets, test_iter and test_state do not fit together, FileNotFoundError.
    """
    name = solver_file or "solver"
    own = [(net, "test_net_param") for net in param.test_net_param] + [(net, "test_net") for net in param.test_net]
    common = [(getattr(param, field), field) for field in ("net", "net_param") if param.HasField(field)]
    passes = len(param.test_iter)
    if passes < len(own) or (passes > len(own) and not common):
        raise SolverError(f"{name}: {passes} test_iter for {len(own)} test nets: give one for each")
    nets = own + common[:1] * (passes - len(own))
    if len(param.test_state) not in (0, len(nets)):
        raise SolverError(
            f"{name}: {len(param.test_state)} test_state for {len(nets)} test nets: give none, or one for each"
        )
    if nets and param.test_interval < 1:
        raise SolverError(f"{name}: test_iter is given without test_interval, the iterations between test passes")
    states = list(param.test_state) or [caffe_pb2.NetState()] * len(nets)
    return [_source(*net, caffe_pb2.TEST, state, solver_file) for net, state in zip(nets, states, strict=True)]


def _source(model, field: str, phase: int, state, solver_file: str | None) -> NetSource:
    merged = caffe_pb2.NetState(phase=phase)
    merged.MergeFrom(state)
    if isinstance(model, str):
        model = find_file(model, solver_file, f"it is the {field} of the solver")
    return NetSource(model, field, merged)


def weights_to_load(param, solver_file: str | None = None, weights: list[str] | None = None) -> list[str]:
    """Paths of the weights a run starts from: `weights`, else the solver's own.

    Raises FileNotFoundError that says where the missing file comes from.
    """
    if weights is not None:
        return [find_file(path) for path in weights]
    named = [path.strip() for entry in param.weights for path in entry.split(",")]
    return [_find_weights(path, solver_file) for path in named if path]


def _find_weights(path: str, solver_file: str | None) -> str:
    try:
        return find_file(path, solver_file)
    except FileNotFoundError:
        return find_file(path, solver_file, _origin(path, solver_file))


def _origin(path: str, solver_file: str | None) -> str:
    """Where weights that a solver names come from: another solver beside it writes them, or its comments say it."""
    folder = os.path.dirname(solver_file or "")
    for neighbour in sorted(os.listdir(folder or ".") if solver_file else ()):
        other = os.path.join(folder, neighbour)
        if neighbour.endswith(".prototxt") and other != solver_file and path.startswith(f"{_prefix(other)}_iter_"):
            return f"it is a snapshot of {other}: train that first, or start from other weights with --weights"
    remedy = "put the file in place, or name another with --weights"
    return f"the training starts from these weights (see the comments there): {remedy}"


def _prefix(solver_file: str) -> str | None:
    """The snapshot_prefix of a solver file, None where the file is no solver."""
    try:
        return read_solver(solver_file).snapshot_prefix
    except (PrototxtError, OSError):
        return None


def check_files(sources: list[NetSource], remedies: dict[str, str]) -> None:
    """Look for the lists, data bases and mean files that the nets' layers name, before anything large is built.

    remedies: layer type -> where such a file comes from. Raises FileNotFoundError naming the first that is missing.
    """
    for source in sources:
        model_file = source.model if isinstance(source.model, str) else None
        for layer in source.read().layer:
            for _, parameter in layer.ListFields():
                for field in ("source", "mean_file"):
                    path = getattr(parameter, field, None)
                    if isinstance(path, str) and path:
                        remedy = remedies.get(layer.type, "") if field == "source" else ""
                        find_file(path, model_file, remedy or f"it is the {field} of layer '{layer.name}'")
