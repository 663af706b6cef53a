"""Weights in and out of a net: every form, what a load reports, and files that are broken, foreign or from training."""

import json
import os
import shutil
import tracemalloc
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from deconvnet.core import proto
from deconvnet.core.net import Net, NetError
from deconvnet.core.net.wire import header
from deconvnet.core.proto import caffe_pb2

GOLDEN = Path(__file__).parents[1] / "golden"
FORMS = ["w.caffemodel", "w.caffemodel.h5", "w.npz", "w.safetensors"]
NET = """
name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "block/bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 2 } } }
"""
INFERENCE = NET.replace('type: "BN"', 'type: "BN" bn_param { bn_mode: INFERENCE }')


def build(text=NET, weights=None, seed=1, dtype=np.float32):
    return Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST, weights, seed=seed, dtype=dtype)


def values(net):
    return {f"{layer}/{i}": blob.data.copy() for layer, blobs in net.params.items() for i, blob in enumerate(blobs)}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def write_safetensors(path, header, numbers=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + numbers)


def of_one_layer(path, blob, name="ip", **fields):
    """A .caffemodel of today with one layer that holds one blob."""
    net = caffe_pb2.NetParameter()
    net.layer.add(name=name, **fields).blobs.add().CopyFrom(blob)
    path.write_bytes(net.SerializeToString())
    return path


ONE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 bias_term: false } }
"""


# ------------------------------------------------------------------------------------------------------------ forms


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_saved_comes_back_to_the_bit(tmp_path, form, dtype):
    saved = build(dtype=dtype)
    for blobs in saved.params.values():
        for blob in blobs:
            blob.data[...] = np.random.default_rng(blob.count).standard_normal(blob.shape, np.float32)
    saved.save(tmp_path / form)
    loaded = build(weights=tmp_path / form, seed=2, dtype=dtype)
    assert_equal(values(loaded), values(saved))
    assert loaded.loaded.matched and not loaded.loaded.missing


def test_load_hdf5_reads_what_save_hdf5_wrote(tmp_path):
    saved, loaded = build(), build(seed=2)
    saved.save_hdf5(tmp_path / "w")
    loaded.load_hdf5(tmp_path / "w")
    assert_equal(values(loaded), values(saved))


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_known_by_the_files_first_bytes_whatever_its_name(tmp_path, form):
    if form.endswith(".safetensors"):  # it has no mark of its own
        return
    saved = build()
    saved.save(tmp_path / form)
    shutil.move(tmp_path / form, tmp_path / "weights.bin")
    assert_equal(values(build(weights=tmp_path / "weights.bin", seed=2)), values(saved))


def test_arrays_are_named_by_layer_and_number(tmp_path):
    net = build()
    net.save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        assert_equal(dict(arrays), values(net))
    net.save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert_equal({name: file["data"][name][()] for name in values(net)}, values(net))


def test_safetensors_are_a_length_a_json_header_and_the_numbers(tmp_path):
    net = build()
    net.save(tmp_path / "w.safetensors")
    stored = (tmp_path / "w.safetensors").read_bytes()
    start = 8 + int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8:start])
    assert start % 8 == 0
    assert header.pop("__metadata__") == {"block/bn": "bn_mode: LEARN"}
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32"
        found[name] = np.frombuffer(stored[start + begin : start + end], "<f4").reshape(entry["shape"])
    assert_equal(found, values(net))


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_safetensors_of_other_precisions_are_read(tmp_path, kind):
    numbers = np.array([[1, -2.5, 0], [4096, 0.125, -1]], np.float32)  # exact in each of them
    stored = {"F64": numbers.astype("<f8"), "F32": numbers, "F16": numbers.astype("<f2")}.get(kind)
    stored = (numbers.view(np.uint32) >> 16).astype("<u2") if stored is None else stored
    header = {"ip/0": {"dtype": kind, "shape": [2, 3], "data_offsets": [0, stored.nbytes]}}
    write_safetensors(tmp_path / "w.safetensors", header, stored.tobytes())
    np.testing.assert_array_equal(build(ONE, tmp_path / "w.safetensors").params["ip"][0].data, numbers)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_as_numpy_writes_it_is_read(tmp_path, save, dtype, order):
    numbers = np.asarray(np.arange(6).reshape(2, 3), dtype, order)
    save(tmp_path / "w.npz", **{"ip/0": numbers})
    np.testing.assert_array_equal(build(ONE, tmp_path / "w.npz").params["ip"][0].data, numbers)


def test_the_numbers_of_a_blob_may_lie_packed_in_parts_or_one_by_one_in_float_or_double(tmp_path):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    shape = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2, 3])).SerializeToString()
    for key, dtype in ((5, "<f4"), (8, "<f8")):
        flat = numbers.ravel().astype(dtype)
        size = flat.itemsize
        single = b"".join(bytes([key << 3 | (5 if size == 4 else 1)]) + flat[i : i + 1].tobytes() for i in range(6))
        parts = b"".join(bytes([key << 3 | 2, 3 * size]) + flat[i : i + 3].tobytes() for i in (0, 3))
        mixed = single[: 2 * (size + 1)] + bytes([key << 3 | 2, size]) + flat[2:3].tobytes() + single[3 * (size + 1) :]
        for numbers_field in (single, parts, mixed):
            layer = b"\x0a\x02ip\x3a" + bytes([len(shape + numbers_field)]) + shape + numbers_field
            (tmp_path / "w.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
            np.testing.assert_array_equal(build(ONE, tmp_path / "w.caffemodel").params["ip"][0].data, numbers)


@pytest.mark.parametrize("form", FORMS)
def test_a_load_makes_no_second_copy_of_a_large_parameter(tmp_path, form):
    text = ONE.replace("dim: 3", "dim: 1000000").replace("num_output: 2", "num_output: 10")
    build(text).save(tmp_path / form)
    net = build(text)
    tracemalloc.start()
    net.copy_from(tmp_path / form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * net.params["ip"][0].data.nbytes


# ----------------------------------------------------------------------------------------------------------- report


def test_the_report_names_what_was_matched_coerced_left_and_ignored(tmp_path):
    other = NET.replace('name: "ip"', 'name: "fc"')
    build(other).save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as arrays:
        stored = dict(arrays)
    stored["conv/0"] = stored["conv/0"].reshape(4, 27)
    np.savez(tmp_path / "w.npz", **stored)
    report = build().copy_from(tmp_path / "w.npz")
    assert set(report.matched) == {"conv", "block/bn"}
    assert (report.coerced, report.missing, report.ignored) == (["conv"], ["ip"], ["fc"])
    assert (
        str(report) == "2 layers loaded; 1 of another shape (conv); 1 left at their filler (ip); 1 not in this net (fc)"
    )


def test_leading_ones_are_no_other_shape(tmp_path):
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    report = build(ONE).copy_from(of_one_layer(tmp_path / "w.caffemodel", blob))
    assert (report.matched, report.coerced) == (["ip"], [])


def test_layers_that_the_file_lacks_start_as_they_would_without_a_file(tmp_path):
    build(ONE.replace('"ip"', '"conv"').replace("dim: 3", "dim: 1")).save(tmp_path / "w.caffemodel")
    text = ONE + ONE.replace('"ip"', '"conv"').replace('"data"', '"one"').replace("dim: 3", "dim: 1")
    text = text.replace("bias_term: false", 'weight_filler { type: "gaussian" std: 1 }  bias_term: false')
    untouched, loaded = build(text), build(text, tmp_path / "w.caffemodel")
    assert loaded.loaded.missing == ["ip"]
    np.testing.assert_array_equal(loaded.params["ip"][0].data, untouched.params["ip"][0].data)
    assert untouched.params["ip"][0].data.any()


SHARED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 3 } } }
"""


def test_a_shared_parameter_that_the_file_lacks_is_its_owners_as_caffes_hdf5_has_it(tmp_path):
    saved = build(SHARED)
    saved.save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["data/b/0"]
    loaded = build(SHARED, tmp_path / "w.h5", seed=2)
    assert_equal(values(loaded), values(saved))
    assert loaded.loaded.missing == []


def test_a_layer_that_shares_all_it_misses_keeps_what_its_owner_loaded(tmp_path):
    saved = build(SHARED)
    saved.save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["data/b"]
    loaded = build(SHARED, tmp_path / "w.h5", seed=2)
    np.testing.assert_array_equal(loaded.params["b"][0].data, saved.params["a"][0].data)
    np.testing.assert_array_equal(loaded.params["b"][1].data, 3)
    assert loaded.loaded.missing == ["b"]


# ------------------------------------------------------------------------------------------ training and inference


@pytest.mark.parametrize("form", FORMS)
def test_a_training_snapshot_in_an_inference_net_is_recognised_and_said(tmp_path, form):
    build().save(tmp_path / form)
    with pytest.warns(UserWarning, match=rf"{form}: its batch norms \(block/bn\) .*tools/fold_batch_norm.py"):
        net = build(INFERENCE, tmp_path / form)
    assert net.loaded.unfolded == ["block/bn"]
    assert "1 batch norms not folded (block/bn)" in str(net.loaded)


@pytest.mark.parametrize("form", FORMS)
def test_a_folded_file_in_a_training_net_is_recognised_and_said(tmp_path, form):
    build(INFERENCE).save(tmp_path / form)
    with pytest.warns(UserWarning, match=rf"{form}: its batch norms \(block/bn\) are folded .* as they were trained"):
        net = build(NET, tmp_path / form)
    assert net.loaded.folded == ["block/bn"]
    assert "1 batch norms folded already (block/bn)" in str(net.loaded)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_written_whole_or_not_at_all(tmp_path, form, monkeypatch):
    path = tmp_path / form
    path.write_bytes(b"before")
    replace = os.replace

    def full(part, target):
        assert path.read_bytes() == b"before" and os.path.getsize(part) > 100
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=rf"{form}: cannot be written \(No space left on device\)"):
        build().save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [form] and path.read_bytes() == b"before"
    monkeypatch.setattr(os, "replace", replace)
    build().save(path)
    assert build(NET, path).loaded.missing == []


def test_npz_that_numpy_wrote_says_nothing_of_batch_norm_and_loads(tmp_path):
    build().save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        np.savez(tmp_path / "w.npz", **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(INFERENCE, tmp_path / "w.npz").loaded.unfolded == []


def test_a_v1_training_snapshot_of_the_release_is_recognised_too(tmp_path):
    with h5py.File(GOLDEN / "release/noh_tiny_deconvnet.h5") as case:
        definition = proto.parse(case.attrs["prototxt"], caffe_pb2.NetParameter())
    for layer in definition.layers:
        if layer.type == caffe_pb2.V1LayerParameter.BN:
            layer.bn_param.bn_mode = caffe_pb2.BNParameter.INFERENCE
    with pytest.warns(UserWarning, match="bn_mode: INFERENCE in this net"):
        net = Net(definition, caffe_pb2.TEST, GOLDEN / "release/noh_tiny_deconvnet.caffemodel")
    assert net.loaded.unfolded == [layer.name for layer in net.layers if layer.param.type == "BN"]


def field(number, content):
    """A field of bytes, or of a small number, in protobuf's wire form."""
    if isinstance(content, int):
        return bytes(_varint(number << 3)) + bytes(_varint(content))
    return bytes(_varint(number << 3 | 2)) + bytes(_varint(len(content))) + content


def _varint(value):
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value


@pytest.mark.parametrize("mode, unfolded", [(b"", ["block/bn"]), (field(3, 1), [])])
def test_the_bn_mode_in_a_file_of_segnets_caffe_is_understood(tmp_path, mode, unfolded):
    """There bn_param is field 45 of a layer in today's syntax."""
    build(NET).save(tmp_path / "ours.caffemodel")
    model = caffe_pb2.NetParameter.FromString((tmp_path / "ours.caffemodel").read_bytes())
    layers = b""
    for layer in model.layer:
        layer.ClearField("bn_param")
        layers += field(100, layer.SerializeToString() + (field(45, mode) if layer.type == "BN" else b""))
    (tmp_path / "segnet.caffemodel").write_bytes(layers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert build(INFERENCE, tmp_path / "segnet.caffemodel").loaded.unfolded == unfolded


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("saved, loaded", [(NET, NET), (INFERENCE, INFERENCE)])
def test_weights_that_fit_are_loaded_without_a_word(tmp_path, form, saved, loaded):
    build(saved).save(tmp_path / form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(loaded, tmp_path / form).loaded.unfolded == []


# -------------------------------------------------------------------------------------------------------- bad files


def refused(path, text=NET):
    """The one line that says why a file is not loaded; the net keeps its parameters."""
    net = build(text)
    before = values(net)
    with pytest.raises(NetError) as caught:
        net.copy_from(path)
    assert_equal(values(net), before)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, form, share):
    path = tmp_path / form
    build().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "not" in refused(path)


def test_a_caffemodel_that_is_cut_off_between_two_layers_is_refused(tmp_path):
    path = tmp_path / "w.caffemodel"
    build().save(path)
    whole = path.read_bytes()
    net = caffe_pb2.NetParameter.FromString(whole)
    for left in range(len(net.layer)):
        cut = sum(layer.ByteSize() + len(header(100, layer.ByteSize())) for layer in net.layer[left:])
        path.write_bytes(whole[: len(whole) - cut])
        assert len(caffe_pb2.NetParameter.FromString(path.read_bytes()).layer) == left  # protobuf reads on
        assert f"(it is cut off after {left} of 4 layers); copy or download it again" in refused(path)


def test_layers_may_be_taken_out_of_a_caffemodel_and_put_in_by_protobuf(tmp_path):
    path = tmp_path / "w.caffemodel"
    build().save(path)
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    del net.layer[-1]
    path.write_bytes(net.SerializeToString())
    assert build().copy_from(path).missing == ["ip"]
    net.layer.add(name="more"), net.layer.add(name="and more")
    path.write_bytes(net.SerializeToString())
    assert build().copy_from(path).missing == ["ip"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "content", [b"nonsense", b"name: 'net'\n", b"\x89PNG\r\n\x1a\n" * 9, bytes(100), b"{}", b"\x08"]
)
def test_a_foreign_file_is_refused(tmp_path, form, content):
    path = tmp_path / form
    path.write_bytes(content)
    assert "not" in refused(path)


def test_a_hdf5_file_of_something_else_is_refused(tmp_path):
    for name in ("data", "data/conv", "images"):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file[name] = np.zeros(3)
        assert "data/LAYER/NUMBER" in refused(tmp_path / "w.h5")


def test_the_state_of_a_solver_is_recognised(tmp_path):
    golden = GOLDEN / "solver/solver_sgd_step_iter_4.solverstate"
    assert "holds the state of a solver, where weights are expected" in refused(golden)
    golden = GOLDEN / "solver/solver_sgd_step_hdf5_iter_4.solverstate.h5"
    assert "holds the state of a solver: take the .caffemodel.h5" in refused(golden)


def test_another_shape_is_named_with_both_and_nothing_is_copied(tmp_path):
    build(NET.replace("num_output: 5", "num_output: 6")).save(tmp_path / "w.npz")
    said = refused(tmp_path / "w.npz")
    assert "parameter 0 of layer 'ip' has the shape (6, 64) there and (5, 64) in the net; rename the layer" in said


def test_another_number_of_parameters_is_named(tmp_path):
    build(ONE.replace("bias_term: false", "")).save(tmp_path / "w.npz")
    assert "layer 'ip' has 2 parameters there and 1 in the net" in refused(tmp_path / "w.npz", ONE)


def test_a_file_of_another_net_is_refused_by_its_layers_names(tmp_path):
    build(ONE.replace('"ip"', '"fc"')).save(tmp_path / "w.npz")
    assert "none of its layers (fc) is in the net" in refused(tmp_path / "w.npz")


def entry(begin, end, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header, said",
    [
        ({"ip/0": entry(0, 28)}, "takes 28 bytes"),
        ({"ip/0": entry(4, 28)}, "do not follow on those before"),
        ({"ip/0": entry(-4, 20)}, "not whole numbers from 0 on"),
        ({"ip/0": entry(0, 24, (True, 6))}, "not whole numbers from 0 on"),
        ({"ip/0": entry(0, 24, (1 << 62, 1 << 62))}, "takes 24 bytes"),
        ({"ip/0": entry(0, 24), "b/0": entry(0, 24)}, "do not follow on those before"),
        ({"ip/0": entry(0, 12, (3,))}, "its numbers end at byte"),
        ({"ip/0": entry(0, 24, dtype="I64")}, "has the dtype I64; known are F64, F32, F16, BF16"),
        ({"ip/0": {"dtype": "F32"}}, "lacks dtype, shape or two data_offsets"),
        ({"ip/0": 3}, "lacks dtype, shape or two data_offsets"),
        ({"ip.0": entry(0, 24)}, "not a name of the form LAYER/NUMBER"),
        ({"ip/00": entry(0, 24)}, "not a name of the form LAYER/NUMBER"),
        (b'{"ip/0": 1, "ip/0": 2}', "a name stands twice"),
        (b"[" * 100000, "its header is not JSON"),
        (b"[1]", "its header is not an object"),
        (b"\xff\xff", "its header is not JSON"),
    ],
)
def test_safetensors_with_a_header_that_cannot_be_are_refused(tmp_path, header, said):
    write_safetensors(tmp_path / "w.safetensors", header, bytes(24))
    assert said in refused(tmp_path / "w.safetensors", ONE)


def test_safetensors_that_promise_a_header_larger_than_the_file_are_refused_without_reading_it(tmp_path):
    write_safetensors(tmp_path / "w.safetensors", {}, length=1 << 60)
    assert "its header is cut off" in refused(tmp_path / "w.safetensors", ONE)


def test_an_npz_of_python_objects_is_refused_so_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "w.npz", **{"ip/0": np.array([print], object)})
    assert "is not an array of floating-point numbers" in refused(tmp_path / "w.npz", ONE)


def test_an_npz_whose_bytes_were_changed_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    build(ONE).save(path)
    stored = bytearray(path.read_bytes())
    stored[stored.index(b"NUMPY") + 140] ^= 1  # one of the numbers
    path.write_bytes(stored)
    net = build(ONE)
    with pytest.raises(NetError, match=r"w\.npz: not whole \.npz weights \(Bad CRC-32"):
        net.copy_from(path)


def test_a_parameter_that_promises_more_than_the_file_has_is_refused(tmp_path):
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[1 << 39, 1 << 39]), data=[0] * 6)
    said = refused(of_one_layer(tmp_path / "w.caffemodel", blob), ONE)
    assert "holds 6 numbers" in said
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("data/ip/0", (1 << 20, 1 << 20), "f4", chunks=(64, 64))  # nothing of it is stored
    assert "has the shape (1048576, 1048576) there and (2, 3) in the net" in refused(tmp_path / "w.h5", ONE)


@pytest.mark.parametrize("form", [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"])
def test_a_net_without_parameters_is_saved_and_loaded(tmp_path, form):
    text = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 } } }'
    bare = Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)
    bare.save(tmp_path / f"bare{form}")
    assert str(bare.copy_from(tmp_path / f"bare{form}")) == "0 layers loaded"
