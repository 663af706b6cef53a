"""What the tools share: errors in one line, the choice of the device, and the package found in a checkout."""

import argparse
import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path

if importlib.util.find_spec("deconvnet") is None:
    # a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deconvnet.core import kernels
from deconvnet.core.kernels import threads
from deconvnet.core.net import NetError, makes_data
from deconvnet.core.proto import PrototxtError, caffe_pb2, printable, read_net
from deconvnet.core.segmentation.voc import DataError
from deconvnet.core.solver import CONTEXT, SolverError, largest_batch


class NotInstalled(RuntimeError):
    """A tool needs something that deconvnet itself does not; the message names it and how to install it."""


_USER_ERRORS = (
    *(PrototxtError, NetError, SolverError, DataError, NotInstalled),
    *(kernels.DeviceError, kernels.BuildError, OSError, MemoryError),
)


def run(main) -> None:
    """Call a tool's `main`; an error of its user's ends in one line on stderr, `TOOL: error: ...`, and status 1."""
    tool = Path(sys.argv[0]).stem
    warnings.showwarning = lambda message, *_: print(f"{tool}: warning: {message}", file=sys.stderr)
    try:
        main()
    except BrokenPipeError:  # whoever reads the lines has read enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except _USER_ERRORS as error:
        sys.exit(f"{tool}: error: {_said(error)}")
    except KeyboardInterrupt:
        print(f"\n{tool}: interrupted", file=sys.stderr)
        sys.exit(130)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, kernels.BuildError):
        return str(error).strip()  # a compiler's log keeps its lines
    return printable(str(error)) or type(error).__name__


def require_weights(net, path: str) -> None:
    """Raise NetError where the file of weights that the net was built with lacks some of its layers."""
    if net.loaded.missing:
        raise NetError(
            f"{path}: lacks the weights of {net.model_file}'s layers {', '.join(net.loaded.missing)}: "
            "give the weights that this net was trained to"
        )


def require_output(output: str, weights: str) -> None:
    """Make the folder that --output names a file in. Raises OSError where that cannot be, NetError where the file is --weights' own or
    a folder.
    """
    if os.path.isdir(output) or not os.path.basename(output):
        raise NetError(f"--output {output} is a folder: name the file to write")
    try:
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    except OSError as error:
        raise OSError(f"the folder of --output {output} cannot be made ({error.strerror})") from None
    if os.path.exists(output) and os.path.samefile(output, weights):
        raise NetError(f"--output {output} is the file of --weights, which stays as it is: give another name")


def optional(module: str, remedy: str):
    """An imported module that deconvnet does without. Raises NotInstalled with the remedy."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalled(f"{module} cannot be imported ({error}): {remedy}") from None


def at_least(least: int):
    """A function that reads an option of argparse, a whole number from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return number


def add_workers(parser) -> None:
    """The option --workers of an argparse parser. Raises DataError where OMP_NUM_THREADS is no number."""
    try:
        cores = threads.count()
    except ValueError as error:
        raise DataError(str(error)) from None
    told = "threads (default: %(default)s, one a core)"
    parser.add_argument("--workers", type=at_least(1), default=cores, metavar="N", help=told)


def add_gpu(parser) -> None:
    """The option --gpu of an argparse parser."""
    parser.add_argument("--gpu", type=int, metavar="N", help="compute on GPU number N")


def add_python_layers(parser) -> None:
    """The option --allow-python-layers of an argparse parser."""
    told = "run the Python modules that the net's Python layers name: only for files that you trust"
    parser.add_argument("--allow-python-layers", action="store_true", help=told)


def add_precision(parser) -> None:
    """The option --precision of an argparse parser."""
    told = "what operands of convolutions are rounded to, for tensor cores (default: FLOAT32)"
    parser.add_argument("--precision", choices=kernels.PRECISIONS, default="FLOAT32", help=told)


def add_phase(parser, default: str) -> None:
    """The option --phase, read as a number of caffe_pb2.Phase."""
    parser.add_argument(
        "--phase", type=_phase, default=default, metavar="TRAIN|TEST", help=f"the net's phase (default: {default})"
    )


def _phase(text: str) -> int:
    if text not in caffe_pb2.Phase.keys():
        raise argparse.ArgumentTypeError(f"{text!r} is no phase: TRAIN or TEST")
    return caffe_pb2.Phase.Value(text)


def add_state(parser) -> None:
    """The options --stage, read as a list, and --level of an argparse parser: what a net's include and exclude rules are held against."""
    stages = {"type": lambda text: text.split(","), "default": [], "metavar": "A[,B]"}
    parser.add_argument("--stage", help="the net's stages", **stages)
    parser.add_argument("--level", type=int, default=0, metavar="N", help="the net's level")


def add_shape(parser) -> None:
    """The option --shape, read as (name, shape); may be repeated."""
    parser.add_argument(
        "--shape",
        action="append",
        type=_shape,
        default=[],
        metavar="BLOB=N,C,H,W",
        help="an input's shape, or that of an input in the place of data; may be repeated",
    )


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, found, sizes = text.partition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not (name and found and shape) or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape: NAME=N,C,H,W with sizes from 1 on is expected")
    return name, shape


@contextlib.contextmanager
def told_of_shapes(model: str):
    """Where a file that a net's data comes from is not there: an error that says how --shape does without. Raises FileNotFoundError."""
    try:
        yield
    except FileNotFoundError as error:
        if not os.path.exists(model):
            raise
        tops = dict.fromkeys(top for layer in read_net(model).layer if makes_data(layer) for top in layer.top)
        without = " ".join(f"--shape {top}=N,C,H,W" for top in tops)
        raise FileNotFoundError(f"{error}; to go without the data give its shapes: {without}") from None


def use_device(gpu: int | None, solver=None, solver_file: str = "") -> None:
    """Compute on the GPU of that number, else where the SolverParameter says, else on the CPU.

    Raises DeviceError with the remedy where a GPU is asked for and absent.
    """
    if gpu is not None:
        kernels.set_mode("gpu")
        kernels.set_gpu(gpu)
    elif solver is not None and solver.HasField("solver_mode") and solver.solver_mode == caffe_pb2.SolverParameter.GPU:
        try:
            kernels.set_mode("gpu")
            kernels.set_gpu(solver.device_id)
        except kernels.DeviceError as error:
            remedy = str(error).replace("run without --gpu", "write solver_mode: CPU")
            raise kernels.DeviceError(f"{solver_file} asks for a GPU (solver_mode: GPU); {remedy}") from None
    else:
        kernels.set_mode("cpu")


@contextlib.contextmanager
def told_of_memory(need):
    """Where a GPU's memory is used up: an error that says what is needed and which batch would fit.

    need: batch, None for the net's own -> Need. Raises NetError.
    """
    try:
        yield
    except (NetError, MemoryError) as error:
        short = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
        if not short or kernels.mode() != "gpu":
            raise
        try:
            fits = _what_would_fit(need)
        except NetError:  # the definition does not say what shapes its data has
            raise error from None
        raise NetError(f"{error}; {fits}") from error


def _what_would_fit(need) -> str:
    free, whole = kernels.gpu_memory()
    wanted = need(None).peak + CONTEXT
    said = f"by tools/memory.py's count it needs {wanted / 1e9:.3g} GB, the GPU has {whole / 1e9:.3g} GB"
    if wanted <= whole:
        return f"{said} of which other programs hold a part: {(free + kernels.pooled_memory()) / 1e9:.3g} GB are left for this one"
    batch = largest_batch(need, whole - CONTEXT)
    return f"{said}: {f'batch_size: {batch} would fit' if batch else 'no batch fits'}"


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they must be, the first three to the left and the numbers behind them to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        texts = [
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(texts).rstrip())


def progress(what: str, unit: str = "batch"):
    """A function that wraps a list of batches, or of other units, in a progress bar where stdout is a terminal."""
    if not sys.stdout.isatty():
        return iter
    from tqdm import tqdm

    return lambda units: tqdm(units, what, unit=unit, file=sys.stdout)
