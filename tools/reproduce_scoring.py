"""What the reproduction measures of its trained nets: confusion matrices over the validation images, by variant."""

from functools import partial

from reproduce_training import without_batch_norm

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, read_net
from deconvnet.core.segmentation import inference, synthetic, voc
from deconvnet.core.segmentation.crf import DenseCrf
from deconvnet.core.segmentation.ensemble import ensemble
from deconvnet.core.segmentation.evaluation import confusion
from deconvnet.core.segmentation.fcn import fcn_scores
from deconvnet.core.segmentation.proposals import chosen
from deconvnet.core.segmentation.windows import multi_scale_windows

TRANSFORM = {"mean": 128.0, "scale": 1 / 64}  # of the demo's train nets
# of proposals; 112 pixels of 500 are 36 of 160, but the demo's objects start at 13
COUNT, MIN_SIDE, CONTEXT = 50, 24, 1.2
COUNTS = (1, 3, 10, 25, 50, 100, 200)  # of proposals, for their effect
AGGREGATE = "max"  # the release's; sums of scores would leave an ensemble and a CRF nothing to decide
# distances as parts of the image's width: 160 pixels, not 500
SCALED_CRF = DenseCrf(smooth_sigma=1, bilateral_sigma=6.5)


class Images:
    """The validation images with their labels and proposals; iterates over (id, image, label, proposals)."""

    def __init__(self, folder, ids, propose):
        self.folder, self.ids, self.propose = folder, ids, propose

    def __iter__(self):
        for image_id in self.ids:
            image = voc.read_image(self.folder.image(image_id))
            yield image_id, image, voc.read_label(self.folder.classes(image_id)), self.propose(image_id, image)


class Tally:
    """Confusion matrices by variant."""

    def __init__(self):
        self.matrices = {}

    def count(self, variant, label, scores):
        """Add one image's label (H, W) and scores or probabilities (K, H, W) of a variant."""
        found = confusion(label, inference.classes_of(scores), len(synthetic.CLASSES))
        self.matrices[variant] = self.matrices.get(variant, 0) + found


def deploy(model, weights, batch_norm="folded", size=None):
    """An inference net, its input of `size` x `size` where given.

    batch_norm: "folded", "none" (the net has no such layers) or "batch" (each batch's own statistics).
    """
    param = read_net(model)
    if batch_norm == "none":
        without_batch_norm(param)
    elif batch_norm == "batch":
        for layer in param.layer:
            if layer.type == "BN":
                layer.bn_param.bn_mode = caffe_pb2.BNParameter.LEARN
    net = Net(param, caffe_pb2.TEST, weights=str(weights), share=True)
    if size:
        net.blobs["data"].reshape(1, 3, size, size)
        net.reshape()
    return net


def score_system(images, net, fcn):
    """Every row of the table and every variant that needs no other training, for one seed's pair of nets.

    net: our inference net; fcn: the FCN's. Returns {variant: confusion matrix}.
    """
    tally, crf = Tally(), DenseCrf()
    for _, image, label, proposals in images:
        count = partial(tally.count, label=label)
        boxes = chosen(proposals, count=max(COUNTS), min_side=MIN_SIDE, context=CONTEXT)
        maps = inference.score_maps(net, image, boxes, **TRANSFORM)
        merge = partial(inference.merge_scores, size=label.shape)
        for aggregate in ("max", "sum"):
            for number in COUNTS:
                scores = merge(boxes[:number], maps[:number], aggregate=aggregate)
                count(f"DeconvNet, {number} proposals, {aggregate}", scores=scores)
        ours = merge(boxes[:COUNT], maps[:COUNT], aggregate=AGGREGATE)
        whole = fcn_scores(fcn, image, **TRANSFORM)
        found = {
            "FCN": inference.probabilities(whole),
            "DeconvNet": inference.probabilities(ours),
            "EDeconvNet": ensemble(ours, whole),
            "EDeconvNet as released": ensemble(ours, whole, "release"),
        }
        for name, probabilities in found.items():
            count(name, scores=probabilities)
            count(f"{name}+CRF", scores=crf(image, probabilities))
            count(f"{name}+CRF, distances scaled", scores=SCALED_CRF(image, probabilities))
        plain = inference.segment(net, image, boxes[:COUNT], aggregate=AGGREGATE, antialias=False, **TRANSFORM)
        count("DeconvNet, plain bilinear resizing", scores=plain)
        for aggregate in ("max", "sum"):
            windows = inference.segment(net, image, multi_scale_windows(*label.shape), aggregate=aggregate, **TRANSFORM)
            count(f"DeconvNet, windows at all scales, {aggregate}", scores=windows)
    return tally.matrices


def score_net(images, net, variant, batch=None):
    """One net over the proposals as the table has it: {variant: confusion matrix}."""
    tally = Tally()
    for _, image, label, proposals in images:
        boxes = chosen(proposals, count=COUNT, min_side=MIN_SIDE, context=CONTEXT)
        scores = inference.segment(
            net, image, boxes, aggregate=AGGREGATE, batch=batch, output=net.outputs[0], **TRANSFORM
        )
        tally.count(variant, label=label, scores=scores)
    return tally.matrices
