"""Snapshots: the model and the state of a solver, written so that no kill or full disk leaves a broken newest pair."""

import os
import platform

import numpy as np

from .. import kernels
from ..kernels import threads
from ..proto import caffe_pb2
from .errors import SolverError
from .log import logger
from .policies import Plateau
from .snapshot_files import keep_newest, model_of, paths, remove_parts, require_writable, write_pair
from .solverstate import State, read_state, write_binary, write_hdf5


def save(solver) -> str:
    """Write the model, then the state, of a solver as it stands; return the state's path.

    Raises SolverError where a parameter is not finite or a file cannot be written.
    """
    for parameter in solver.net.learnable:
        if not np.isfinite(parameter.blob.host_data).all():
            raise SolverError(
                f"iteration {solver.iter}: parameter {parameter.name} is not finite; no snapshot is written"
            )
    param = solver.param
    require_writable(param.snapshot_prefix)
    remove_parts(param.snapshot_prefix)
    hdf5 = param.snapshot_format == caffe_pb2.SolverParameter.HDF5
    model_path, state_path = paths(param.snapshot_prefix, solver.iter, hdf5)
    kind = "HDF5" if hdf5 else "binary proto"

    def fill_model(beside):
        logger.info("Snapshotting to %s file %s", kind, model_path)
        solver.net.write(beside, model_path, gradients=param.snapshot_diff)
        message.learned_net_bytes = os.path.getsize(beside)

    def fill_state(beside):
        logger.info("Snapshotting solver state to %s file %s", kind, state_path)
        _write_state(beside, State(message, [blob.host_data for blob in solver.history]), hdf5)

    message = _describe(solver, model_path)
    write_pair((model_path, fill_model), (state_path, fill_state))
    if param.snapshot_keep:
        keep_newest(param.snapshot_prefix, solver.iter, param.snapshot_keep)
    return state_path


def _write_state(path: str, state: State, hdf5: bool) -> None:
    if hdf5:
        write_hdf5(path, state)
        return
    with open(path, "wb") as file:
        write_binary(file, state)


def _describe(solver, model_path: str) -> caffe_pb2.SolverState:
    """All of a solver's state but the history."""
    policy = solver.policy
    message = caffe_pb2.SolverState(
        iter=solver.iter,
        learned_net=model_path,
        current_step=policy.drops,
        random_seed=solver.seed,
        environment=environment(),
        precision=solver.net.precision,
    )
    message.loss_window.extend(solver.losses)
    if isinstance(policy, Plateau):
        message.plateau_wait, message.plateau_lr = policy.wait, policy.rate
        if policy.best is not None:
            message.plateau_best = policy.best
    for number, net in _numbered_nets(solver):
        for layer, *_ in net.connections():
            if layer.position is not None:
                message.data_cursor.add(layer=layer.name, test_net=number, position=layer.position)
            if layer.carried:
                states = [_stored(blob.fetched_data) for blob in layer.carried]
                message.carried_state.add(layer=layer.name, test_net=number, blob=states)
    return message


def _stored(array: np.ndarray) -> caffe_pb2.BlobProto:
    side = "double_data" if array.dtype == np.float64 else "data"
    return caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=array.shape), **{side: array.ravel().tolist()})


def _numbered_nets(solver):
    """(-1, train net), then (number, test net) for each."""
    return [(-1, solver.net), *enumerate(solver.test_nets)]


def restore(solver, path: str) -> None:
    """Set a solver and its nets to what a state file and the model written with it hold; Caffe's own files do as well.

    Raises FileNotFoundError, SolverError, NetError.
    """
    message, history = read_state(path)
    if len(history) != len(solver.history) or any(
        a.size != b.count for a, b in zip(history, solver.history, strict=True)
    ):
        raise SolverError(
            f"{path}: holds {len(history)} arrays of momentum ({_shapes(history)}), this solver's type and net keep "
            f"{len(solver.history)} ({_shapes(solver.history)}): resume with the solver and net that wrote it"
        )
    model = model_of(path, message.learned_net)
    missing = solver.net.copy_from(model).missing
    if missing:
        raise SolverError(f"{model}: lacks the weights of {', '.join(missing)}, so {path} cannot be resumed from")
    for blob, values in zip(solver.history, history, strict=True):
        blob.host_data[...] = values.reshape(blob.shape)
    solver.iter = message.iter
    solver.losses.clear()
    solver.losses.extend(message.loss_window)
    _restore_policy(solver.policy, message)
    if message.HasField("random_seed"):
        _restore_draws(solver, message)
    _restore_states(solver, message, path)
    _warn_of_differences(message, path, solver.net.precision)


def _warn_of_differences(message, path: str, precision: str) -> None:
    """Say what keeps a resumed run from going on to the bit."""
    if message.environment and message.environment != environment():
        logger.warning(
            "%s was written on: %s; here: %s; the last bits may differ", path, message.environment, environment()
        )
    if message.precision and message.precision != precision:
        told = "%s was trained with precision %s; here: %s; resume with precision %s (--precision) to go on as it was"
        logger.warning(told, path, message.precision, precision, message.precision)


def _shapes(arrays) -> str:
    shown = ", ".join("x".join(map(str, array.shape)) or "1" for array in arrays[:4])
    return shown + (", ..." if len(arrays) > 4 else "")


def _restore_policy(policy, message) -> None:
    policy.drops = message.current_step
    if isinstance(policy, Plateau) and message.HasField("plateau_lr"):
        policy.best = message.plateau_best if message.HasField("plateau_best") else None
        policy.wait, policy.rate = message.plateau_wait, message.plateau_lr


def _restore_draws(solver, message) -> None:
    """Let every layer draw from here on what it would have drawn next."""
    positions = {(cursor.test_net, cursor.layer): cursor.position for cursor in message.data_cursor}
    for number, net in _numbered_nets(solver):
        if message.random_seed != solver.seed:
            net.reseed(message.random_seed)
        for layer, *_ in net.connections():
            if layer.position is not None and (number, layer.name) in positions:
                layer.position = positions[number, layer.name]
    solver.seed = message.random_seed


def _restore_states(solver, message, path: str) -> None:
    """Let every recurrent layer go on from where it stood; a state of another shape is warned of and left."""
    stored = {(state.test_net, state.layer): state.blob for state in message.carried_state}
    for number, net in _numbered_nets(solver):
        for layer, *_ in net.connections():
            blobs = stored.get((number, layer.name), [])
            shapes, own = [tuple(blob.shape.dim) for blob in blobs], [blob.shape for blob in layer.carried]
            if blobs and shapes != own:
                told = "%s: layer '%s' carried states of the shapes %s, here of %s: its sequences begin anew"
                logger.warning(told, path, layer.name, shapes, own)
                continue
            for blob, state in zip(blobs, layer.carried, strict=False):
                state.host_data[...] = np.reshape(blob.double_data or blob.data, state.shape)


def environment() -> str:
    """What the last bits of a result depend on: processor, threads, NumPy and its BLAS, and the device."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    library = f"{blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".strip()
    return f"{_processor()}; {threads.count()} threads; numpy {np.__version__}, {library}; {kernels.mode()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
