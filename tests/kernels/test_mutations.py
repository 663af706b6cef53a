"""The list of tests/mutate_kernels.py fits the sources: it takes minutes to run, this takes none."""

import mutate_kernels
import pytest
from mutate_kernels import MUTATIONS, Mutation

from deconvnet.core.kernels import sources


def test_every_kernel_has_a_mutation():
    assert set(sources.signatures()) <= {mutation.kernel for mutation in MUTATIONS}


def test_every_mutation_finds_its_place_and_changes_its_kernel_alone():
    for mutation in MUTATIONS:
        file, text = mutate_kernels.find(mutation)
        source = file.read_text()
        assert len(text) - len(source) == len(mutation.new) - len(mutation.old) and text != source
        start, end = mutate_kernels.places(source)[mutation.kernel]
        assert text[:start] == source[:start] and text.endswith(source[end:])


def test_no_mutation_stands_twice():
    assert len(set(MUTATIONS)) == len(MUTATIONS)


def test_every_kernel_file_has_tests_to_run():
    assert set(mutate_kernels.TESTS) == {
        file.stem for file in [*sources.cuda_files(), *sources.headers()] if file.name != "kernel.h"
    }


def test_a_mutation_without_a_place_is_named():
    with pytest.raises(ValueError, match="relu_backward has 'nowhere' 0 times, not once"):
        mutate_kernels.find(Mutation("relu_backward", "nowhere", ""))
    with pytest.raises(ValueError, match="no kernel or device function is called relu_sideways"):
        mutate_kernels.find(Mutation("relu_sideways", "x", "y"))
