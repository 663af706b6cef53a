"""MatWrite: blobs in MATLAB files."""

import numpy as np
import pytest
from arrays import numbers
from one_layer import OneLayer
from scipy.io import loadmat


def layer_of(prefix, *bottoms, fields=""):
    text = f'type: "MatWrite" mat_write_param {{ prefix: "{prefix}" {fields} }}'
    return OneLayer(text, *bottoms, tops=0, dtype=np.float32)


def test_each_bottom_of_each_pass_becomes_a_file(device, tmp_path):
    """`data` is (width, height, channels, items), as MATLAB sees a blob."""
    x, y = numbers(2, 3, 4, 5), numbers(2, 3)
    layer = layer_of(f"{tmp_path}/out_", x, y)
    layer.forward()
    layer.forward()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"out_iter_{k}_blob_{i}.mat" for k in (0, 1) for i in (0, 1)
    ]
    found = loadmat(tmp_path / "out_iter_1_blob_0.mat")["data"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x.astype(np.float32).transpose(3, 2, 1, 0))
    np.testing.assert_array_equal(loadmat(tmp_path / "out_iter_0_blob_1.mat")["data"][0, 0], y.astype(np.float32).T)


def test_files_are_named_by_a_list_and_some_passes_left_out(device, tmp_path):
    (tmp_path / "ids.txt").write_text("2007_1.jpg first\n2007_2.jpg\n\n2007_3.jpg\n")
    layer = layer_of(f"{tmp_path}/", numbers(1, 1, 2, 2), fields=f'source: "{tmp_path}/ids.txt" strip: 4 period: 2')
    for _ in range(3):
        layer.forward()
    assert sorted(path.name for path in tmp_path.glob("*.mat")) == ["2007_1_blob_0.mat", "2007_3_blob_0.mat"]
    with pytest.raises(ValueError, match="ids.txt names 3 files, and this is forward pass 4"):
        layer.forward()


@pytest.mark.parametrize(
    "prefix, fields, error, said",
    [
        ("", "", ValueError, "mat_write_param.prefix is missing"),
        ("{}/no/x", "", FileNotFoundError, "no such folder: .*make it first"),
        ("{}/x", "period: 0", ValueError, "a period of at least 1"),
        ("{}/x", 'source: "{}/ids.txt" strip: 9', ValueError, "ids.txt:1: strip: 9 leaves nothing of 'a.jpg'"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, prefix, fields, error, said):
    (tmp_path / "ids.txt").write_text("a.jpg\n")
    with pytest.raises(error, match=said):
        layer_of(prefix.replace("{}", str(tmp_path)), numbers(1, 1, 2, 2), fields=fields.replace("{}", str(tmp_path)))
