"""A net: built from a prototxt, run forward and backward, its weights in and out (pycaffe's Net)."""

import os
import warnings
from collections import OrderedDict

import numpy as np

from .. import kernels
from ..blob import Blob, HostBlob, beside, current_seed, remove_left
from ..layers import Layer, MemoryData
from ..proto import caffe_pb2, did_you_mean, filter_net, read_net, takes_part, upgrade_net
from .append import append_layer
from .batches import backward_in_batches, forward_in_batches
from .crop_offset import Source
from .debug_info import log_parameters
from .errors import NetError, located, locating
from .forward_graph import ForwardGraph
from .hooks import Hooks
from .input_shapes import with_inputs
from .known_layers import require_known
from .needs_backward import Passes, find_passes
from .parameters import LearnableParameter, share_trained
from .planner import plan
from .pycaffe import PrivateNames, seen
from .run import find_bad_layer, require_bottoms, run_backward, run_forward
from .splits import MisplacedLayer, insert_splits
from .stored import Names
from .weights import Arrays, LoadReport, bn_modes, load, write_weights


class Net(Hooks, PrivateNames):
    """Net(network_file, phase, weights=...) as in pycaffe; Net(network_file, weights, phase) and Net(network_file, phase, weights) work too.

    network_file: path of a prototxt, or a NetParameter; phase: TRAIN or TEST; weights: path of a file that copy_from reads, whose report
    is then `loaded`; only layers that it lacks are filled by their fillers.
    level, stages: what include and exclude rules are held against; dtype: float32, or float64 for gradient checks; seed: of the fillers
    and of every other draw (default: set_random_seed's, else a fresh one); beside: a net whose parameters this one uses as its own, by
    layer name, as a test net beside its train net does.
    share: let blobs whose lives do not meet use one memory (gradients in TRAIN, data in TEST, which then cannot run backward), those of
    the net `beside` with them, so that what one net computes the other overwrites, and let layers do the work of those behind them (see
    fusion.py); asking for a blob that is gone raises RuntimeError; keep: names of blobs to spare; recompute: in TRAIN also let data share
    memory that a pass over other data computes again (see recompute.py): half the memory of maps behind batch norm, for a pass more; or names
    of convolutions whose results are computed again as well, each for that convolution once more: backward can then run once for each forward.
    allow_python_layers: whether Python layers may import and run the modules that the model names.
    fill: False leaves parameters zero and, until they are asked for, without memory, for whoever wants the shapes only.
    input_shapes: shapes by name of inputs, or of data that inputs replace.
    cuda_graph: on a GPU, launch a whole forward pass at once from the second one of the same shapes on; for nets in TEST whose layers
    only compute.
    precision: FLOAT32, or TF32 or BFLOAT16, to which the operands of convolutions and fully connected layers are rounded for the tensor
    cores of a GPU (on a CPU just so, slowly); sums, blobs and weights stay float32.
    Raises FileNotFoundError, PrototxtError, NetError, and DeviceError where the GPU has no such tensor cores.
    """

    def __init__(
        self,
        network_file,
        phase,
        level=None,
        stages=None,
        weights=None,
        *,
        dtype=np.float32,
        seed=None,
        beside=None,
        share=False,
        keep=(),
        recompute=False,
        allow_python_layers=False,
        fill=True,
        input_shapes=None,
        cuda_graph=False,
        precision="FLOAT32",
    ):
        if _is_path(phase) or _is_path(level):
            (path, phase) = (phase, level) if _is_path(phase) else (level, phase)
            if phase is None or weights is not None:
                raise TypeError(
                    "Net(network_file, phase, weights=...): " + ("no phase" if phase is None else "two weights")
                )
            level, weights = None, path
        super().__init__()
        self.phase = phase
        self.dtype = np.dtype(dtype)
        self.precision = precision
        try:
            kernels.require_precision(precision, self.dtype)
        except ValueError as error:
            raise NetError(str(error)) from None
        self.seed = current_seed() if seed is None else seed
        self._allows_python_layers = allow_python_layers
        self.model_file = None if isinstance(network_file, caffe_pb2.NetParameter) else os.fsdecode(network_file)
        written = upgrade_net(network_file) if self.model_file is None else read_net(self.model_file)
        self._fills = fill
        self.name = written.name
        # whether to log the mean absolute value of all that is computed
        self.debug_info = written.debug_info
        state = caffe_pb2.NetState()
        state.CopyFrom(written.state)
        state.phase, state.level = phase, level or written.state.level
        state.stage.extend(stage for stage in stages or () if stage not in state.stage)
        filtered = filter_net(written, state, self.model_file or "net")
        left_out = [layer for layer in written.layer if not takes_part(layer, state)]
        if input_shapes:
            filtered = with_inputs(filtered, input_shapes, self.model_file or "net")
        require_known(filtered.layer, self.model_file)
        try:
            self._param = insert_splits(filtered, left_out)
        except MisplacedLayer as error:
            raise located(error, error.layer, self.model_file) from None
        self._beside: dict[str, Layer] = beside.layers_by_name() if beside else {}
        self._build(fill and weights is None)
        if unknown := set(keep) - set(self._named_blobs):
            raise NetError(f"{self.model_file or 'net'}: keep names no blob of the net: {', '.join(sorted(unknown))}")
        self._shares = share
        self._forward_only = share and not (phase == caffe_pb2.TRAIN or self._param.force_backward)
        # which layers do the work of others; what feeds batch norm in place; what is computed again when; names of blobs overwritten in a pass
        self._fusions, self._parted, self._recomputes, self._gone = {}, {}, {}, {"data": set(), "diff": set()}
        self._next = 0  # the layer behind those that ran forward last
        self._runs_backward_once = False  # a backward pass over a layer leaves nothing for a second one
        self._above = 0  # the layers below this number have not run backward since they ran forward
        if share:
            plan(self, self._forward_only, set(keep), beside, recompute)
        self._make_public()
        self._graph = ForwardGraph(self) if cuda_graph else None
        self.loaded: LoadReport | None = None
        if weights is not None:
            self.loaded = self.copy_from(weights)

    # ------------------------------------------------------------------------------------------------------------- building

    def _build(self, fill: bool) -> None:
        self._layers: list[Layer] = []
        self.layer_names: list[str] = []
        self.top_names: OrderedDict[str, list[str]] = OrderedDict()
        self.bottom_names: OrderedDict[str, list[str]] = OrderedDict()
        self._bottoms: list[list[Blob]] = []
        self._tops: list[list[Blob]] = []
        self._named_blobs: OrderedDict[str, Blob] = OrderedDict()
        self._sources: dict[str, Source] = {}
        self._first_sources: list[Source | None] = []
        self._unread: set[str] = set()
        self.inputs: list[str] = []
        self.learnable: list[LearnableParameter] = []
        self._gradient_table = kernels.ArrayTable()
        self._owners: dict[str, tuple[Blob, str]] = {}
        for param in self._param.layer:
            with locating(param, self.model_file):
                append_layer(self, param)
                if fill:
                    self._layers[-1].fill_parameters()
        self.outputs = sorted(self._unread)
        self._settle_passes()

    def _make_public(self) -> None:
        """What pycaffe shows of a net."""
        self.blobs = OrderedDict(
            (name, HostBlob(blob, name, [side for side, names in self._gone.items() if name in names]))
            for name, blob in self._named_blobs.items()
        )
        self.layers = [seen(layer) for layer in self._layers]
        self.layer_dict = OrderedDict(zip(self.layer_names, self.layers, strict=True))
        named = zip(self.layer_names, self.layers, strict=True)
        self.params = OrderedDict((name, layer.blobs) for name, layer in named if layer.blobs)

    def _settle_passes(self) -> None:
        self._passes: Passes = find_passes(self)
        for layer, needed in zip(self._layers, self._passes.layers, strict=True):
            layer.may_need_backward = needed and (self.phase == caffe_pb2.TRAIN or self._param.force_backward)

    def force_backward(self) -> None:
        """Let every layer run backward and every bottom that can have a gradient get one, as `force_backward: true` does.

        Raises NetError for a net made with share=True, whose memory is planned for the passes it has.
        """
        if self._shares:
            raise NetError("force_backward on a net made with share=True: make it without share")
        self._param.force_backward = True
        self._settle_passes()

    def _fill_layer(self, layer: Layer) -> None:
        """Fill what is not filled yet of a layer's parameters."""
        if self._fills:
            with locating(layer.param, self.model_file):
                layer.fill_parameters()

    def layers_by_name(self) -> dict[str, Layer]:
        """The layers themselves, of which `layer_dict` shows what Python sees; of those of one name the last with parameters, if any has."""
        return {layer.name: layer for layer in sorted(self._layers, key=lambda layer: bool(layer.blobs))}

    def connections(self) -> list[tuple[Layer, list[Blob], list[Blob]]]:
        """Each layer with its bottoms and tops."""
        return list(zip(self._layers, self._bottoms, self._tops, strict=True))

    # -------------------------------------------------------------------------------------------------------------- running

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """What each blob's values count for in the net's loss, 0 for most."""
        weights = OrderedDict.fromkeys(self._named_blobs, 0.0)
        for layer in self._layers:
            weights.update(zip(layer.param.top, layer.loss_weights, strict=True))
        return weights

    def _index(self, name: str) -> int:
        if name not in self.top_names:
            raise NetError(
                f"{self.model_file or 'net'}: there is no layer '{name}'{did_you_mean(name, self.top_names)}"
            )
        return self.layer_names.index(name)

    def _require_blobs(self, names) -> list[str]:
        """Those names, or none. Raises NetError where the net has no blob of one of them."""
        for name in names or ():
            if name not in self.blobs:
                raise NetError(f"{self.model_file or 'net'}: there is no blob '{name}'{did_you_mean(name, self.blobs)}")
        return list(names or ())

    def _forward(self, first: int, last: int) -> float:
        """Run layers first..last forward (by number, as pycaffe's); the weighted sum of their losses."""
        whole = (first, last) == (0, len(self._layers) - 1)
        self._next = self._above = last + 1
        watched = self.debug_info or self._hooks
        if self._graph and whole and kernels.mode() == "gpu" and not watched:
            self._graph.run(lambda: run_forward(self, first, last))
            return 0.0
        loss = run_forward(self, first, last)
        kernels.warn_of_strays()
        return loss

    def forward_loss(self) -> float:
        """One forward pass; the sum of the losses by their weights."""
        return self._forward(0, len(self._layers) - 1)

    def forward(self, blobs=None, start: str | None = None, end: str | None = None, **inputs) -> dict[str, np.ndarray]:
        """Run layers start..end (names; all by default) and return {blob: array} of the outputs and of the names in `blobs`.

        Keywords set the inputs, all of them; an input takes its array's shape. Arrays are views that the next forward overwrites; from
        a GPU the net's outputs are copies to read. Raises NetError for a start whose bottoms are gone (share=True).
        """
        asked = self._require_blobs(blobs)
        if inputs:
            if set(inputs) != set(self.inputs):
                raise NetError(f"forward was given {sorted(inputs)}, the net's inputs are {sorted(self.inputs)}")
            for name, array in inputs.items():
                array = np.asarray(array)
                if array.shape != self.blobs[name].shape:
                    self.blobs[name].reshape(*array.shape)
                self._named_blobs[name].host_data_to_fill[...] = array
        first = self._index(start) if start else 0
        last = self._index(end) if end else len(self._layers) - 1
        if first and first != self._next:
            require_bottoms(self, first, last)
        self._forward(first, last)
        # an output that the host might write to would be uploaded before the next forward overwrites it
        if end:
            results = {name: self._named_blobs[name].host_data for name in self.top_names[end]}
        else:
            results = {name: self._named_blobs[name].fetched_data for name in self.outputs}
        return results | {name: self.blobs[name].data for name in asked}

    def backward(
        self, diffs=None, start: str | None = None, end: str | None = None, **top_diffs
    ) -> dict[str, np.ndarray]:
        """Run layers start..end (names) backward and return {blob: gradient} of the inputs and of the names in `diffs`.

        Keywords set the gradients of output blobs (or of the tops of `start`) first; losses start from their weights by themselves.
        """
        asked = self._require_blobs(diffs)
        startable = self.top_names[start] if start else self.outputs
        for name, array in top_diffs.items():
            if name not in startable:
                raise NetError(f"backward was given a gradient for '{name}'; it can start from {', '.join(startable)}")
            self.blobs[name].diff[...] = array
        first = self._index(start) if start else len(self._layers) - 1
        last = self._index(end) if end else 0
        self._backward(first, last)
        wanted = [*(self.bottom_names[end] if end else self.inputs), *asked]
        return {name: self.blobs[name].diff for name in wanted}

    def _backward(self, first: int, last: int) -> None:
        """Run layers first..last backward, downwards (by number, as pycaffe's)."""
        if self._forward_only:
            raise NetError("backward on a net made with share=True in TEST: its data is gone; make it without share")
        if self._runs_backward_once and first >= self._above:
            raise NetError(
                f"backward from layer '{self.layer_names[first]}' a second time: a net that computes convolutions again (recompute) keeps "
                "nothing for that; run forward before it"
            )
        self._next, self._above = 0, last
        run_backward(self, first, last)
        if self.debug_info and last == 0:
            log_parameters(self.learnable)

    def forward_all(self, blobs=None, **inputs) -> dict[str, np.ndarray]:
        """Run forward over arrays of any length, a batch at a time: {blob: array} of the outputs and of the names in `blobs`.

        The last batch is filled up with zeros, whose results are left out. Raises NetError for arrays of several lengths.
        """
        return forward_in_batches(self, blobs, inputs)

    def forward_backward_all(self, blobs=None, diffs=None, **arrays) -> tuple[dict, dict]:
        """The same, each batch backward as well: ({blob: array}, {blob: gradient}). Keywords name inputs, and outputs for their gradients."""
        return backward_in_batches(self, blobs, diffs, arrays)

    def reshape(self) -> None:
        """Let every layer follow the shapes of the inputs."""
        for layer, bottom, top in zip(self._layers, self._bottoms, self._tops, strict=True):
            with locating(layer.param, self.model_file):
                layer.reshape(bottom, top)

    def reseed(self, seed: int) -> None:
        """Let every later draw come from another seed, as a resumed run needs; parameters stay."""
        self.seed = seed
        for layer, bottom, top in zip(self._layers, self._bottoms, self._tops, strict=True):
            layer.seed = seed
            if layer.position is not None and not bottom:  # data layers settle in setup what they draw
                layer.close()
                layer.setup(bottom, top)

    def set_input_arrays(self, data, labels) -> None:
        """Give the net's (first) MemoryData layer its arrays: data (N, C, H, W), N labels, N a multiple of its batch_size.

        Raises NetError where there is no such layer or the arrays do not fit it.
        """
        layer = next((layer for layer in self._layers if isinstance(layer, MemoryData)), None)
        if layer is None:
            raise NetError(f"{self.model_file or 'net'}: set_input_arrays needs a MemoryData layer, and there is none")
        with locating(layer.param, self.model_file):
            layer.set_arrays(data, labels)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero; backward adds to them."""
        kernels.clear_all([parameter.blob.diff for parameter in self.learnable], self._gradient_table)

    def first_bad_layer(self) -> str | None:
        """The first layer whose parameters or tops are not finite, found by running the last forward pass again on its data.

        Parameters and positions stay as they are.
        """
        return find_bad_layer(self)

    # -------------------------------------------------------------------------------------------------------------- weights

    def copy_from(self, path, names: Names | None = None) -> LoadReport:
        """Load weights by layer name; layers that the file does not name keep theirs.

        The file is a .caffemodel (of any age), Caffe's HDF5, .npz or .safetensors with keys LAYER/NUMBER, or others of which the
        function `names` makes these (None: not read). Warns of batch norms that come from training and are bn_mode: INFERENCE here.
        Raises FileNotFoundError, NetError for a corrupt file or shapes that do not fit.
        """
        path = os.fsdecode(path)
        report = load(self._layers, path, names, self._fill_layer)
        if report.warning(path):
            warnings.warn(report.warning(path), stacklevel=2)
        return report

    def load_hdf5(self, path) -> LoadReport:
        """copy_from, by pycaffe's name for Caffe's HDF5."""
        return self.copy_from(path)

    def share_with(self, other: "Net") -> None:
        """Use the parameters of the other net's layers of the same names as one's own. Raises NetError where shapes differ."""
        trained = other.layers_by_name()
        for layer in self._layers:
            with locating(layer.param, self.model_file):
                share_trained(layer, trained[layer.name].blobs if layer.name in trained else [])

    def arrays(self) -> Arrays:
        """The parameters by layer name, in host memory."""
        return _arrays(self._layers)

    def save(self, path, gradients: bool = False, layers=None) -> None:
        """Write the parameters in the form that the suffix names: .h5 (Caffe's HDF5 layout), .npz, .safetensors, else a .caffemodel.

        A .caffemodel holds the net's definition as well; gradients go into a .caffemodel or .h5 only, and on request. layers: names
        of the only ones whose parameters are written. The file is there whole or not at all.
        Raises NetError for gradients in another form, OSError that names the file.
        """
        self._save(os.fsdecode(path), os.fsdecode(path), gradients, layers)

    def save_hdf5(self, path, gradients: bool = False) -> None:
        """Write the parameters (and their gradients) in Caffe's HDF5 layout, whatever the suffix."""
        self._save(os.fsdecode(path), ".h5", gradients)

    def _save(self, path: str, form: str, gradients: bool, layers=None) -> None:
        remove_left(path)
        with beside(path) as part:
            self.write(part, form, gradients, layers)

    def write(self, place: str, form: str, gradients: bool = False, layers=None) -> None:
        """What `save` writes to a file whose name ends like `form`, written at `place`, for who sees to it that the file is whole."""
        diffs = self._gradients() if gradients else {}
        chosen = [layer for layer in self._layers if layers is None or layer.name in layers]
        write_weights(place, form, self._param, _arrays(chosen), diffs, bn_modes(chosen))

    def _gradients(self) -> Arrays:
        return {layer.name: [blob.host_diff for blob in layer.blobs] for layer in self._layers if layer.blobs}

    def close(self) -> None:
        """Give back the threads and files of the layers."""
        for layer in self._layers:
            layer.close()


def _arrays(layers: list[Layer]) -> Arrays:
    return {layer.name: [blob.host_data for blob in layer.blobs] for layer in layers if layer.blobs}


def _is_path(value) -> bool:
    return isinstance(value, (str, bytes, os.PathLike))
