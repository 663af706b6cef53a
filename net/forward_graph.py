"""A net's forward pass as one launch on a GPU: at batch 1 launching its kernels one by one may take longer than they do."""

from .. import kernels
from ..proto import caffe_pb2
from .errors import NetError


class ForwardGraph:
    """The whole forward pass of a net whose inputs keep their shapes: run as ever when a shape is new, recorded when it comes again.

    Raises NetError for a net with a layer that works on the host, such as a data layer or a loss, or in which the same work may differ
    from pass to pass.
    """

    def __init__(self, net):
        if net.phase != caffe_pb2.TEST:
            raise NetError(f"{net.model_file or 'net'}: cuda_graph is for nets in TEST")
        for layer in net._layers:
            if not layer.only_launches or any(layer.loss_weights):
                raise NetError(
                    f"{net.model_file or 'net'}: layer '{layer.name}' ({layer.type}) does more in a forward pass than launch the same "
                    "kernels again: make the net without cuda_graph"
                )
        self._net = net
        self._shapes = self._memories = self._arrays = self._graph = self._strays = None

    def run(self, forward) -> None:
        """One forward pass; `forward` runs the layers one by one."""
        # another layer's parameters may have taken the place of a layer's own
        parameters = [blob for layer in self._net._layers for blob in layer.blobs]
        shapes = [self._net.blobs[name].shape for name in self._net.inputs], parameters
        if shapes != self._shapes:
            forward()
            kernels.warn_of_strays()
            self._shapes, self._memories, self._graph = shapes, self._all_memories(), None
            return
        arrays = [memory.on_device() for memory in self._memories]
        if self._graph is None or any(a is not b for a, b in zip(arrays, self._arrays, strict=True)):
            self._graph, self._arrays = kernels.Graph(lambda: self._recorded(forward)), arrays
            for layer in self._net._layers:  # the pass was run once before it was recorded
                layer.rewind()
        self._graph.play()
        kernels.leave_strays(self._strays)
        kernels.warn_of_strays()

    def _all_memories(self) -> list:
        """Where the values of all blobs of the net and of its layers lie, each once."""
        blobs = (
            blob
            for layer, bottom, top in self._net.connections()
            for blob in (*bottom, *top, *layer.blobs, *layer.buffers(), *layer.carried)
        )
        return list({id(blob.data_memory): blob.data_memory for blob in blobs}.values())

    def _recorded(self, forward) -> None:
        forward()
        self._strays = kernels.take_strays()
