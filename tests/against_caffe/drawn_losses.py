"""Losses and Accuracy of Caffe 1.0, drawn like the layers of drawn_layers.py."""

from drawing import Drawing


def _scores_and_labels(draw: Drawing, first_axis: int = 1) -> tuple[int, int, int]:
    """Inputs x (..., classes, ...) and label (the same without that axis, from `first_axis` on); (axis, axes, classes).

    Caffe's losses want as many labels as scores along the first axis.
    """
    axes = draw.size(2, 4)
    axis, classes = draw.size(first_axis, axes - 1), draw.size(2, 6)
    shape = [*draw.shape(axis, 1, 5), classes, *draw.shape(axes - axis - 1, 1, 5)]
    draw.input("x", shape)
    draw.input("label", shape[:axis] + shape[axis + 1 :], "class", classes)
    return axis, axes, classes


def _begin(draw: Drawing) -> str:
    """Mark the net as one with a loss; its weight."""
    draw.learned = draw.lossy = True
    return draw.sometimes(f"loss_weight: {draw.number()}", 0.4)


def _normalization(draw: Drawing) -> str:
    if draw.chance():
        return f"normalization: {draw.choice('FULL', 'VALID', 'BATCH_SIZE', 'NONE')}"
    return draw.sometimes(f"normalize: {draw.flag()}", 0.4)


def _ignored(draw: Drawing, classes: int) -> str:
    return draw.sometimes(f"ignore_label: {draw.size(0, classes - 1)}", 0.4)


def softmax_with_loss(draw):
    weight = _begin(draw)
    axis, axes, classes = _scores_and_labels(draw)
    loss = f"loss_param {{ {_normalization(draw)} {_ignored(draw, classes)} }}"
    where = f"softmax_param {{ axis: {draw.counted(axis, axes)} }}"
    draw.layer("SoftmaxWithLoss", ["x", "label"], ["loss"], f"{weight} {where} {loss}")


def infogain_loss(draw):
    weight = _begin(draw)
    axis, axes, classes = _scores_and_labels(draw)
    draw.learned = False
    draw.input("gain", (1, 1, classes, classes) if draw.chance() else (classes, classes), "positive")
    draw.learned = True
    kind = draw.choice("FULL", "VALID", "BATCH_SIZE", "NONE")
    loss = f"loss_param {{ normalization: {kind} {_ignored(draw, classes)} }}"
    where = f"infogain_loss_param {{ axis: {draw.counted(axis, axes)} }}"
    draw.layer("InfogainLoss", ["x", "label", "gain"], ["loss"], f"{weight} {where} {loss}")


def sigmoid_cross_entropy_loss(draw):
    weight, shape = _begin(draw), draw.shape(draw.size(1, 4))
    draw.input("x", shape)
    draw.input("target", shape, "class")
    draw.inputs["target"] *= draw.choice(1, 1, 0.25)
    loss = f"loss_param {{ {_normalization(draw)} {_ignored(draw, 2)} }}"
    draw.layer("SigmoidCrossEntropyLoss", ["x", "target"], ["loss"], f"{weight} {loss}")


def euclidean_loss(draw):
    weight, shape = _begin(draw), draw.shape(draw.size(1, 4))
    draw.layer("EuclideanLoss", [draw.input("x", shape), draw.input("z", shape)], ["loss"], weight)


def _one_label_an_item(draw: Drawing, kind: str) -> list[str]:
    items, classes = draw.size(1, 5), draw.size(2, 6)
    draw.input("x", (items, classes, 1, 1) if draw.chance() else (items, classes), kind)
    return ["x", draw.input("label", (items,), "class", classes)]


def hinge_loss(draw):
    weight = _begin(draw)
    bottoms = _one_label_an_item(draw, "normal")
    draw.layer("HingeLoss", bottoms, ["loss"], f"{weight} hinge_loss_param {{ norm: {draw.choice('L1', 'L2')} }}")


def multinomial_logistic_loss(draw):
    weight = _begin(draw)
    draw.layer("MultinomialLogisticLoss", _one_label_an_item(draw, "positive"), ["loss"], weight)


def contrastive_loss(draw):
    weight, shape = _begin(draw), (draw.size(1, 5), draw.size(1, 6), 1, 1)
    bottoms = [draw.input("x", shape), draw.input("z", shape), draw.input("alike", (shape[0], 1, 1, 1), "class")]
    fields = f"margin: {draw.number(0.2, 4)} {draw.sometimes('legacy_version: true')}"
    draw.layer("ContrastiveLoss", bottoms, ["loss"], f"{weight} contrastive_loss_param {{ {fields} }}")


def accuracy(draw):
    draw.backward = False
    axis, axes, classes = _scores_and_labels(draw, 0)
    fields = f"axis: {draw.counted(axis, axes)} top_k: {draw.size(1, classes)} {_ignored(draw, classes)}"
    tops = ["accuracy", *(["of_classes"] if draw.chance(0.4) else [])]
    draw.layer("Accuracy", ["x", "label"], tops, f"accuracy_param {{ {fields} }}")


DRAWN = {
    "Accuracy": accuracy,
    "ContrastiveLoss": contrastive_loss,
    "EuclideanLoss": euclidean_loss,
    "HingeLoss": hinge_loss,
    "InfogainLoss": infogain_loss,
    "MultinomialLogisticLoss": multinomial_logistic_loss,
    "SigmoidCrossEntropyLoss": sigmoid_cross_entropy_loss,
    "SoftmaxWithLoss": softmax_with_loss,
}
