"""MatWrite, which writes blobs into MATLAB files (DeepLab's Caffe)."""

import os

from ..blob import read_list
from .layer import Layer, register


@register("MatWrite")
class MatWrite(Layer):
    """Bottom i of forward pass k into PREFIX + name + "_blob_i.mat": an array `data` of shape (W, H, C, N), 1 for axes that it lacks.

    name: line k of `source` (its first word, `strip` characters cut off its end), or "iter_k" without one. Of `period` passes the first is
    written. No tops.
    """

    bottoms = (1, float("inf"))
    tops = (0, 0)
    position = 0

    def setup(self, bottom, top):
        param = self.param.mat_write_param
        if not param.prefix:
            raise ValueError("mat_write_param.prefix is missing: it is what the files' paths begin with")
        if param.period < 1 or param.strip < 0:
            raise ValueError("mat_write_param takes a period of at least 1 and a strip of at least 0")
        folder = os.path.dirname(os.path.abspath(param.prefix + "x"))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"no such folder: {folder}, where the MATLAB files would be written; make it first")
        try:
            from scipy.io import savemat
        except ImportError:
            raise ValueError("MATLAB files need SciPy: pip install 'deconvnet[mat]'") from None
        self._save = savemat
        self.without_gradient = tuple(range(len(bottom)))
        self._names = self._read_names(self.find(param.source)) if param.source else None

    def _read_names(self, source: str) -> list[str]:
        strip, names = self.param.mat_write_param.strip, []
        for number, line in read_list(source):
            word = line.split()[0]
            if len(word) <= strip:
                raise ValueError(f"{source}:{number}: strip: {strip} leaves nothing of '{word}'")
            names.append(word[: len(word) - strip])
        return names

    def reshape(self, bottom, top):
        for blob in bottom:
            if len(blob.shape) > 4:
                raise ValueError(f"writes bottoms of up to four axes, not {blob.shape}")

    def forward(self, bottom, top):
        param, number = self.param.mat_write_param, self.position
        if self._names is not None and number >= len(self._names):
            raise ValueError(f"{param.source} names {len(self._names)} files, and this is forward pass {number + 1}")
        self.position += 1
        if number % param.period:
            return
        name = self._names[number] if self._names is not None else f"iter_{number}"
        for i, blob in enumerate(bottom):
            values = blob.host_data
            path = f"{param.prefix}{name}_blob_{i}.mat"
            try:
                self._save(path, {"data": values.reshape(values.shape + (1,) * (4 - values.ndim)).T})
            except OSError as error:
                raise ValueError(f"{path}: cannot be written ({error.strerror})") from None

    def backward(self, top, propagate_down, bottom):
        """What is written has no gradient."""
