"""What a layer must know of the graph that it stands in, which the net hands down before its setup."""

from ..blob import Blob
from ..layers import Crop, Layer, Pooling, Python, Split, Unpooling
from .crop_offset import Source, computed_offset


def hand_down(net, layer: Layer, bottom: list[Blob]) -> None:
    """Tell a layer the pooling layer behind its switches, the offset of its crop, or whether its module may run.

    net: with the layers before it. Raises ValueError for an offset that cannot be computed.
    """
    if isinstance(layer, Unpooling) and len(bottom) > 1:
        maker, top = _origin(net, layer.param.bottom[1])
        if isinstance(net._layers[maker], Pooling) and top == 1:
            layer.pooling, layer.pooled = net._layers[maker], net._bottoms[maker][0]
    if isinstance(layer, Crop) and layer.param.crop_param.computed:
        cropped, reference = (net._sources[name] for name in layer.param.bottom)
        layer.computed_offset = computed_offset(cropped, reference, net._layers, net._first_sources)
    if isinstance(layer, Python):
        layer.allowed = net._allows_python_layers


def _origin(net, name: str) -> Source:
    """Where a blob was made, behind any splits."""
    source = net._sources[name]
    while isinstance(net._layers[source.layer], Split):
        source = net._first_sources[source.layer]
    return source
