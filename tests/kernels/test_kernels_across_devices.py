"""Every kernel on the CPU and on a GPU: the same results of the same calls."""

import kernel_calls
import numpy as np
import pytest

from deconvnet.core import kernels

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_kernel_gives_on_a_gpu_what_it_gives_on_the_cpu(gpu, dtype):
    expected, _ = kernel_calls.run(dtypes=[dtype])
    kernels.set_mode("gpu")
    found, _ = kernel_calls.run(dtypes=[dtype])
    assert expected.keys() == found.keys() and len(expected) > 100
    for name, values in expected.items():
        limit = TOLERANCE[dtype] * max(1, np.nanmax(np.abs(values), initial=0))
        np.testing.assert_allclose(found[name], values, rtol=TOLERANCE[dtype], atol=limit, err_msg=name)
