"""One process, our engine on one device: the whole net, the kernels alone, or the memory of a training. Prints a JSON line for each figure.

    python benchmarks/gpu_ours.py nets|kernels|memory [--device gpu|cpu] [--precision float32|tf32|bfloat16] [--size 224] [--batch 16]

compare_gpu.py runs it beside gpu_peer.py. Precisions other than float32 are asked of the net or of a product's Geometry by that name.
"""

import contextlib
import gc
import resource
from functools import partial

import gpu_timing
import measured_deconvnet as measured  # before NumPy: it imports deconvnet first
import numpy as np
from gpu_cases import CLASSES, COPIED, PHOTO, PRODUCT, kernel_cases, proposals
from gpu_kernels import Arrays, map_makers, other_makers, product_makers
from gpu_worker import nets_of, parse

from deconvnet.core import kernels
from deconvnet.core.net import data_shapes, with_inputs
from deconvnet.core.proto import caffe_pb2, filter_net, read_net, read_solver
from deconvnet.core.segmentation import inference
from deconvnet.core.solver import CONTEXT, get_solver, training_need

HELD = 1 << 26  # values whose copy keeps the device busy


class Gpu:
    """Events of CuPy."""

    def __init__(self):
        self._cupy = kernels.array_module()
        cuda = self._cupy.cuda
        self.l2_bytes = cuda.runtime.deviceGetAttribute(cuda.runtime.cudaDevAttrL2CacheSize, cuda.Device().id)
        self._copy: tuple | None = None  # (call, its seconds); whole nets need none and its memory

    def event(self):
        """What the device reaches when it has done all that was queued before."""
        event = self._cupy.cuda.Event()
        event.record()
        return event

    def seconds(self, first, last) -> float:
        """Between two events that have been reached."""
        return self._cupy.cuda.get_elapsed_time(first, last) / 1e3

    def synchronize(self) -> None:
        """Wait for the device."""
        kernels.synchronize()

    def hold(self, seconds: float) -> None:
        """Keep it busy for about so long."""
        if self._copy is None:
            x, y = (self._cupy.zeros(HELD, np.float32) for _ in range(2))
            copy = partial(y.__setitem__, ..., x)
            self._copy = copy, gpu_timing.time_steps(self, copy, 0)["ms"] / 1e3
        copy, once = self._copy
        for _ in range(int(seconds / once) + 1):
            copy()


def watched_memory():
    """A context that counts the bytes of all arrays taken in it: `live` now, `peak` at most. CuPy's hook of its memory pool."""
    hook = kernels.array_module().cuda.MemoryHook

    class Watch(hook):
        name = "live bytes"
        live = peak = 0

        def __init__(self):
            self._taken: dict[int, int] = {}  # what was taken before the watch may end in it

        def malloc_postprocess(self, **told):
            if told["mem_ptr"]:
                self._taken[told["pmem_id"]] = told["mem_size"]
                self.live += told["mem_size"]
                self.peak = max(self.peak, self.live)

        def free_postprocess(self, **told):
            self.live -= self._taken.pop(told["pmem_id"], 0)

    return Watch()


def measure_limits(device, arrays: Arrays, chosen) -> None:
    """What this device can do: the rate of a copy and of a product of float32."""
    small = chosen.device == "cpu"
    values, side = (1 << 20, 128) if small else (COPIED, PRODUCT)
    x, y = arrays(values), arrays(values)
    copied = gpu_timing.time_calls(device, [partial(y.__setitem__, ..., x)], chosen.seconds)
    gpu_timing.emit(part="limit", name="copy", gb_s=8 * values / copied["ms"] / 1e6, **copied)
    a, b, c = (arrays(side, side) for _ in range(3))
    product = gpu_timing.time_calls(device, [partial(kernels.matrix_product, a, b, c)], chosen.seconds)
    gpu_timing.emit(part="limit", name="product float32", tflop_s=2 * side**3 / product["ms"] / 1e9, **product)


def measure_kernels(device, chosen) -> None:
    """Every kernel; in another precision than float32 the products alone."""
    arrays = Arrays()
    makers = product_makers(arrays, chosen.precision)
    if chosen.precision == "float32":
        measure_limits(device, arrays, chosen)
        makers |= map_makers(arrays) | other_makers(arrays, chosen.size)
    cases = kernel_cases(chosen.batch, chosen.size)
    for row in gpu_timing.time_cases(device, cases, makers, chosen.precision, chosen.seconds, release):
        gpu_timing.emit(**row)


def release() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if kernels.mode() == "gpu":
        kernels.array_module().get_default_memory_pool().free_all_blocks()


# ---------------------------------------------------------------------------------------------------------------- the net


def fill_inputs(net) -> None:
    """Drawn images and labels."""
    draw = np.random.default_rng(1)
    net.blobs["data"].data[...] = draw.standard_normal(net.blobs["data"].shape, np.float32) * 50
    if "label" in net.blobs:
        net.blobs["label"].data[...] = draw.integers(0, CLASSES, net.blobs["label"].shape)


def image_step(net, count: int):
    """The way of an image with so many windows from the host and back to it, as classes."""
    photo, boxes = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), dtype=np.uint8), proposals(count)
    score = partial(inference.segment, net, photo, boxes, output=net.outputs[0], batch=count, on_device=True)
    return lambda: inference.classes_of(score())


def measure_net(device, watch, work: str, batch: int, chosen) -> dict:
    """A row of the whole net: forward, an image's way through it, or forward, backward and update."""
    options = {} if chosen.precision == "float32" else {"precision": chosen.precision.upper()}
    with contextlib.ExitStack() as stack:
        if work == "training":
            solver = measured.training_solver(batch, chosen.size, **options)
            stack.callback(solver.close)
            net, step = solver.net, partial(solver.step, 1)
            measured.draw_weights(net)
        else:
            net = measured.inference_net(batch, size=chosen.size, fill=False, cuda_graph=chosen.graph, **options)
            stack.callback(net.close)
            step = image_step(net, batch) if work == "image" else net.forward_loss
        fill_inputs(net)
        found = gpu_timing.time_steps(device, step, chosen.seconds) | memory_row(watch)
    if work == "training" and watch:
        found["predicted_gb"] = (
            training_need(measured.solver_param(batch, chosen.size), None, batch, **options).peak / 1e9
        )
    return found


def memory_row(watch) -> dict:
    """arrays_gb: the most that arrays took at once; pool_gb: what CuPy's pool holds for them; device_gb: all that is taken of the device.

    On a CPU peak_gb, the most that the process took.
    """
    if watch is None:
        return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    free, whole = kernels.gpu_memory()
    return {"arrays_gb": watch.peak / 1e9, "pool_gb": kernels.pooled_memory() / 1e9, "device_gb": (whole - free) / 1e9}


def measure_nets(device, watch, chosen) -> None:
    """Every batch; one that fails becomes a row that says why."""
    for work, batch in nets_of(chosen):
        mode = f"graph {chosen.precision}" if chosen.graph else chosen.precision
        row = {"part": "net", "mode": mode, "work": work, "batch": batch}
        try:
            if watch:
                watch.peak = watch.live
            row |= measure_net(device, watch, work, batch, chosen)
            row["images_s"] = batch / row["ms"] * 1e3
        except Exception as error:  # whatever it is, the other batches are worth having
            row["error"] = gpu_timing.told(error)
        release()
        gpu_timing.emit(**row)


def measure_memory(watch, chosen) -> None:
    """Two iterations of stage 2 with its test net: what arrays take against what solver/memory.py predicts."""
    solver_file = measured.ROOT / "solver" / "stage2.prototxt"
    written, param = (
        read_net(measured.ROOT / "prototxt" / "deconvnet_stage2_train_val.prototxt"),
        read_solver(solver_file),
    )
    small = caffe_pb2.SolverParameter(
        base_lr=1e-4, lr_policy="fixed", momentum=param.momentum, weight_decay=param.weight_decay
    )
    small.test_iter.append(1)
    small.test_interval = 1
    for phase, place in ((caffe_pb2.TRAIN, small.train_net_param), (caffe_pb2.TEST, small.test_net_param.add())):
        net = filter_net(written, caffe_pb2.NetState(phase=phase))
        shapes = {name: (*shape[:2], chosen.size, chosen.size) for name, shape in data_shapes(net).items()}
        if chosen.nets:
            shapes = {name: (1, *shape[1:]) for name, shape in shapes.items()}
        place.CopyFrom(measured.resized(with_inputs(net, shapes), chosen.size))
    predicted = training_need(small).peak
    row = {
        "part": "memory",
        "work": "stage 2 with its test net",
        "predicted_gb": predicted / 1e9,
        "assumed_beside_gb": CONTEXT / 1e9,
    }
    try:
        with contextlib.closing(get_solver(small, [], share=True, fill=False)) as solver:
            row["batch"] = solver.net.blobs["data"].shape[0]
            measured.draw_weights(solver.net)
            for net in (solver.net, *solver.test_nets):
                fill_inputs(net)
            solver.step(2)
            row |= memory_row(watch)
        if watch:
            row["measured_of_predicted"] = watch.peak / predicted
    except Exception as error:
        row["error"] = gpu_timing.told(error)
    gpu_timing.emit(**row)


def about(chosen) -> dict:
    """The device and all versions that figures depend on."""
    if chosen.device == "cpu":
        return {"device": "CPU", "numpy": np.__version__}
    cupy = kernels.array_module()
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    return {
        "device": runtime.getDeviceProperties(device.id)["name"].decode(),
        "compute_capability": str(device.compute_capability),
        "cuda": kernels.cuda_version(runtime.runtimeGetVersion()),
        "driver_cuda": kernels.cuda_version(runtime.driverGetVersion()),
        "cupy": cupy.__version__,
    }


def main() -> None:
    """Measure what is asked for."""
    chosen = parse(__doc__, ("nets", "kernels", "memory"))
    kernels.set_mode(chosen.device)
    gpu_timing.emit(part="about", **about(chosen))
    watch = watched_memory() if chosen.device == "gpu" else None
    with watch or contextlib.nullcontext():
        if chosen.what == "memory":
            measure_memory(watch, chosen)
            return
        device = Gpu() if chosen.device == "gpu" else gpu_timing.Cpu()
        if chosen.what == "nets":
            measure_nets(device, watch, chosen)
        else:
            measure_kernels(device, chosen)


if __name__ == "__main__":
    main()
