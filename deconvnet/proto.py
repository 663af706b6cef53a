"""Caffe's protobuf messages, where pycaffe has them: deconvnet.proto.caffe_pb2."""

import sys

from .core.proto import caffe_pb2

sys.modules[f"{__name__}.caffe_pb2"] = caffe_pb2  # for `import deconvnet.proto.caffe_pb2`

__all__ = ["caffe_pb2"]
