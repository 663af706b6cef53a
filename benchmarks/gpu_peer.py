"""One process, PyTorch on one device: the same figures as gpu_ours.py, as JSON lines. Runs in an environment that has torch.

    python benchmarks/gpu_peer.py nets|kernels [--device gpu|cpu] [--precision float32|tf32|bfloat16] [--layout channels_last] [--compile]

cuDNN may try its algorithms and keep the fastest; inputs lie on the device and no loss is fetched, as a benchmark of PyTorch would have it.
"""

import contextlib
import gc
import resource
from functools import partial

import gpu_timing
import torch
from gpu_cases import CLASSES, COPIED, PHOTO, PRODUCT, kernel_cases, parameters_of_net, proposals
from gpu_worker import nets_of, parse
from peer_pytorch import DeconvNet
from torch.nn import functional

HELD = 1 << 26  # values whose copy keeps the device busy


class Gpu:
    """Events of PyTorch."""

    def __init__(self):
        # early versions do not tell it
        self.l2_bytes = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 1 << 26)
        self._copy: tuple | None = None

    def event(self):
        """What the device reaches when it has done all that was queued before."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, first, last) -> float:
        """Between two events that have been reached."""
        return first.elapsed_time(last) / 1e3

    def synchronize(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize()

    def hold(self, seconds: float) -> None:
        """Keep it busy for about so long."""
        if self._copy is None:
            x, y = (torch.zeros(HELD, device="cuda") for _ in range(2))
            copy = partial(y.copy_, x)
            self._copy = copy, gpu_timing.time_steps(self, copy, 0)["ms"] / 1e3
        copy, once = self._copy
        for _ in range(int(seconds / once) + 1):
            copy()


# ------------------------------------------------------------------------------------------------------------- the kernels


class Drawn:
    """Drawn tensors of one device and type."""

    def __init__(self, chosen):
        self.device = "cuda" if chosen.device == "gpu" else "cpu"
        self.dtype = torch.bfloat16 if chosen.precision == "bfloat16" else torch.float32

    def __call__(self, *shape: int, learned: bool = False):
        return torch.randn(shape, device=self.device, dtype=self.dtype).requires_grad_(learned)

    def labels(self, *shape: int):
        """Numbers of classes."""
        return torch.randint(CLASSES, shape, device=self.device)


def gradient(y, of):
    """A call of the backward pass from y to `of`, y's graph kept."""
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, of, dy, retain_graph=True)


def map_makers(drawn: Drawn) -> dict:
    """Of what moves values: functions that make a call for a case."""

    def normalised(case, learned=False):
        """What batch norm takes: x, running mean and variance, scale and shift."""
        statistics = torch.zeros(case.channels, device=drawn.device), torch.ones(case.channels, device=drawn.device)
        affine = drawn(case.channels, learned=learned), drawn(case.channels, learned=learned)
        return drawn(*case.shape, learned=learned), *statistics, *affine, True

    def pooled(case, learned=False):
        x = drawn(*case.shape, learned=learned)
        return x, *functional.max_pool2d(x, 2, 2, return_indices=True)

    def relu_backward(case):
        dy, y = drawn(*case.shape), drawn(*case.shape)
        return lambda: torch.ops.aten.threshold_backward(dy, y, 0)

    def batch_norm_backward(case, rectified=False):
        given = normalised(case, learned=True)
        y = functional.batch_norm(*given)
        return gradient(functional.relu(y, inplace=True) if rectified else y, (given[0], given[3], given[4]))

    def batch_norm_relu(case, pool=False):
        given = normalised(case)

        def run():
            y = functional.relu(functional.batch_norm(*given), inplace=True)
            return functional.max_pool2d(y, 2, 2, return_indices=True) if pool else y

        return run

    def max_pool_backward(case):
        x, y, _ = pooled(case, learned=True)
        return gradient(y, x)

    def unpool(case):
        _, y, switches = pooled(case)
        return lambda: functional.max_unpool2d(y, switches, 2, 2)

    def unpool_backward(case):
        _, y, switches = pooled(case)
        y.requires_grad_()
        return gradient(functional.max_unpool2d(y, switches, 2, 2), y)

    def bias(case):
        values, y = drawn(1, case.channels, 1, 1), drawn(*case.shape)
        return lambda: y.add_(values)

    return {
        "relu": lambda case: partial(torch.relu, drawn(*case.shape)),
        "relu backward": relu_backward,
        "batch norm": lambda case: partial(functional.batch_norm, *normalised(case)),
        "batch norm backward": batch_norm_backward,
        "batch norm + relu": batch_norm_relu,
        "batch norm + relu backward": partial(batch_norm_backward, rectified=True),
        "batch norm + relu + max pool": partial(batch_norm_relu, pool=True),
        "max pool with switches": lambda case: partial(
            functional.max_pool2d, drawn(*case.shape), 2, 2, return_indices=True
        ),
        "max pool backward": max_pool_backward,
        "unpool": unpool,
        "unpool backward": unpool_backward,
        "dropout": lambda case: partial(functional.dropout, drawn(*case.shape), 0.5, training=True),
        "bias": bias,
        "bias backward": lambda case: partial(torch.sum, drawn(*case.shape), (0, 2, 3)),
    }


def product_makers(drawn: Drawn) -> dict:
    """Of convolutions and deconvolutions."""

    def parts(case, transposed):
        """x, weights, y, padding of a convolution or deconvolution."""
        if case.level < 6:
            return drawn(*case.shape), drawn(case.channels, case.channels, 3, 3), drawn(*case.shape), 1
        whole, point, weights = (
            drawn(*case.shape),
            drawn(case.batch, 4096, 1, 1),
            drawn(4096, case.channels, case.size, case.size),
        )
        return (point, weights, whole, 0) if transposed else (whole, weights, point, 0)

    def maker(transposed, way):
        def make(case):
            x, weights, y, pad = parts(case, transposed)
            if way == "":
                return partial(
                    functional.conv_transpose2d if transposed else functional.conv2d, x, weights, padding=pad
                )
            return backward_of(x, weights, y, pad, way == " backward, data", transposed)

        return make

    def unpool_and_transform(case):
        x, weights, _, pad = parts(case, True)
        values, switches = functional.max_pool2d(x, 2, 2, return_indices=True)
        return lambda: functional.conv_transpose2d(
            functional.max_unpool2d(values, switches, 2, 2), weights, padding=pad
        )

    ways = ("", " backward, data", " backward, weights")
    made = {f"convolution{way}": maker(False, way) for way in ways}
    return (
        made
        | {f"deconvolution{way}": maker(True, way) for way in ways}
        | {"unpool + deconvolution": unpool_and_transform}
    )


def backward_of(x, weights, dy, pad: int, data: bool, transposed: bool, stride: int = 1, groups: int = 1):
    """A call of one of the gradients of a convolution or deconvolution."""
    geometry = [stride] * 2, [pad] * 2, [1, 1], transposed, [0, 0], groups
    return lambda: torch.ops.aten.convolution_backward(dy, x, weights, None, *geometry, [data, not data, False])


def other_makers(drawn: Drawn, size: int) -> dict:
    """Of the loss, the accuracy, bilinear upsampling and the update of all parameters."""

    def labelled(case, learned=False):
        return drawn(*case.shape, learned=learned), drawn.labels(case.batch, case.size, case.size)

    def softmax_loss(case):
        return partial(functional.cross_entropy, *labelled(case), ignore_index=255)

    def softmax_loss_backward(case):
        scores, labels = labelled(case, learned=True)
        return gradient(functional.cross_entropy(scores, labels, ignore_index=255), scores)

    def accuracy(case):
        scores, labels = labelled(case)
        return lambda: scores.argmax(1) == labels

    def upsampling(case, backward=False):
        x = drawn(case.batch, CLASSES, case.size // 2, case.size // 2)
        weights = drawn(CLASSES, 1, 4, 4)
        if backward:
            return backward_of(x, weights, drawn(*case.shape), 1, True, True, 2, CLASSES)
        return partial(functional.conv_transpose2d, x, weights, stride=2, padding=1, groups=CLASSES)

    def sgd_update(case, fused=None):
        with torch.device("meta"):
            shapes = [parameter.shape for parameter in DeconvNet(True, size).parameters()]
        parameters = [drawn(*shape) for shape in shapes]
        assert sum(parameter.numel() for parameter in parameters) == parameters_of_net(size)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        return optimizer(parameters, fused).step

    return {
        "softmax loss": softmax_loss,
        "softmax loss backward": softmax_loss_backward,
        "accuracy": accuracy,
        "upsampling": upsampling,
        "upsampling backward, data": partial(upsampling, backward=True),
        "sgd update": sgd_update,
        "sgd update, fused": partial(sgd_update, fused=True),
    }


def optimizer(parameters, fused: bool | None = None):
    """SGD as the paper trains; fused: the one of a single pass, else what PyTorch chooses by itself."""
    return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=0.0005, fused=fused)


def measure_limits(device, drawn: Drawn, chosen) -> None:
    """What this device can do: the rate of a copy, and of a product in the precision."""
    values, side = (1 << 20, 128) if chosen.device == "cpu" else (COPIED, PRODUCT)
    if chosen.precision == "float32":
        x, y = drawn(values), drawn(values)
        copied = gpu_timing.time_calls(device, [partial(y.copy_, x)], chosen.seconds)
        gpu_timing.emit(part="limit", name="copy", gb_s=8 * values / copied["ms"] / 1e6, **copied)
        del x, y
    a, b, c = (drawn(side, side) for _ in range(3))
    product = gpu_timing.time_calls(device, [lambda: torch.matmul(a, b, out=c)], chosen.seconds)
    rate = 2 * side**3 / product["ms"] / 1e9
    gpu_timing.emit(part="limit", name=f"product {chosen.precision}", tflop_s=rate, **product)


def measure_kernels(device, chosen) -> None:
    """Every kernel; in another precision than float32 the products alone."""
    drawn = Drawn(chosen)
    measure_limits(device, drawn, chosen)
    makers = product_makers(drawn)
    if chosen.precision == "float32":
        makers |= map_makers(drawn) | other_makers(drawn, chosen.size)
    cases = kernel_cases(chosen.batch, chosen.size)
    for row in gpu_timing.time_cases(device, cases, makers, mode_of(chosen), chosen.seconds, partial(release, chosen)):
        gpu_timing.emit(**row)


# ---------------------------------------------------------------------------------------------------------------- the net


def mode_of(chosen) -> str:
    """How this side computes, in words."""
    way = "compile" if chosen.compile else "channels_last" if chosen.layout == "channels_last" else "eager"
    return f"{way} {chosen.precision}"


def release(chosen) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if chosen.device == "gpu":
        torch.cuda.empty_cache()


def image_step(scored, count: int, size: int, place: str):
    """The way of an image with so many windows from the host and back to it, as classes; scored: the net."""
    photo, boxes, (height, width) = torch.randint(0, 256, (*PHOTO, 3), dtype=torch.uint8), proposals(count), PHOTO
    resized = partial(functional.interpolate, mode="bilinear", antialias=True)

    @torch.no_grad()
    def step():
        image, windows = photo.to(place).permute(2, 0, 1)[None].float(), []
        for x1, y1, x2, y2 in boxes:  # padding below zero cuts off
            crop = functional.pad(image, (-x1, x2 + 1 - width, -y1, y2 + 1 - height))
            windows.append(resized(crop, (size, size)))
        maps, canvas = scored(torch.cat(windows)), torch.zeros(CLASSES, height, width, device=place)
        for scores, (x1, y1, x2, y2) in zip(maps, boxes, strict=True):
            grown = resized(scores[None], (y2 + 1 - y1, x2 + 1 - x1))[0]
            top, bottom, left, right = max(y1, 0), min(y2 + 1, height), max(x1, 0), min(x2 + 1, width)
            canvas[:, top:bottom, left:right] += grown[:, top - y1 : bottom - y1, left - x1 : right - x1]
        return canvas.argmax(0).byte().cpu()

    return step


def measure_net(device, work: str, batch: int, chosen) -> dict:
    """A row of the whole net: forward, an image's way through it, or forward, backward and update."""
    place = "cuda" if chosen.device == "gpu" else "cpu"
    training = work == "training"
    layout = torch.channels_last if chosen.layout == "channels_last" else torch.contiguous_format
    net = DeconvNet(training, chosen.size).train(training).to(place, memory_format=layout)
    x = (torch.randn(batch, 3, chosen.size, chosen.size, device=place) * 50).contiguous(memory_format=layout)
    labels = torch.randint(CLASSES, (batch, chosen.size, chosen.size), device=place)
    update = optimizer(net.parameters(), fused=True) if training else None
    computed = torch.compile(net) if chosen.compile else net
    cast = torch.autocast(place, dtype=torch.bfloat16) if chosen.precision == "bfloat16" else contextlib.nullcontext()

    def step():
        with torch.set_grad_enabled(training):
            with cast:
                scores = computed(x)
                loss = functional.cross_entropy(scores, labels, ignore_index=255) if training else None
            if training:
                update.zero_grad(set_to_none=True)
                loss.backward()
                update.step()

    if work == "image":

        def scored(windows):
            with cast:
                return computed(windows.contiguous(memory_format=layout)).float()

        step = image_step(scored, batch, chosen.size, place)
    for _ in range(3):  # cuDNN tries its algorithms, torch.compile compiles: what that takes is not the net's
        step()
    release(chosen)
    if chosen.device == "gpu":
        torch.cuda.reset_peak_memory_stats()
    found = gpu_timing.time_steps(device, step, chosen.seconds)
    if chosen.device == "cpu":
        return found | {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    free, whole = torch.cuda.mem_get_info()
    arrays, pool = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return found | {"arrays_gb": arrays / 1e9, "pool_gb": pool / 1e9, "device_gb": (whole - free) / 1e9}


def measure_nets(device, chosen) -> None:
    """Every batch; one that fails becomes a row that says why."""
    for work, batch in nets_of(chosen):
        row = {"part": "net", "mode": mode_of(chosen), "work": work, "batch": batch}
        try:
            row |= measure_net(device, work, batch, chosen)
            row["images_s"] = batch / row["ms"] * 1e3
        except Exception as error:  # whatever it is, the other batches are worth having
            row["error"] = gpu_timing.told(error)
        if chosen.compile:
            torch.compiler.reset()
        release(chosen)
        gpu_timing.emit(**row)


def main() -> None:
    """Measure what is asked for."""
    chosen = parse(__doc__, ("nets", "kernels"), peer=True)
    torch.manual_seed(0)
    tf32 = chosen.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    found = {"torch": torch.__version__}
    if chosen.device == "gpu":
        found |= {"cudnn": str(torch.backends.cudnn.version()), "torch_cuda": torch.version.cuda}
    gpu_timing.emit(part="about", **found)
    device = Gpu() if chosen.device == "gpu" else gpu_timing.Cpu()
    (measure_nets if chosen.what == "nets" else measure_kernels)(device, chosen)


if __name__ == "__main__":
    main()
