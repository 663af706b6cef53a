"""Arrays in, arrays out: our CUDA kernels behind plain functions. A NumPy array computes on the host, a CuPy array on its GPU."""

from .activation import dropout, relu, relu_backward
from .bias import add_bias, bias_backward
from .columns import col2im, im2col
from .convolution import (
    algorithm,
    conv_backward,
    conv_forward,
    deconv_backward,
    deconv_forward,
)
from .device import (
    DeviceError,
    array_module,
    beside,
    compute_capability,
    cuda_version,
    dry_run,
    gpu_memory,
    launched,
    matrix_product,
    mode,
    page_locked_zeros,
    places_not_zero,
    pooled_memory,
    set_gpu,
    set_mode,
    synchronize,
    to_host,
)
from .elementwise import divide_multiply, maximum, maximum_backward, multiply, scale_add, weighted_sum
from .embed import embed, embed_backward
from .geometry import Geometry
from .graph import Graph
from .host import aligned_zeros
from .host_build import BuildError
from .l2_norm import l2_normalize, l2_normalize_backward
from .labels import LabelError, strange_label
from .linear import linear, linear_backward
from .losses import (
    contrastive,
    contrastive_backward,
    hinge,
    hinge_backward,
    multinomial_loss,
    multinomial_loss_backward,
    sigmoid_loss,
    sigmoid_loss_backward,
    smooth_l1,
)
from .lrn import lrn, lrn_backward
from .neuron import neuron, neuron_backward, prelu, prelu_backward
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    channel_affine_backward,
    channel_affine_forward,
    compose_affine,
    move_averages,
    normalize,
    running_affine,
)
from .permute import permutation, permute
from .pooling import (
    Window,
    average_pool,
    average_pool_backward,
    leave_strays,
    max_pool,
    max_pool_backward,
    take_strays,
    unpool,
    unpool_backward,
    unpool_spread,
    unpool_spread_backward,
    warn_of_strays,
)
from .recurrent import (
    RecurrentWeights,
    SequenceGradients,
    Sequences,
    lstm,
    lstm_backward,
    lstm_unit,
    lstm_unit_backward,
    rnn,
    rnn_backward,
)
from .reduction import (
    ASUM,
    SUM,
    SUMSQ,
    best_classes,
    class_map,
    reduce_rows,
    reduce_rows_backward,
    standardize_rows,
    standardize_rows_backward,
)
from .regions import region_means, region_means_backward, region_pool, region_pool_backward
from .resampling import corner_taps, map_taps, merge_maps, resize_windows, window_taps
from .softmax import (
    infogain_loss,
    infogain_loss_backward,
    rank_labels,
    softmax,
    softmax_backward,
    softmax_loss,
    softmax_loss_backward,
)
from .solver_rules import RULES, rule_update, rule_update_all
from .tensor_product import PRECISIONS, require_precision
from .update import ArrayTable, clear_all, sgd_update, sgd_update_all, sum_of_squares, sum_of_squares_all
from .winograd import After

__all__ = [name for name in dir() if not name.startswith("_")]
