import numpy as np
import pytest

from deconvnet.core.segmentation.crf import DenseCrf

pytest.importorskip("pydensecrf.densecrf", reason="Python 3.13 has none", exc_type=ImportError)


def half_and_half(height=12, width=16):
    """An image dark on the left and light on the right, and probabilities that follow it weakly."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 200
    right = np.where(np.arange(width) < width // 2, 0.4, 0.6)[None].repeat(height, 0)
    return image, np.stack([1 - right, right]).astype(np.float32)


def mean_field(image, probabilities, crf):
    """Mean-field inference by the letter (Kraehenbuehl and Koltun, algorithm 1) with exact sums over all pairs.

    Kernels are normalised symmetrically (k_ij / sqrt(n_i n_j), n_i = sum_j k_ij), a pixel's own term included, as in
    the authors' filter; the compatibility is Potts's.
    """
    classes, height, width = probabilities.shape
    rows, cols = np.mgrid[:height, :width].reshape(2, -1)
    pixels = image.reshape(-1, 3).astype(float)
    apart = (rows[:, None] - rows) ** 2 + (cols[:, None] - cols) ** 2
    colors = ((pixels[:, None] - pixels) ** 2).sum(axis=2)
    kernels = [
        (crf.smooth_weight, np.exp(-apart / (2 * crf.smooth_sigma**2))),
        (crf.bilateral_weight, np.exp(-apart / (2 * crf.bilateral_sigma**2) - colors / (2 * crf.color_sigma**2))),
    ]
    total = 0
    for weight, kernel in kernels:
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        total = total + weight * kernel * norm[:, None] * norm
    log = np.log(probabilities.reshape(classes, -1).astype(float))
    q = np.exp(log) / np.exp(log).sum(axis=0)
    for _ in range(crf.iterations):
        q = log + q @ total
        q = np.exp(q - q.max(axis=0))
        q /= q.sum(axis=0)
    return q.reshape(classes, height, width)


def test_one_speck_in_an_even_region_takes_its_surroundings_class():
    image, probabilities = half_and_half()
    probabilities[:, 5, 3] = (0.3, 0.7)
    labels = DenseCrf()(image, probabilities).argmax(axis=0)
    assert not labels[:, :8].any() and labels[:, 8:].all()


def test_the_result_is_a_distribution_over_the_classes_of_each_pixel():
    image, probabilities = half_and_half()
    refined = DenseCrf()(image, probabilities)
    assert refined.shape == probabilities.shape and refined.dtype == np.float32
    np.testing.assert_allclose(refined.sum(axis=0), 1, rtol=1e-5)


def test_a_probability_of_zero_is_no_error():
    image, _ = half_and_half()
    sure = np.zeros((3, 12, 16), np.float32)
    sure[1] = 1
    assert (DenseCrf()(image, sure).argmax(axis=0) == 1).all()


@pytest.mark.parametrize("weights", [(3, 0), (0, 5), (3, 5)])
def test_it_is_the_papers_mean_field_up_to_the_lattices_approximation(weights):
    """The lattice filter is approximate: far from a border of classes it agrees closely, everywhere in its decision."""
    image, probabilities = half_and_half()
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.05, 0.05, (12, 16)).astype(np.float32)
    probabilities = probabilities + np.stack([noise, -noise])
    crf = DenseCrf(iterations=2, smooth_weight=weights[0], bilateral_weight=weights[1], color_sigma=30)
    refined, exact = crf(image, probabilities), mean_field(image, probabilities, crf)
    np.testing.assert_array_equal(refined.argmax(axis=0), exact.argmax(axis=0))
    assert np.abs(refined - exact).mean() < 0.05


def test_an_image_of_one_pixel_keeps_its_class():
    refined = DenseCrf()(np.zeros((1, 1, 3), np.uint8), np.float32([0.2, 0.8]).reshape(2, 1, 1))
    assert refined.argmax() == 1


def test_another_size_than_the_images_is_refused():
    with pytest.raises(ValueError, match=r"the image is \(12, 16\) pixels, its probabilities \(12, 15\)"):
        image, probabilities = half_and_half()
        DenseCrf()(image, probabilities[:, :, 1:])
