"""DenseImageData, SegNet's and ENet's layer of images with label images."""

import cv2

from ..proto import caffe_pb2
from ..proto.fields import copy_field
from .layer import register
from .listed_images import ExampleList, Examples, ListedImages


class DenseExamples(Examples):
    """Examples whose labels are a whole number of times smaller than their images."""

    divisor = 1

    def _make(self, line, number):
        example = super()._make(line, number)
        if self.divisor == 1:
            return example
        size = tuple(side // self.divisor for side in example.data.shape[:0:-1])
        return example._replace(label=cv2.resize(example.label, size, interpolation=cv2.INTER_NEAREST))


@register("DenseImageData")
class DenseImageData(ListedImages):
    """Whole images with their label images, as SegNet's and ENet's Caffe reads them; the list's lines are `image label`.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; labels (N, 1, H / label_divide_factor, W / label_divide_factor)
    Images are resized, cropped, mirrored and freed of the mean as ImageSegData does it, and read ahead by threads. Without sizes the images
    of a batch must have one size.
    """

    tops = (2, 2)
    param_field = None
    examples_type = DenseExamples
    _resizing = "new_height and new_width, crop_size"

    def setup(self, bottom, top):
        dense = self._settings("dense_image_data_param", moved=())
        if dense.label_divide_factor < 1:
            raise ValueError("label_divide_factor must be at least 1")
        given, self.param = self.param, caffe_pb2.LayerParameter()
        self.param.CopyFrom(given)
        images = self.param.image_data_param
        for field, value in dense.ListFields():
            if field.name != "label_divide_factor":
                copy_field(images, field.name, value)
        super().setup(bottom, top)
        self.examples.divisor = dense.label_divide_factor

    def _read_list(self, path):
        return ExampleList(path, caffe_pb2.ImageDataParameter.PIXEL, windowed=False)

    def _shapes(self, size):
        divisor = self.param.dense_image_data_param.label_divide_factor
        return (len(self._transform.mean), *size), (1, *(side // divisor for side in size))
