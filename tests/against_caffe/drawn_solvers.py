"""Solvers of Caffe, each type with each policy, drawn with the rest of their fields, over a small net that always sees the same batch."""

import h5py
from drawing import Drawing

STEPS = 8
TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
POLICIES = {
    "fixed": "",
    "step": "gamma: 0.5 stepsize: 3",
    "exp": "gamma: 0.9",
    "inv": "gamma: 0.1 power: 0.75",
    "multistep": "gamma: 0.5 stepvalue: 2 stepvalue: 5",
    "poly": "power: 0.9",
    "sigmoid": "gamma: 0.3 stepsize: 4",
}
_BATCH = 4
_NET = """name: "drawn"
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{list}" batch_size: {batch} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" {conv}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" {ip}
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


def write_data(draw: Drawing, stem) -> str:
    """STEM.h5 of one batch and STEM.txt, the list that names it; the list's path."""
    with h5py.File(f"{stem}.h5", "w") as file:
        file["data"] = draw.values((_BATCH, 2, 5, 5))
        file["label"] = draw.values((_BATCH,), "class", 3)
    with open(f"{stem}.txt", "w") as file:
        file.write(f"{stem}.h5\n")
    return f"{stem}.txt"


def net_text(draw: Drawing, source: str) -> str:
    """The net, with drawn rates of its parameters."""
    conv = draw.choice("", "param { lr_mult: 0 } param { lr_mult: 3 }")
    ip = f"param {{ lr_mult: {draw.choice(1, 0.5)} decay_mult: {draw.choice(0, 1, 2)} }} param {{ lr_mult: 2 decay_mult: 0 }}"
    return _NET.format(list=source, batch=_BATCH, conv=conv, ip=ip)


def solver_text(draw: Drawing, kind: str, policy: str, net: str) -> str:
    """The definition but for its snapshot_prefix."""
    momentum = {"AdaGrad": 0, "RMSProp": 0, "AdaDelta": 0.9, "Adam": 0.9}.get(kind, draw.choice(0, 0.5, 0.9))
    fields = [
        f'net: "{net}" type: "{kind}" lr_policy: "{policy}" {POLICIES[policy]} momentum: {momentum} max_iter: {STEPS}',
        f"base_lr: {1 if kind == 'AdaDelta' else draw.choice(0.1, 0.01)}",
        "" if kind in ("SGD", "Nesterov") else "delta: 1e-4",
        {"RMSProp": "rms_decay: 0.95", "Adam": "momentum2: 0.99"}.get(kind, ""),
        draw.sometimes("weight_decay: 0.01"),
        draw.sometimes('regularization_type: "L1"', 0.3),
        draw.sometimes("clip_gradients: 0.3", 0.4),
        draw.sometimes("iter_size: 2", 0.4),
        f"snapshot_format: {draw.choice('BINARYPROTO', 'HDF5')} random_seed: 3",
    ]
    return " ".join(fields)
