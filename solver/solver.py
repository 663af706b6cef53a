"""The solver turns the crank: forward, backward, update, test passes, snapshots, in Caffe's order."""

import math
import os
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from .. import kernels
from ..blob import Blob, current_seed
from ..layers import BN, Layer
from ..proto import caffe_pb2, did_you_mean, read_solver, upgrade_solver
from . import snapshot, snapshot_files
from .errors import SolverError
from .log import Progress, logger
from .nets import find_test_nets, find_train_net, weights_to_load
from .outputs import accuracy_name, mean_outputs, named_values, outputs_of, test_name
from .policies import Plateau, make_policy
from .signals import Action
from .snapshot_lock import claimed


class Solver:
    """What every solver does around its update rule (Caffe's Solver).

    solver: path of a solver prototxt, or a SolverParameter
    weights: files to start from, as Net.copy_from reads them, instead of the solver's own; an empty list: none
    net_options: for the nets, as Net takes them (share, with which the solver's `recompute` counts, allow_python_layers, precision)
    histories: how many arrays the rule keeps for each parameter; history: they, the first of all parameters before the second of any
    net, test_nets: the nets; iter: updates done; losses: the last `average_loss` losses
    action_function: asked after every iteration (and batch of a test pass) for an Action; None: nobody is asked
    stopped: whether the last run ended before its time because of Action.STOP
    listeners: called with (iteration, {name: value}) at each display and after each test pass
    Raises FileNotFoundError, PrototxtError, NetError, SolverError.
    """

    action_function: Callable[[], Action] | None = None
    stopped = False
    histories = 1

    def __init__(self, solver, weights: list[str] | None = None, **net_options):
        self.file = None if isinstance(solver, caffe_pb2.SolverParameter) else os.fspath(solver)
        self.param = param = upgrade_solver(solver) if self.file is None else read_solver(self.file)
        self.name = self.file or "solver"
        self.policy = make_policy(param, self.name)
        self._check_fields()
        train, tests = find_train_net(param, self.file), find_test_nets(param, self.file)
        weights = weights_to_load(param, self.file, weights)
        self.seed = param.random_seed if param.random_seed >= 0 else current_seed()
        self._net_options = {"recompute": list(param.recompute_convolution) or param.recompute} | net_options
        self.iter = 0
        self.losses: deque[float] = deque(maxlen=param.average_loss)
        self.net = self._build(train, "Creating training net from")
        self.test_nets = [
            self._build(test, f"Creating test net (#{number}) specified by", self.net)
            for number, test in enumerate(tests)
        ]
        self.history = [
            Blob(parameter.blob.shape, self.net.dtype)
            for _ in range(self.histories)
            for parameter in self.net.learnable
        ]
        self._parameter_table, self._gradient_table = kernels.ArrayTable(), kernels.ArrayTable()
        for net in (self.net, *self.test_nets):
            net.debug_info = net.debug_info or param.debug_info
        if not any(any(layer.loss_weights) for layer, *_ in self.net.connections()):
            told = "%s: its train net has no loss, so it learns nothing: give it a loss layer, or a Python layer's top a loss_weight: 1"
            logger.warning(told, self.name)
        self._load(weights)
        self._watch_plateau()
        if param.snapshot:
            snapshot_files.require_writable(param.snapshot_prefix)
        self._saved: str | None = None  # the state file that holds what the solver holds
        self._asked = Action.NONE
        self._undo: Callable[[], None] | None = None
        self._moving = _moving([self.net, *self.test_nets])
        self._progress: Progress | None = None
        self.listeners: list[Callable[[int, dict[str, float]], None]] = []
        self._callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        logger.info("Solver scaffolding done.")

    def _check_fields(self) -> None:
        param = self.param
        for field in ("iter_size", "average_loss"):
            if getattr(param, field) < 1:
                raise SolverError(f"{self.name}: {field} must be at least 1, not {getattr(param, field)}")
        if param.regularization_type not in ("L1", "L2"):
            raise SolverError(f"{self.name}: unknown regularization_type '{param.regularization_type}' (known: L1, L2)")
        for field in ("base_lr", "weight_decay", "momentum", "display", "test_interval", "snapshot", "snapshot_keep"):
            if not 0 <= getattr(param, field) < math.inf:
                raise SolverError(f"{self.name}: {field} must be at least 0, not {getattr(param, field):g}")
        if param.momentum >= 1:
            raise SolverError(f"{self.name}: momentum must be below 1, not {param.momentum:g}")
        if param.clip_gradients == 0:
            raise SolverError(f"{self.name}: clip_gradients: 0 makes every gradient 0; leave it out for no bound")

    def _build(self, source, what: str, beside=None):
        place = f"net file: {source.model}" if isinstance(source.model, str) else source.field
        logger.info("%s %s", what, place)
        of_test = {"recompute": False} if beside else {}
        return source.build(self.seed, beside=beside, **self._net_options | of_test)

    def _load(self, weights: list[str]) -> None:
        """Copy weights into the train net, and into what a test net has of its own."""
        trained = set(self.net.params)
        for path in weights:
            logger.info("Finetuning from %s", path)
            logger.info("%s", self.net.copy_from(path))
            for net in self.test_nets:
                if not trained.issuperset(net.params):
                    net.copy_from(path)

    def _watch_plateau(self) -> None:
        """Settle which test output lr_policy plateau watches: (test net, name)."""
        self._watched = None
        if not isinstance(self.policy, Plateau):
            return
        name = self.param.plateau_metric or (accuracy_name(self.test_nets[0]) if self.test_nets else None)
        self._watched = next(((number, name) for number, net in enumerate(self.test_nets) if name in net.outputs), None)
        if self._watched is None:
            known = sorted({output for net in self.test_nets for output in net.outputs})
            said = "there is no accuracy among the test outputs"
            if name:
                said = f"no test output is called '{name}'{did_you_mean(name, known)}"
            told = f"plateau_metric names one of {', '.join(known)}" if known else "give test_iter and test_interval"
            raise SolverError(f"{self.name}: lr_policy 'plateau' watches a test output; {said}: {told}")
        self.policy.lower_is_better = self.test_nets[self._watched[0]].blob_loss_weights[name] != 0

    # ------------------------------------------------------------------------------------------------------ running

    @property
    def learning_rate(self) -> float:
        """The rate of the next update, before lr_mult."""
        return self.policy.rate_at(self.iter)

    lr = learning_rate

    @property
    def loss(self) -> float:
        """The mean of the last `average_loss` losses, NaN before the first."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    def solve(self, resume_file=None) -> None:
        """Train to max_iter, from a snapshot's state if one is given; then snapshot and test as Caffe does.

        Asked to stop, it ends after the current iteration, with the snapshot but without the test. An example that cannot be read, or
        another error of a net's, ends it with a snapshot of the iterations before, where it writes any.

        Raises SolverError where the loss is no longer finite, and what `restore` and the nets raise.
        """
        param = self.param
        if param.max_iter < 1:
            raise SolverError(f"{self.name}: max_iter must be at least 1, not {param.max_iter}")
        if not (param.snapshot or param.snapshot_after_train):
            self._solve(resume_file)
            return
        snapshot_files.require_writable(param.snapshot_prefix)
        with claimed(param.snapshot_prefix):
            self._solve(resume_file)

    def _solve(self, resume_file) -> None:
        param = self.param
        logger.info("Solving %s", self.net.name)
        logger.info("Learning Rate Policy: %s", param.lr_policy)
        if resume_file is None and not self.iter:
            snapshot_files.warn_of_earlier(param.snapshot_prefix)
        if resume_file is not None:
            logger.info("Restoring previous solver status from %s", os.fspath(resume_file))
            self.restore(resume_file)
        if self.iter >= param.max_iter:
            logger.info("Nothing is left to do: iteration %d is reached, max_iter is %d", self.iter, param.max_iter)
        with Progress(param.max_iter, self.iter, self._examples()) as self._progress:
            try:
                self.step(param.max_iter - self.iter)
            except SolverError:  # the weights are no good, or there is nowhere to write them
                raise
            except Exception:
                self._save_what_is_done()
                raise
        self._progress = None
        if param.snapshot_after_train and not self._is_saved():
            self.snapshot()
        if not self.stopped:
            self._show_the_end()
        logger.info("Optimization stopped early." if self.stopped else "Optimization Done.")

    def _save_what_is_done(self) -> None:
        """A snapshot of the iterations before one that failed; averages of BatchNorm may have moved in that one."""
        param = self.param
        if self._undo is None or not self.iter or not (param.snapshot or param.snapshot_after_train):
            return
        try:
            self._undo()
            if param.snapshot_prefix and not self._is_saved():
                self.snapshot()
        except Exception as error:  # the user needs to hear of the first one
            logger.warning("no snapshot is written of the %d iterations: %s", self.iter, error)

    def _undo_of_iteration(self) -> Callable[[], None]:
        """A function that brings all but the parameters back to where they stand now."""
        states = _state(self._moving)
        policy, losses = vars(self.policy).copy(), list(self.losses)

        def undo():
            _put_back(states)
            vars(self.policy).update(policy)
            self.losses.clear()
            self.losses.extend(losses)

        return undo

    def _is_saved(self) -> bool:
        """Whether the snapshot of this iteration is there already, written or resumed from."""
        hdf5 = self.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
        _, state = snapshot_files.paths(self.param.snapshot_prefix, self.iter, hdf5)
        return self._saved == os.path.realpath(state) and os.path.isfile(self._saved)

    def _show_the_end(self) -> None:
        """The loss after the last update and a last test pass, where their turn has come."""
        param = self.param
        if param.display and self.iter % param.display == 0:
            self.losses.append(self._forward())
            logger.info("Iteration %d, loss = %g", self.iter, self.loss)
            self._tell({"loss": self.loss})
        if self._tests_now():
            self.test()

    def _examples(self) -> int:
        """How many examples one iteration sees: the batch of the net's first blob, iter_size times."""
        shape = next((blob.shape for blob in self.net.blobs.values()), ())
        return (shape[0] if shape else 1) * self.param.iter_size

    # a run that diverges is told by its loss, in one line, not by NumPy's warnings
    @np.errstate(over="ignore", invalid="ignore")
    def step(self, iterations: int) -> None:
        """Do so many iterations, with the test passes and snapshots that fall among them; fewer if asked to stop.

        Raises SolverError where the loss is not finite or a snapshot cannot be written.
        """
        param, stop, self.stopped = self.param, self.iter + iterations, False
        self._shown_at, self._shown_time = self.iter, time.perf_counter()
        while self.iter < stop:
            self._undo = self._undo_of_iteration()
            if self._tests_now() and (self.iter or param.test_initialization):
                self.test()
                if self.stopped:
                    return
            shown = bool(param.display) and self.iter % param.display == 0
            if param.debug_info:
                self.net.debug_info = shown
            for on_start, _ in self._callbacks:
                on_start()
            self.losses.append(self._accumulate())
            if shown:
                self._show()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self._undo = None  # what is half moved is no state to go on from
            self.apply_update(shown)
            self._undo = lambda: None
            if self._progress is not None:
                self._progress.advance(self.loss)
            self._ask()
            # heard first, so that a snapshot whose turn it is serves who asked as well
            if self._snapshot_is_asked() or (param.snapshot and self.iter % param.snapshot == 0):
                self.snapshot()
            if self.stopped:
                return

    def add_callback(self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object]) -> None:
        """Call the one before each iteration's passes, the other between them and the update, which moves by the gradients it leaves."""
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net) -> None:
        """Let another net use the parameters of the train net."""
        net.share_with(self.net)

    def _ask(self) -> bool:
        """Hear what the solver is asked to do; whether to stop."""
        if self.action_function is not None:
            self._asked |= self.action_function()
            self.stopped |= Action.STOP in self._asked
            self._asked &= ~Action.STOP
        return self.stopped

    def _snapshot_is_asked(self) -> bool:
        asked, self._asked = Action.SNAPSHOT in self._asked, Action.NONE
        if asked and not self.param.snapshot_prefix:
            logger.warning("no snapshot is written: the solver has no snapshot_prefix")
            return False
        return asked

    def _tests_now(self) -> bool:
        return self.param.test_interval > 0 and self.iter % self.param.test_interval == 0

    def _accumulate(self) -> float:
        """Add up the gradients of iter_size batches; the mean of their losses."""
        loss = 0.0
        self.net.clear_param_diffs()
        for _ in range(self.param.iter_size):
            loss += self._forward()
            if self.param.bn_gradient_of_last_micro_batch:
                self._clear_batch_norm()
            self.net.backward()
        return loss / self.param.iter_size

    def _forward(self) -> float:
        loss = self.net.forward_loss()
        if not math.isfinite(loss):
            layer = self.net.first_bad_layer()
            where = f"first in layer '{layer}'" if layer else "in the sum of the losses"
            remedy = "the rate may be too high, or the data not finite; nothing of this iteration is kept"
            raise SolverError(f"iteration {self.iter}: the loss is {loss:g}, {where}: {remedy}")
        return loss

    def _clear_batch_norm(self) -> None:
        # the release's rule: each micro-batch overwrites what the one before left
        for layer, *_ in self.net.connections():
            if isinstance(layer, BN):
                for blob in layer.blobs:
                    blob.diff[...] = 0

    def apply_update(self, shown: bool = False) -> None:
        """Move the parameters by the gradients that the net holds, which ends an iteration; `shown` logs the rate."""
        raise NotImplementedError

    def _show(self) -> None:
        now = time.perf_counter()
        elapsed, done = now - self._shown_time, self.iter - self._shown_at
        self._shown_at, self._shown_time = self.iter, now
        speed = f"{done / elapsed if elapsed else 0:g} iter/s, {elapsed:g}s/{self.param.display} iters"
        logger.info("Iteration %d (%s), loss = %g", self.iter, speed, self.loss)
        outputs = outputs_of(self.net)
        for number, output in enumerate(outputs):
            logger.info("    Train net output #%d: %s", number, output)
        self._tell({"lr": self.learning_rate, "loss": self.loss, **named_values("train", outputs)})

    def _tell(self, values: dict[str, float]) -> None:
        for listener in self.listeners:
            listener(self.iter, values)

    # ------------------------------------------------------------------------------------------ testing, snapshots

    @np.errstate(over="ignore", invalid="ignore")
    def test(self) -> None:
        """Run every test net over its test_iter batches and log the means; plateau hears the one it watches.

        Asked to stop, it leaves the pass as if it had not begun: a resumed run begins it again.
        """
        before, watched, self.stopped = _state(_moving(self.test_nets)), None, False
        for number, net in enumerate(self.test_nets):
            logger.info("Iteration %d, Testing net (#%d)", self.iter, number)
            net.share_with(self.net)  # whose parameters a script may have replaced
            loss, outputs = mean_outputs(net, self.param.test_iter[number], self._until_stopped)
            if self.stopped:
                _put_back(before)
                logger.info("Test interrupted.")
                return
            if self.param.test_compute_loss:
                logger.info("Test loss: %g", loss)
            for index, output in enumerate(outputs):
                logger.info("    Test net output #%d: %s", index, output)
            self._tell(named_values(test_name(number), outputs))
            if self._watched is not None and self._watched[0] == number:
                watched = next((output for output in outputs if output.blob == self._watched[1]), None)
        if watched is not None:
            self._judge(watched)

    def _until_stopped(self, batches):
        """The batches of a test pass, up to the moment of being asked to stop."""
        for batch in batches:
            yield batch
            if self._ask():
                return

    def _judge(self, output) -> None:
        policy, before = self.policy, self.policy.rate
        if policy.judge(output.value):
            best = "none yet" if policy.best is None else f"{policy.best:g}"
            logger.info(
                "Iteration %d, %s = %g is no better than %s: plateau drops the rate from %g to %g",
                *(self.iter, output.blob, output.value, best, before, policy.rate),
            )

    def snapshot(self) -> str:
        """Write PREFIX_iter_N.caffemodel and .solverstate (or .h5); return the state's path. Raises SolverError."""
        path = snapshot.save(self)
        self._saved = os.path.realpath(path)
        return path

    def restore(self, path) -> None:
        """Go on from a .solverstate or .solverstate.h5, this project's or Caffe's.

        Raises FileNotFoundError, SolverError, NetError.
        """
        snapshot.restore(self, os.fspath(path))
        self._saved = os.path.realpath(path)

    def close(self) -> None:
        """Give back the threads and files of the nets."""
        for net in (self.net, *self.test_nets):
            net.close()


def _moving(nets) -> list[Layer]:
    """The layers that draw, or carry something over from pass to pass."""
    layers = (layer for net in nets for layer, *_ in net.connections())
    return [layer for layer in layers if layer.position is not None or layer.carried]


def _state(layers: list[Layer]) -> list[tuple[Layer, int | None, list[tuple[Blob, object]]]]:
    """(layer, position, the blobs that it carries over with copies of their values) of each."""
    return [(layer, layer.position, [(blob, blob.data.copy()) for blob in layer.carried]) for layer in layers]


def _put_back(state) -> None:
    """Let layers go on from where they stood."""
    for layer, position, carried in state:
        layer.position, layer.carried = position, [blob for blob, _ in carried]
        for blob, values in carried:
            blob.data[...] = values
