"""Products that are added to what is there: by BLAS in one pass, or as NumPy can."""

import numpy as np
import pytest
from arrays import host, numbers, put
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels
from deconvnet.core.kernels import blas

DTYPES = [np.float32, np.float64]


def laid_out(values, layout):
    """The same matrix as it is, as the transpose of one, or as a part of a wider one."""
    if layout == "transposed":
        return np.ascontiguousarray(values.T).T
    if layout == "part":
        wider = np.full((values.shape[0] + 1, values.shape[1] + 2), np.nan, values.dtype)
        wider[1:, 1:-1] = values
        return wider[1:, 1:-1]
    return values


@given(
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.sampled_from(["plain", "transposed", "part"])] * 2),
    st.sampled_from(["plain", "part"]),
    st.sampled_from(DTYPES),
)
def test_blas_adds_the_product_of_matrices_however_they_lie(sizes, layouts, layout, dtype):
    rows, depth, columns = sizes
    plain = [
        numbers(*shape, seed=n, dtype=dtype)
        for n, shape in enumerate([(rows, depth), (depth, columns), (rows, columns)])
    ]
    expected = plain[2] + plain[0] @ plain[1]
    a, b, out = map(laid_out, plain, (*layouts, layout))
    assert blas.add_product(a, b, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5 if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize(
    "matrices",
    {
        "other dtypes": (np.ones((2, 3)), np.ones((3, 4), np.float32), np.ones((2, 4))),
        "integers": (np.ones((2, 3), int), np.ones((3, 4), int), np.ones((2, 4), int)),
        "gaps": (np.ones((4, 6))[::2, ::2], np.ones((3, 4)), np.ones((2, 4))),
        "a transposed result": (np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 2)).T),
        "no depth": (np.ones((2, 0)), np.ones((0, 4)), np.ones((2, 4))),
        "stacks": (np.ones((5, 2, 3)), np.ones((5, 3, 4)), np.ones((5, 2, 4))),
        "sizes that do not fit": (np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))),
    }.values(),
    ids=str.split("dtypes integers gaps transposed empty stacks sizes"),
)
def test_what_blas_cannot_add_it_leaves_as_it_is(matrices):
    before = matrices[2].copy()
    assert not blas.add_product(*matrices)
    np.testing.assert_array_equal(matrices[2], before)


@pytest.mark.parametrize("has_cblas", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_is_added_with_and_without_cblas(device, monkeypatch, has_cblas, dtype):
    if not has_cblas:
        monkeypatch.setattr(blas, "_product_of", lambda dtype: None)
    a, b, c = numbers(4, 3, dtype=dtype), numbers(3, 5, dtype=dtype), numbers(4, 5, seed=1, dtype=dtype)
    target = put(c)
    kernels.matrix_product(put(a), put(b), target, add=True)
    np.testing.assert_allclose(host(target), c + a @ b, rtol=0, atol=1e-6 if dtype is np.float32 else 1e-14)
