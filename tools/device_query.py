"""Print the GPUs that are there, and whether our kernels run on them.

    python tools/device_query.py

Of each: name, compute capability, memory, and whether a few kernels and a product give there what the CPU gives. The versions of the
driver's CUDA, of CuPy's and of CuPy come first. Without a GPU one line says why; exit status 1 there, and where a kernel fails.
"""

import argparse
import sys

import command_line
import numpy as np

from deconvnet.core import kernels

TOLERANCE = 1e-4


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    kernels.set_mode("gpu")
    cupy = kernels.array_module()
    runtime = cupy.cuda.runtime
    driver, own = (kernels.cuda_version(number()) for number in (runtime.driverGetVersion, runtime.runtimeGetVersion))
    print(f"driver for CUDA {driver}, CUDA {own}, CuPy {cupy.__version__}")
    works = [show(cupy, number) for number in range(runtime.getDeviceCount())]
    if not all(works):
        sys.exit(1)


def show(cupy, number):
    """Print one GPU; whether our kernels run on it."""
    kernels.set_gpu(number)
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
    capability = cupy.cuda.Device(number).compute_capability
    free, whole = kernels.gpu_memory()
    print(f"GPU {number}: {name}, compute capability {capability[:-1]}.{capability[-1]}")
    print(f"  memory    {whole / 1e9:.1f} GB, {free / 1e9:.1f} GB free")
    try:
        off = difference()
    except Exception as error:  # whatever it is, the next GPU is looked at too
        print(f"  kernels   fail: {error}")
        return False
    print(f"  kernels   {'run' if off < TOLERANCE else 'give other values than the CPU'} (difference {off:.1g})")
    return off < TOLERANCE


def difference():
    """The largest between what the GPU and what the CPU makes of a convolution, a pooling with switches and an unpooling."""
    on_gpu = computed(kernels.array_module())
    return max(np.abs(kernels.to_host(a) - b).max() for a, b in zip(on_gpu, computed(np), strict=True))


def computed(module):
    """Arrays of one kind of device, from the same numbers on each."""
    draw = np.random.default_rng(0)
    x, weights = (
        module.asarray(draw.standard_normal(shape).astype(np.float32)) for shape in ((2, 4, 9, 8), (6, 4, 3, 3))
    )
    y, up = (module.empty((2, 6, 9, 8), np.float32) for _ in range(2))
    pooled, switches = (module.empty((2, 6, 5, 4), np.float32) for _ in range(2))
    kernels.conv_forward(x, weights, None, kernels.Geometry((3, 3), pad=(1, 1)), y)
    window = kernels.Window((2, 2), (2, 2))
    kernels.max_pool(y, window, pooled, switches)
    kernels.unpool(pooled, switches, up, distinct=True, window=window)
    return y, pooled, up


if __name__ == "__main__":
    command_line.run(main)
