# make demo         the main job in small: data, training, segmentation, a score and demo/report.png
# make test         lint, then every test; kernels are compiled for two GPU architectures in it
# make cuda-check   compile every kernel for ten GPU architectures, no GPU needed, with registers, shared memory and spills of each; then
#                   the tests of `make gpu` on a machine in the GPU's place that runs the compiled kernels, instruction by instruction
# make gpu          on a machine with a GPU, no network and its own Python packages: the tests on it (gpu-tests, GPU_SECONDS=N at most),
#                   then compute-sanitizer over the kernels (gpu-sanitized)
# make bench-gpu    there: the full net and every kernel beside PyTorch, into benchmarks/results/gpu.json (docs/gpu.md) or RESULT=FILE;
#                   ONLY=STAGE,... some
# make bench        time the full DeconvNet and well-known nets on the CPU, beside PyTorch where `make bench-peers` has installed it, and
#                   beside Caffe 1.0 where `make caffe-peer` has; ONLY=deconvnet, ONLY=nets
# make reproduce    the paper's Table 1 and its ablations in small, in about an hour of processor time; goes on where it was stopped
# make reproduce-voc  the same at full scale: VOC=/path/to/VOCdevkit VGG=/path/to/weights [SBD=...] [GPU=0] [PLAN=1]
# make against-caffe  drawn nets and solvers of every type through Caffe 1.0 itself and ours, compared; CAFFE_PYTHON is a Python from 3.6 to
#                   3.9, for which PyPI has a Caffe (COUNT=N of each type, SEED=N, TYPES="Pooling LSTM")
# make fuzz         damaged input of every kind, for some minutes and from other seeds than `make test` takes (FUZZ_EXAMPLES=N of each)
# make clean        remove the virtual environments and what was built
# PYTHON=... chooses the interpreter of the virtual environment, GPU_PYTHON=... that of `make gpu` and `make bench-gpu`.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
GPU_PYTHON ?= python3
GPU_SECONDS ?= 1200
CAFFE_PYTHON ?= python3.9
# what a GPU has a part in; the sanitizers of the host and the mutations have none
GPU_TESTS := tests/kernels tests/layers tests/net tests/solver tests/blob \
	--ignore tests/kernels/test_sanitizers.py --ignore tests/kernels/test_mutations.py --ignore tests/kernels/test_ptx.py
# a test file stays in one process, which makes its fixtures once
PROCESSES := -n auto --maxprocesses 8 --dist loadfile
FUZZ_EXAMPLES ?= 10000
BIN := .venv/bin

.PHONY: demo test cuda-check gpu gpu-tests gpu-sanitized bench-gpu bench bench-peers against-caffe caffe-peer fuzz reproduce reproduce-voc clean
# an installation that failed half-way is not taken for a finished one
.DELETE_ON_ERROR:

demo: .venv/installed-demo
	$(BIN)/python tools/demo.py

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -x -q $(PROCESSES)

cuda-check: .venv/installed-test
	$(BIN)/python tools/cuda_check.py
	$(BIN)/python -m pytest -q $(PROCESSES) --device ptx $(GPU_TESTS)

fuzz: .venv/installed-test
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -q tests/test_fuzz.py

reproduce: .venv/installed-reproduce
	$(BIN)/python tools/reproduce.py

reproduce-voc: .venv/installed-reproduce
	@test -n "$(VOC)" || { echo "say where PASCAL VOC 2012 lies: VOC=/path/to/VOCdevkit make reproduce-voc" >&2; exit 1; }
	$(BIN)/python tools/reproduce_voc.py --voc "$(VOC)" $(if $(VGG),--vgg "$(VGG)") $(if $(SBD),--sbd "$(SBD)") \
		$(if $(GPU),--gpu $(GPU)) $(if $(PLAN),--plan)

bench: .venv/installed-demo
	for suite in $(or $(ONLY),deconvnet nets); do \
		$(BIN)/python benchmarks/compare_cpu.py $$suite --check $(if $(wildcard .venv-peers/installed),--peer .venv-peers/bin/python) \
		$(if $(wildcard .venv-caffe/installed),--caffe .venv-caffe/bin/python) \
		|| exit 1; done

bench-peers: .venv-peers/installed

against-caffe: .venv/installed-test .venv-caffe/installed
	$(BIN)/python tests/against_caffe/compare.py --caffe .venv-caffe/bin/python --count $(or $(COUNT),20) --seed $(or $(SEED),1) $(TYPES)

caffe-peer: .venv-caffe/installed

gpu:
	$(MAKE) gpu-tests
	$(MAKE) gpu-sanitized

# without a GPU device_query.py stops them in one line
gpu-tests gpu-sanitized bench-gpu: export PYTHONPATH := $(CURDIR)
# asked to end, pytest says what failed until then; a kernel that hangs is told by where Python waits for it
gpu-tests:
	$(GPU_PYTHON) kernels/host_build.py
	$(GPU_PYTHON) tools/device_query.py
	PYTHONUNBUFFERED=1 timeout --signal INT --kill-after 30 $(GPU_SECONDS) \
		$(GPU_PYTHON) -m pytest -q --maxfail=20 --tb=short -o faulthandler_timeout=60 --device gpu $(GPU_TESTS)

gpu-sanitized:
	$(GPU_PYTHON) tools/device_query.py
	$(GPU_PYTHON) tests/sanitized_gpu.py

bench-gpu:
	$(GPU_PYTHON) kernels/host_build.py
	$(GPU_PYTHON) benchmarks/compare_gpu.py --peer $(GPU_PYTHON) $(if $(ONLY),--only "$(ONLY)") $(if $(COMMIT),--commit "$(COMMIT)") \
		$(if $(RESULT),--out "$(RESULT)")

.venv/installed-%: setup.py pyproject.toml | .venv/bin/python
	@echo "installing deconvnet and what it needs for '$*' into .venv (once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# the kernels come first: a missing compiler is said before anything is downloaded
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "no Python from 3.10 to 3.13 found: install python3.11 or set PYTHON" >&2; exit 1; }
	@$(PYTHON) kernels/host_build.py >/dev/null
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv-peers/installed:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check numpy torch==2.13.0
	@touch $@

# a Caffe 1.0 for the CPU with all that it needs inside; its Python packages as they were in 2021
.venv-caffe/installed:
	$(CAFFE_PYTHON) -m venv .venv-caffe
	.venv-caffe/bin/python -m pip install --quiet --disable-pip-version-check kendryte-caffe==1.0.0.20210829 \
		'numpy<1.24' 'scipy<1.10' 'scikit-image<0.20' 'protobuf<3.21'
	@touch $@

clean:
	rm -rf .venv .venv-peers .venv-caffe build dist deconvnet.egg-info kernels/libkernels-* .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
