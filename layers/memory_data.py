"""MemoryData: batches of arrays that the user hands to the net."""

import warnings

import numpy as np

from .layer import Layer, register


@register("MemoryData")
class MemoryData(Layer):
    """Batches of arrays set by `net.set_input_arrays(data, labels)`, over and over (Caffe's MemoryData). No gradients.

    tops: data (batch_size, channels, height, width), labels (batch_size,), which forward, as Caffe's, makes (batch_size, 1, 1, 1)
    """

    bottoms = (0, 0)
    tops = (2, 2)
    position = 0
    _arrays: tuple[np.ndarray, np.ndarray] | None = None

    def setup(self, bottom, top):
        param = self.param.memory_data_param
        self._shape = (param.channels, param.height, param.width)
        if min(param.batch_size, *self._shape) < 1:
            raise ValueError("memory_data_param needs batch_size, channels, height and width of at least 1")
        if self.param.HasField("transform_param"):
            warnings.warn(
                f"layer '{self.name}' (MemoryData): transform_param does not apply to arrays: transform them before set_input_arrays",
                stacklevel=2,
            )
        self.batch_size = param.batch_size

    def set_arrays(self, data, labels) -> None:
        """Take batches from these from now on, from the first item on: data (N, channels, height, width), N labels; not copied.

        Raises ValueError where shapes do not fit or N is no multiple of batch_size.
        """
        data, labels = np.asarray(data), np.asarray(labels)
        if data.shape[1:] != self._shape:
            raise ValueError(f"data must have the shape (N, {', '.join(map(str, self._shape))}), not {data.shape}")
        if labels.size != len(data):
            raise ValueError(f"there must be one label an item: {len(data)} items, labels of shape {labels.shape}")
        if not len(data) or len(data) % self.batch_size:
            raise ValueError(f"the number of items must be a multiple of batch_size {self.batch_size}, not {len(data)}")
        self._arrays = (data, labels.reshape(-1))
        self.position = 0

    def reshape(self, bottom, top):
        top[0].reshape(self.batch_size, *self._shape)
        top[1].reshape(self.batch_size)

    def forward(self, bottom, top):
        if self._arrays is None:
            raise ValueError("has no arrays: call net.set_input_arrays(data, labels) first")
        first = self.position % len(self._arrays[0])
        top[1].reshape(self.batch_size, 1, 1, 1)
        for blob, array in zip(top, self._arrays, strict=True):
            blob.host_data_to_fill[...] = array[first : first + self.batch_size].reshape(blob.shape)
        self.position += self.batch_size
