"""The kernels with blocks of 2 and 33 real threads, under ThreadSanitizer and AddressSanitizer, on tiny shapes.

On a CPU blocks have one thread and never meet a barrier or a race; this build of the same sources does (kernels/kernel.h).
"""

from concurrent.futures import ThreadPoolExecutor

import kernel_calls
import numpy as np
import pytest
import sanitized

from deconvnet.core.kernels import host_build, sources

# compiling takes the time, so doubles run in small blocks only
BUILDS = {(2, "thread"): ("float", "double"), (33, "thread"): ("float",), (33, "address"): ("float",)}
DTYPES = {"float": "float32", "double": "float64"}


def require(sanitizer):
    """Skip where the compiler came without the sanitizer."""
    if not sanitized.runtime(sanitizer):
        name, compiler = sanitized.RUNTIMES[sanitizer], host_build.compiler()
        pytest.skip(f"{compiler} came without {name}: install its sanitizer libraries (Debian: libgcc-*-dev)")


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory):
    """Where the libraries lie: in pytest's cache, so that the next run finds them there."""
    cache = getattr(request.config, "cache", None)
    return cache.mkdir("sanitizers") if cache else tmp_path_factory.mktemp("sanitizers")


@pytest.fixture(scope="module")
def libraries(folder):
    """{(threads, sanitizer): library}, two compiled at a time; those of earlier sources are removed."""
    builds = [build for build in BUILDS if sanitized.runtime(build[1])]
    with ThreadPoolExecutor(2) as pool:
        libraries = pool.map(lambda build: host_build.build(folder, *build, BUILDS[build]), builds)
        built = dict(zip(builds, libraries, strict=True))
    for file in set(folder.glob("*.so")) - set(built.values()):
        file.unlink(missing_ok=True)
    return built


@pytest.fixture(scope="module")
def expected():
    """What the fast build computes."""
    return kernel_calls.run()[0]


def test_every_kernel_is_called():
    """The list of calls is complete, and each call runs the kernels it stands for."""
    assert set(kernel_calls.CALLS) == set(sources.signatures())
    for name in kernel_calls.CALLS:
        assert name in kernel_calls.run(name)[1]


@pytest.mark.parametrize("threads, sanitizer", BUILDS)
def test_blocks_of_real_threads_compute_the_same_without_a_race(libraries, expected, tmp_path, threads, sanitizer):
    require(sanitizer)
    dtypes = [DTYPES[real] for real in BUILDS[threads, sanitizer]]
    options = ("--dtypes", ",".join(dtypes))
    done = sanitized.run(libraries[threads, sanitizer], sanitizer, tmp_path / "results.npz", *options)
    assert done.returncode == 0, done.stderr[-6000:]
    with np.load(tmp_path / "results.npz") as results:
        assert set(results.files) == {name for name in expected if name.split("/")[1] in dtypes}
        for name in results.files:
            tolerance = 1e-5 if "float32" in name else 1e-12
            np.testing.assert_allclose(results[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


ZEROING = "    for_threads(i, size) to[i] = 0;\n    sync_block();\n"
MISTAKES = {
    "thread": (2, ZEROING.replace("    sync_block();\n", ""), "data race"),
    "address": (33, ZEROING.replace("size)", "size + 9)"), "heap-buffer-overflow"),
}


@pytest.mark.parametrize("sanitizer", MISTAKES)
def test_a_forgotten_barrier_or_a_write_beyond_the_plane_fails(tmp_path, sanitizer):
    """The proof of the harness; tests/mutate_kernels.py forgets every barrier of every kernel."""
    require(sanitizer)
    source = (sources.FOLDER / "unpooling.cu").read_text()
    threads, mistake, said = MISTAKES[sanitizer]
    assert source.count(ZEROING) == 1
    options = ("--threads", str(threads), "--sanitizer", sanitizer)
    library = sanitized.build_changed(tmp_path, "unpooling.cu", source.replace(ZEROING, mistake), *options)
    options = ("--only", "unpool_forward", "--dtypes", "float32")
    done = sanitized.run(library, sanitizer, tmp_path / "results.npz", *options)
    assert done.returncode == sanitized.FOUND_SOMETHING, done.stderr[-3000:]
    assert said in done.stderr and "unpool_forward" in done.stderr
