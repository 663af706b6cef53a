"""Convolutions over any number of spatial axes as prototxt."""

FILLERS = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'


def text_of(kind, outputs, kernel, stride=None, pad=None, dilation=None, group=1, bias=True, more=FILLERS):
    """The layer, each field written once for each spatial axis."""
    fields = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    sizes = " ".join(f"{name}: {size}" for name, given in fields.items() for size in given or ())
    return f'type: "{kind}" convolution_param {{ num_output: {outputs} group: {group} bias_term: {str(bias).lower()} {sizes} {more} }}'
