"""ROIPooling: the regions of maps that boxes name, as grids of equal size (Fast R-CNN)."""

from .. import kernels
from ..blob import Blob
from .layer import Layer, register, require_images


@register("ROIPooling")
class ROIPooling(Layer):
    """Maxima of the cells of a grid over each region of interest (Girshick, Fast R-CNN, ICCV 2015, section 2.1; layer of its Caffe).

    bottoms: maps (N, C, H, W); regions of R boxes, 5 numbers each: image x1 y1 x2 y2 in pixels, corners included, without a gradient
    top:     (R, C, pooled_h, pooled_w); spatial_scale makes places of the maps of pixels. An empty cell is 0.
    """

    bottoms = (2, 2)
    without_gradient = (1,)

    def setup(self, bottom, top):
        param = self.param.roi_pooling_param
        if min(param.pooled_h, param.pooled_w) < 1:
            raise ValueError("roi_pooling_param needs pooled_h and pooled_w of at least 1")
        if not param.spatial_scale > 0:
            raise ValueError(f"spatial_scale must be above 0, not {param.spatial_scale:g}")
        self._places = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._places]

    def reshape(self, bottom, top):
        maps, regions = bottom
        require_images(maps)
        if not regions.shape or regions.count != 5 * regions.shape[0]:
            raise ValueError(f"its regions must have the shape (R, 5), image x1 y1 x2 y2, not {regions.shape}")
        param = self.param.roi_pooling_param
        for blob in (top[0], self._places):
            blob.reshape(regions.shape[0], maps.shape[1], param.pooled_h, param.pooled_w)

    def forward(self, bottom, top):
        regions = bottom[1].data.reshape(-1, 5)
        scale = self.param.roi_pooling_param.spatial_scale
        kernels.region_pool(bottom[0].data, regions, scale, top[0].data, self._places.data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            regions = bottom[1].data.reshape(-1, 5)
            kernels.region_pool_backward(top[0].diff, regions, self._places.data, bottom[0].diff)
