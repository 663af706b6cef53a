"""ImageSegData and WindowSegData: images with label images, named in a list file (layers of the authors' Caffe)."""

from .layer import register
from .listed_images import ExampleList, ListedImages


class _SegData(ListedImages):
    """What both layers share: images, labels and their sizes as tops, batch after batch."""

    tops = (1, 3)
    windowed = False

    def setup(self, bottom, top):
        super().setup(bottom, top)
        if self._transform.size is None and self.batch_size != 1:
            raise ValueError(
                "images of several sizes make no batch: give crop_size, new_height and new_width, or batch_size: 1"
            )

    def _read_list(self, path):
        return ExampleList(path, self.param.image_data_param.label_type, self.windowed)

    def _shapes(self, size):
        return (len(self._transform.mean), *size), (1, *size), (1, 1, 2)


@register("ImageSegData")
class ImageSegData(_SegData):
    """Whole images with their labels; the list's lines are `image label` (paths after root_folder, joined as they are).

    label_type PIXEL: the label is an index image, palette or grey; IMAGE: one class for all pixels; NONE: no label.
    Then, in this order: resized to new_height x new_width (bilinear; the label by its nearest pixels; `antialias` takes
    means where the image shrinks); cropped to crop_size (at random in TRAIN, in the centre in TEST; a smaller image is
    padded below and right by the mean, its label by ignore_label); mirrored with probability 1/2 (`mirror`, in TEST
    too); the mean subtracted; scaled. Threads (`workers`) read ahead; what a batch holds does not depend on them.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; labels (N, 1, H, W), ignore_label where there
          is none; height and width of the image file (N, 1, 1, 2)
    Without crop_size, new_height and new_width every image keeps its size (batch_size: 1).
    """


@register("WindowSegData")
class WindowSegData(_SegData):
    """Windows of images with their labels: ImageSegData, but for lines `image label x1 y1 x2 y2` and a first step.

    The window (corners inclusive, free to lie outside the image) is cut out; outside the image lie zeros, and
    ignore_label in the label. The third top still holds the whole image's height and width.
    """

    windowed = True
