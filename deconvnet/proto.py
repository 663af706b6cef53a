"""Caffe's protobuf messages, where pycaffe has them: deconvnet.proto.caffe_pb2."""

from .core.proto import caffe_pb2

__all__ = ["caffe_pb2"]
