"""The numbers of well-known nets, for our definitions and the peer's (classic_nets.py, peer_classics.py)."""

# outputs of an inception module: 1x1; 3x3 behind its reduction; 5x5 behind its reduction; 1x1 behind pooling. None: pooling
INCEPTIONS = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None,
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128), None,
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip
VGG = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # layers and outputs of a level
RESIDUAL = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks and inner outputs of a level
# outputs and stride of the depthwise layer before them
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
CLASSES = 1000  # of ImageNet
IMAGES = {  # (C, H, W) of one
    "LeNet": (1, 28, 28),
    "CIFAR-10-quick": (3, 32, 32),
    "AlexNet": (3, 227, 227),
    "VGG-16": (3, 224, 224),
    "GoogLeNet": (3, 224, 224),
    "ResNet-50": (3, 224, 224),
    "MobileNet": (3, 224, 224),
    "DeepLab-LargeFOV": (3, 321, 321),
}
# of an image: the classes, and where every place has scores of its own their height and width
SCORES = dict.fromkeys(IMAGES, (CLASSES,)) | {"LeNet": (10,), "CIFAR-10-quick": (10,), "DeepLab-LargeFOV": (21, 41, 41)}
