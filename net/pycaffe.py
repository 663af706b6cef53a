"""What Python sees of a net beside its passes, as in pycaffe: its layers, and the names that begin with _ but that many scripts use."""

from ..blob import BlobVec
from ..layers import Layer, Python


class HostLayer:
    """What Python sees of a layer: `type`, its parameters in `blobs` with NumPy arrays, and whatever else the layer has, to read and to set."""

    def __init__(self, layer: Layer):
        self.__dict__.update(_layer=layer, blobs=BlobVec(layer.blobs, layer.dtype))

    def __getattr__(self, name):
        if "_layer" not in self.__dict__:  # while it is being copied
            raise AttributeError(name)
        return getattr(self._layer, name)

    def __setattr__(self, name, value):
        setattr(self._layer, name, value)


def seen(layer: Layer):
    """What net.layers shows of a layer; of a Python layer it is the user's own object."""
    return layer.user if isinstance(layer, Python) else HostLayer(layer)


class PrivateNames:
    """Names that are private in pycaffe's Net, beside _forward and _backward. Blobs and layers go by number, as in net.blobs and net.layers."""

    _layer_names = property(lambda self: self.layer_names)
    _blob_names = property(lambda self: list(self.blobs))
    _blobs = property(lambda self: list(self.blobs.values()))
    _blob_loss_weights = property(lambda self: list(self.blob_loss_weights.values()))
    _input_list = property(lambda self: self.inputs)
    _output_list = property(lambda self: self.outputs)
    _inputs = property(lambda self: self._blob_numbers(self.inputs))
    _outputs = property(lambda self: self._blob_numbers(self.outputs))

    def _blob_numbers(self, names) -> list[int]:
        numbers = {name: number for number, name in enumerate(self.blobs)}
        return [numbers[name] for name in names]

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._blob_numbers(self._layers[layer].param.bottom)

    def _top_ids(self, layer: int) -> list[int]:
        return self._blob_numbers(self._layers[layer].param.top)
