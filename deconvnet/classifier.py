"""A net that tells the classes of images (pycaffe's caffe.Classifier)."""

import numpy as np

from . import io
from .image_net import ImageNet


class Classifier(ImageNet):
    """A net in TEST over images of any size.

    image_dims: (height, width) that images are resized to before they are cropped to the net's input; that of the input by default.
    mean, input_scale, raw_scale, channel_swap: as io.Transformer's; net_options, such as allow_python_layers: as Net's.
    Raises what Net raises, and ValueError, also for image_dims smaller than the input.
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
        **net_options,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **net_options)
        shape = self.blobs[self.inputs[0]].shape
        self.crop_dims = np.array(shape[2:])
        self.image_dims = tuple(image_dims) if image_dims is not None else shape[2:]
        if (np.array(self.image_dims) < self.crop_dims).any():
            raise ValueError(
                f"image_dims {self.image_dims} are smaller than the net's input, {shape[2:]} (height, width)"
            )

    def predict(self, inputs, oversample: bool = True) -> np.ndarray:
        """The net's first output for each image (H, W, K): (N, classes), the mean over ten crops, or of the centre alone.

        Raises ValueError where there is no image.
        """
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if not images:
            raise ValueError("predict is given no image")
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            y, x = (np.array(self.image_dims) - self.crop_dims) // 2
            crops = [image[y : y + self.crop_dims[0], x : x + self.crop_dims[1]] for image in images]
        scores = self.predict_crops(crops)
        return scores.reshape(len(images), 10, -1).mean(axis=1) if oversample else scores
