"""The solver: update rules, learning-rate policies, test passes and snapshots."""

from .errors import SolverError
from .log import logger
from .log_reader import Curves, loss_line, read_curves, read_log
from .memory import CONTEXT, Need, inference_need, largest_batch, training_need
from .nets import check_files, find_test_nets, find_train_net, weights_to_load
from .outputs import Output, mean_outputs
from .policies import make_policy
from .recorders import CsvRecorder, names_of
from .rules import (
    SOLVERS,
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from .signals import EFFECTS, Action, SignalActions
from .snapshot_files import find_snapshot
from .solver import Solver
from .solverstate import read_state
from .tensorboard import TensorBoardRecorder

__all__ = [
    "CONTEXT",
    "EFFECTS",
    "SOLVERS",
    "Action",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "CsvRecorder",
    "Curves",
    "Need",
    "NesterovSolver",
    "Output",
    "RMSPropSolver",
    "SGDSolver",
    "SignalActions",
    "Solver",
    "TensorBoardRecorder",
    "SolverError",
    "check_files",
    "find_snapshot",
    "find_test_nets",
    "find_train_net",
    "get_solver",
    "inference_need",
    "largest_batch",
    "logger",
    "loss_line",
    "make_policy",
    "mean_outputs",
    "names_of",
    "read_curves",
    "read_log",
    "read_state",
    "training_need",
    "weights_to_load",
]
