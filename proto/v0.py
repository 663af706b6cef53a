"""The V0 layers of 2013: one message with the fields of all types, and padding as a layer of its own."""

import warnings

from . import caffe_pb2
from .fields import copy_field
from .prototxt import PrototxtError, did_you_mean

__all__ = ["copy_v0_layer", "without_padding_layers"]

# V0's type -> V1's, and the message of today's LayerParameter that its fields go to.
_TYPES = {
    "accuracy": ("ACCURACY", None),
    "bnll": ("BNLL", None),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", None),
    "flatten": ("FLATTEN", None),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", None),
    "im2col": ("IM2COL", None),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", None),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", None),
    "sigmoid": ("SIGMOID", None),
    "softmax": ("SOFTMAX", None),
    "softmax_loss": ("SOFTMAX_LOSS", None),
    "split": ("SPLIT", None),
    "tanh": ("TANH", None),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}
# Of each V0 field: today's name, and the V0 types that have it.
_FIELDS = {
    "num_output": ("num_output", {"conv", "innerproduct"}),
    "biasterm": ("bias_term", {"conv", "innerproduct"}),
    "weight_filler": ("weight_filler", {"conv", "innerproduct"}),
    "bias_filler": ("bias_filler", {"conv", "innerproduct"}),
    "pad": ("pad", {"conv", "pool"}),
    "kernelsize": ("kernel_size", {"conv", "pool"}),
    "group": ("group", {"conv"}),
    "stride": ("stride", {"conv", "pool"}),
    "pool": ("pool", {"pool"}),
    "dropout_ratio": ("dropout_ratio", {"dropout"}),
    "local_size": ("local_size", {"lrn"}),
    "alpha": ("alpha", {"lrn"}),
    "beta": ("beta", {"lrn"}),
    "k": ("k", {"lrn"}),
    "source": ("source", {"data", "hdf5_data", "images", "window_data", "infogain_loss"}),
    "batchsize": ("batch_size", {"data", "hdf5_data", "images", "window_data"}),
    "rand_skip": ("rand_skip", {"data", "images"}),
    "shuffle_images": ("shuffle", {"images"}),
    "new_height": ("new_height", {"images"}),
    "new_width": ("new_width", {"images"}),
    "concat_dim": ("concat_dim", {"concat"}),
    "det_fg_threshold": ("fg_threshold", {"window_data"}),
    "det_bg_threshold": ("bg_threshold", {"window_data"}),
    "det_fg_fraction": ("fg_fraction", {"window_data"}),
    "det_context_pad": ("context_pad", {"window_data"}),
    "det_crop_mode": ("crop_mode", {"window_data"}),
}
# These belong to transform_param, whatever the type.
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}


def copy_v0_layer(old, new, name):
    """Copy V0LayerParameter `old` to LayerParameter `new`, all but type, blobs_lr and weight_decay; return V1's type.

    A field that the layer's type does not have is dropped with a warning, as Caffe does.
    Raises PrototxtError for an unknown type. name: what messages call the net.
    """
    if old.type not in _TYPES:
        hint = did_you_mean(old.type, _TYPES)
        raise PrototxtError(f"{name}: unknown type '{old.type}' of V0 layer '{old.name}'{hint}")
    v1_type, param = _TYPES[old.type]
    for field, value in old.ListFields():
        today, types = _FIELDS.get(field.name, (None, ()))
        if old.type in types:
            copy_field(getattr(new, param), today, value)
        elif field.name in _TRANSFORM:
            setattr(new.transform_param, _TRANSFORM[field.name], value)
        elif field.name in ("name", "blobs") or (field.name, old.type) == ("hdf5_output_param", "hdf5_output"):
            copy_field(new, field.name, value)
        elif field.name not in ("type", "blobs_lr", "weight_decay"):
            text = f"{name}: '{field.name}' of V0 layer '{old.name}' is dropped, type '{old.type}' has no such setting"
            warnings.warn(text, stacklevel=2)
    return v1_type


def without_padding_layers(layers, name):
    """The V1LayerParameters `layers` with V0's padding layers merged into the convolution or pooling above them.

    Raises PrototxtError where a padding layer feeds another type. name: what errors call the net.
    """
    if not any(layer.layer.type == "padding" for layer in layers):
        return layers
    padding = {}  # top -> the padding layer that makes it
    kept = []
    for layer in layers:
        if layer.layer.type == "padding":
            if len(layer.bottom) != 1 or len(layer.top) != 1:
                raise PrototxtError(f"{name}: padding layer '{layer.layer.name}' needs one bottom and one top")
            padding[layer.top[0]] = layer
            continue
        merged = caffe_pb2.V1LayerParameter()
        merged.CopyFrom(layer)
        for i, bottom in enumerate(layer.bottom):
            if bottom in padding:
                if layer.layer.type not in ("conv", "pool"):
                    raise PrototxtError(
                        f"{name}: padding layer '{padding[bottom].layer.name}' feeds '{layer.layer.name}' of type "
                        f"'{layer.layer.type}'; only conv and pool can pad"
                    )
                merged.layer.pad = padding[bottom].layer.pad
                merged.bottom[i] = padding[bottom].bottom[0]
        for top in layer.top:
            padding.pop(top, None)
        kept.append(merged)
    return kept
