"""docs/data.md: its recipe for masks runs as it stands there."""

import re
from pathlib import Path

import cv2
import numpy as np

from deconvnet.core.segmentation.voc import read_label

PAGE = Path(__file__).resolve().parents[2] / "docs/data.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_a_mask_in_colours_becomes_classes_and_numbered_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((20, 30, 3), np.uint8)  # RGB
    mask[1:4, 1:4] = mask[10:15, 1:6] = (255, 0, 0)
    mask[5:9, 20:28] = (0, 0, 255)
    mask[18, 29] = (9, 9, 9)  # a colour that is not named
    Path("masks").mkdir()
    cv2.imwrite("masks/a.png", mask[:, :, ::-1])
    recipe = next(block for block in BLOCKS if "connectedComponents" in block)
    exec(compile(recipe, PAGE.name, "exec"), {})
    classes, objects = (read_label(f"my/dataset/Segmentation{kind}/a.png") for kind in ("Class", "Object"))
    assert [classes[place] for place in ((0, 0), (2, 2), (12, 3), (6, 22), (18, 29))] == [0, 1, 1, 2, 255]
    assert [np.count_nonzero(objects == number) for number in (1, 2, 3)] == [9, 25, 32] and objects.max() == 3
