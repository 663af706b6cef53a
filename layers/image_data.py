"""ImageData: images with one class each, named in a list file."""

import numpy as np

from ..blob import generator
from ..proto import find_file
from .example import Example, Transform, read_image
from .layer import register
from .prefetch import Prefetch
from .seg_data import _AHEAD, ExampleList, Examples, _limit_opencv_threads, _SegData


class ClassList(ExampleList):
    """The lines `image class` of a list file; a class is any whole number."""

    def _split(self, number, line, paths):
        image, *rest = paths.rsplit(None, 1)
        try:
            return image, int(rest[0])
        except (IndexError, ValueError):
            raise self._wrong_form(number, line) from None


class ClassExamples(Examples):
    """Examples whose label is the class of the whole image."""

    def _make(self, line, number):
        image_path, label, _ = self.lines[line]
        image = self._cache.get(read_image, self._root + image_path, self._color)
        draw = generator(self._seed, self._stream, number) if self._transform.draws else None
        unlabelled = np.broadcast_to(
            np.uint8(0), image.shape[:2]
        )  # a view of one value, for the transform's second result
        data, _ = self._transform(image, unlabelled, None, draw)
        return Example(data, label, image.shape[:2])


@register("ImageData")
class ImageData(_SegData):
    """Images and their classes; the list's lines are `image class` (Caffe's ImageData). Images are resized, cropped, mirrored and freed
    of the mean as ImageSegData does it, and read ahead by threads; without sizes the images of a batch must have one size.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; classes (N,)
    """

    tops = (1, 2)

    def setup(self, bottom, top):
        images = self.param.image_data_param
        self._check(images)
        self._transform = Transform(self.param, self._mean(3 if images.is_color else 1), self.dtype)
        self.batch_size, self._workers = images.batch_size, images.workers
        lines = ClassList(
            find_file(images.source, self.model_file, "ImageData reads its images from this list"),
            images.label_type,
            False,
        )
        root = images.root_folder and self.find(images.root_folder)
        self.examples = ClassExamples(lines, self.param, self._transform, root, self.seed)
        _limit_opencv_threads()

    def reshape(self, bottom, top):
        if self._transform.size:
            self._reshape(top, self._transform.size)
        elif len(top[0].shape) != 4:  # before the first forward, which then gives the images' own size
            self._reshape(top, self.examples(self.position).data.shape[1:])

    def _reshape(self, top, size):
        for blob, shape in zip(top, ((len(self._transform.mean), *size), ()), strict=False):
            blob.reshape(self.batch_size, *shape)

    def forward(self, bottom, top):
        if self._prefetch is None:
            self._prefetch = Prefetch(self.examples, self.position, self._workers, _AHEAD * self.batch_size)
        first = self._position
        batch = self._prefetch.take(self.batch_size)
        self._position += self.batch_size
        sizes = [example.data.shape for example in batch]
        for number, size in enumerate(sizes):
            if size != sizes[0]:
                place = self.examples.lines.place(self.examples.line_of(first + number))
                raise ValueError(
                    f"{place}: an image of {size[1]}x{size[2]} in a batch of {sizes[0][1]}x{sizes[0][2]} (height x width): "
                    "give new_height and new_width, crop_size, or batch_size: 1"
                )
        self._reshape(top, sizes[0][1:])
        for number, blob in enumerate(top):
            values = blob.host_data_to_fill
            for index, example in enumerate(batch):
                values[index] = example[number]
