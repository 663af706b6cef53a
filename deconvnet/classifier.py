"""A net that tells the classes of images (pycaffe's caffe.Classifier)."""

import numpy as np

from . import io
from .core.net import Net
from .core.proto import caffe_pb2


class Classifier(Net):
    """A net in TEST over images of any size.

    image_dims: (height, width) that images are resized to before they are cropped to the net's input; that of the input by default.
    mean, input_scale, raw_scale, channel_swap: as io.Transformer's. Raises what Net raises, and ValueError, also for image_dims smaller
    than the input.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, caffe_pb2.TEST, pretrained_file)
        if not self.inputs:
            raise ValueError(
                f"{model_file}: a Classifier is given images, and this net has no input: use its deploy form"
            )
        name = self.inputs[0]
        shape = self.blobs[name].shape
        self.transformer = io.Transformer({name: shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)
        self.crop_dims = np.array(shape[2:])
        self.image_dims = tuple(image_dims) if image_dims is not None else shape[2:]
        if (np.array(self.image_dims) < self.crop_dims).any():
            raise ValueError(
                f"image_dims {self.image_dims} are smaller than the net's input, {shape[2:]} (height, width)"
            )

    def predict(self, inputs, oversample: bool = True) -> np.ndarray:
        """The net's first output for each image (H, W, K): (N, classes), the mean over ten crops, or of the centre alone."""
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            y, x = (np.array(self.image_dims) - self.crop_dims) // 2
            crops = [image[y : y + self.crop_dims[0], x : x + self.crop_dims[1]] for image in images]
        name = self.inputs[0]
        data = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        scores = self.forward_all(**{name: data})[self.outputs[0]]
        return scores.reshape(len(images), 10, -1).mean(axis=1) if oversample else scores
