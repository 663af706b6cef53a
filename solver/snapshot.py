"""Snapshots: the model and the state of a solver, written so that no kill or full disk leaves a broken newest pair."""

import os
import platform
from collections.abc import Callable

import numpy as np

from .. import kernels
from ..kernels import threads
from ..proto import caffe_pb2
from .errors import SolverError
from .log import logger
from .policies import Plateau
from .solverstate import State, read_state, write_binary, write_hdf5


def paths(prefix: str, iteration: int, hdf5: bool) -> tuple[str, str]:
    """The model and the state file of an iteration, named as Caffe names them."""
    end = ".h5" if hdf5 else ""
    return f"{prefix}_iter_{iteration}.caffemodel{end}", f"{prefix}_iter_{iteration}.solverstate{end}"


def write_durably(path: str, write: Callable[[str], None]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk and rename it.

    Raises SolverError naming the path; then the file is as it was and nothing lies beside it.
    """
    beside = f"{path}.part"
    try:
        write(beside)
        _flush(beside)
        os.replace(beside, path)
        _flush(os.path.dirname(path) or ".")
    except OSError as error:
        _remove(beside)
        reason = error.strerror or " ".join(str(error).split())
        raise SolverError(
            f"the snapshot {path} cannot be written: {reason}; the snapshots before it are whole"
        ) from None
    except BaseException:
        _remove(beside)
        raise


def _flush(path: str) -> None:
    """Have a file or folder on disk, not only in the system's memory."""
    if os.path.isdir(path) and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


def require_writable(prefix: str) -> None:
    """Make the folder of a snapshot_prefix and try to write there, before days of training. Raises SolverError."""
    if not prefix:
        raise SolverError("snapshot_prefix is missing: the files are named PREFIX_iter_N.caffemodel and .solverstate")
    probe = f"{prefix}.probe"
    try:
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        with open(probe, "wb"):
            pass
        os.remove(probe)
    except OSError as error:
        raise SolverError(f"snapshots cannot be written to snapshot_prefix '{prefix}': {error.strerror}") from None


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
    hdf5 = param.snapshot_format == caffe_pb2.SolverParameter.HDF5
    model_path, state_path = paths(param.snapshot_prefix, solver.iter, hdf5)
    # a state of this name from an earlier run must not stand beside the new model
    _remove(state_path)
    logger.info("Snapshotting to %s file %s", "HDF5" if hdf5 else "binary proto", model_path)
    if hdf5:
        write_durably(model_path, lambda path: solver.net.save_hdf5(path, gradients=param.snapshot_diff))
    else:
        write_durably(model_path, solver.net.save)
    logger.info("Snapshotting solver state to %s file %s", "HDF5" if hdf5 else "binary proto", state_path)
    state = State(_describe(solver, model_path), [blob.host_data for blob in solver.history])
    write_durably(state_path, lambda path: _write_state(path, state, hdf5))
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
    )
    message.loss_window.extend(solver.losses)
    if isinstance(policy, Plateau):
        message.plateau_wait, message.plateau_lr = policy.wait, policy.rate
        if policy.best is not None:
            message.plateau_best = policy.best
    for number, net in _numbered_nets(solver):
        for layer in net.layers:
            if layer.position is not None:
                message.data_cursor.add(layer=layer.name, test_net=number, position=layer.position)
    return message


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
            f"{path}: holds the momentum of {len(history)} parameters ({_shapes(history)}), the net learns "
            f"{len(solver.history)} ({_shapes(solver.history)}): resume with the solver and net that wrote it"
        )
    model = _model_of(path, message.learned_net)
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
    if message.environment and message.environment != environment():
        logger.warning(
            "%s was written on: %s; here: %s; the last bits may differ", path, message.environment, environment()
        )


def _shapes(arrays) -> str:
    shown = ", ".join("x".join(map(str, array.shape)) or "1" for array in arrays[:4])
    return shown + (", ..." if len(arrays) > 4 else "")


def _model_of(path: str, learned_net: str) -> str:
    """The model written with a state: beside it under its name (folders get moved), else where the state says."""
    folder, name = os.path.split(path)
    sibling = os.path.join(folder, name.replace(".solverstate", ".caffemodel"))
    named = os.path.join(folder, os.path.basename(learned_net.replace("\\", "/")))
    for place in (sibling, named, learned_net):
        if place != path and os.path.isfile(place):
            return place
    raise FileNotFoundError(f"no such file: {sibling}, the weights written with {path}; put them beside it")


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
        for layer in net.layers:
            if layer.position is not None and (number, layer.name) in positions:
                layer.position = positions[number, layer.name]
    solver.seed = message.random_seed


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
