"""ROIPooling (Fast R-CNN) and PSROIPooling (R-FCN): the regions of maps that boxes name, as grids of equal size."""

from .. import kernels
from ..blob import Blob
from .layer import Layer, register, require_images


def _require_regions(maps, regions) -> None:
    require_images(maps)
    if not regions.shape or regions.count != 5 * regions.shape[0]:
        raise ValueError(f"its regions must have the shape (R, 5), image x1 y1 x2 y2, not {regions.shape}")


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
        _require_regions(maps, regions)
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


@register("PSROIPooling")
class PSROIPooling(Layer):
    """Means of the cells of a grid over each region, for each cell of maps of its own (Dai et al., R-FCN, NIPS 2016; layer of its Caffe).

    bottoms: maps (N, output_dim * group_size^2, H, W); regions as ROIPooling's, without a gradient
    top:     (R, output_dim, group_size, group_size); spatial_scale makes places of the maps of pixels. An empty cell is 0.
    """

    bottoms = (2, 2)
    without_gradient = (1,)

    def setup(self, bottom, top):
        param = self.param.psroi_pooling_param
        if min(param.output_dim, param.group_size) < 1:
            raise ValueError("psroi_pooling_param needs output_dim and group_size of at least 1")
        if not param.spatial_scale > 0:
            raise ValueError(f"spatial_scale must be above 0, not {param.spatial_scale:g}")

    def reshape(self, bottom, top):
        maps, regions = bottom
        _require_regions(maps, regions)
        param = self.param.psroi_pooling_param
        wanted = param.output_dim * param.group_size**2
        if maps.shape[1] != wanted:
            raise ValueError(
                f"output_dim {param.output_dim} and group_size {param.group_size} take {wanted} maps, not {maps.shape[1]}"
            )
        top[0].reshape(regions.shape[0], param.output_dim, param.group_size, param.group_size)

    def forward(self, bottom, top):
        regions, scale = bottom[1].data.reshape(-1, 5), self.param.psroi_pooling_param.spatial_scale
        kernels.region_means(bottom[0].data, regions, scale, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            regions, scale = bottom[1].data.reshape(-1, 5), self.param.psroi_pooling_param.spatial_scale
            kernels.region_means_backward(top[0].diff, regions, scale, bottom[0].diff)
