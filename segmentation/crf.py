"""The fully connected CRF over a net's probabilities (paper, section 5.1; Kraehenbuehl and Koltun, 2011), by pydensecrf."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DenseCrf:
    """Mean-field refinement of (K, H, W) probabilities by the image; the defaults are the authors' release's.

    Two kernels join any two pixels: one of their distance (sigma in pixels), one of distance and colour (sigmas in
    pixels and in grey levels per channel), each with a weight.
    """

    iterations: int = 10
    smooth_sigma: float = 3
    smooth_weight: float = 3
    bilateral_sigma: float = 20
    color_sigma: float = 3
    bilateral_weight: float = 5

    def __call__(self, image, probabilities):
        """Refine the probabilities (K, H, W) of an image (H, W, 3) uint8: (K, H, W) float32.

        Raises ImportError without the extra `crf`; ValueError where the sizes differ.
        """
        from pydensecrf import densecrf

        classes, height, width = probabilities.shape
        if image.shape[:2] != (height, width):
            raise ValueError(f"the image is {image.shape[:2]} pixels, its probabilities {height, width}")
        field = densecrf.DenseCRF2D(width, height, classes)
        unary = -np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1), np.float32))
        field.addPairwiseGaussian(sxy=self.smooth_sigma, compat=self.smooth_weight)
        field.addPairwiseBilateral(
            sxy=self.bilateral_sigma, srgb=self.color_sigma,
            rgbim=np.ascontiguousarray(image), compat=self.bilateral_weight,
        )  # fmt: skip
        return np.array(field.inference(self.iterations), np.float32).reshape(classes, height, width)
