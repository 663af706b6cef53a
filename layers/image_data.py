"""ImageData: images with one class each, named in a list file."""

from ..blob import generator
from .example import Example, read_image
from .layer import register
from .listed_images import ExampleList, Examples, ListedImages


class ClassList(ExampleList):
    """The lines `image class` of a list file; a class is any whole number."""

    def _split(self, number, line, paths):
        image, *rest = paths.rsplit(None, 1)
        if not rest:
            raise self._wrong_form(number, line)
        try:
            return image, int(rest[0])
        except ValueError:
            raise ValueError(
                f"{self.path}:{number}: the label must be a whole number, the image's class, not `{rest[0]}`"
            ) from None


class ClassExamples(Examples):
    """Examples whose label is the class of the whole image."""

    def _make(self, line, number):
        image_path, label, _ = self.lines[line]
        image = self._cache.get(read_image, self._root + image_path, self._color)
        draw = generator(self._seed, self._stream, number) if self._transform.draws else None
        return Example(self._transform.of_image(image, draw), label, image.shape[:2])


@register("ImageData")
class ImageData(ListedImages):
    """Images and their classes; the list's lines are `image class` (Caffe's ImageData). Images are resized, cropped, mirrored and freed
    of the mean as ImageSegData does it, and read ahead by threads; without sizes the images of a batch must have one size.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; classes (N,)
    """

    tops = (1, 2)
    examples_type = ClassExamples
    _resizing = "new_height and new_width, crop_size"

    def _read_list(self, path):
        return ClassList(path, self.param.image_data_param.IMAGE, False)  # whatever label_type says

    def _shapes(self, size):
        return (len(self._transform.mean), *size), ()
