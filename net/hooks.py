"""Functions of the user that a net calls before and after each layer (pycaffe's before_forward and its like)."""

from collections.abc import Callable

from .errors import NetError

Hook = Callable[[int], object]


class Hooks:
    """The hooks of a net: each is called with the layer's number, as in net.layers, in the order in which they were given.

    A layer that need not run backward has its backward hooks called all the same. On a GPU a layer's work may still be under way when
    the hook after it is called; while there is any hook, no pass runs as a CUDA graph. Each raises NetError for a net made with
    share=True, in which layers do the work of those behind them.
    """

    _shares = False

    def __init__(self):
        self._hooks: dict[str, list[Hook]] = {}

    def before_forward(self, run: Hook) -> None:
        """Call `run` before each layer's forward."""
        self._add("before_forward", run)

    def after_forward(self, run: Hook) -> None:
        """Call `run` after each layer's forward."""
        self._add("after_forward", run)

    def before_backward(self, run: Hook) -> None:
        """Call `run` before each layer's backward."""
        self._add("before_backward", run)

    def after_backward(self, run: Hook) -> None:
        """Call `run` after each layer's backward."""
        self._add("after_backward", run)

    def _add(self, when: str, run: Hook) -> None:
        if self._shares:
            raise NetError(f"{when} on a net made with share=True: make it without share")
        self._hooks.setdefault(when, []).append(run)

    def call_hooks(self, when: str, number: int) -> None:
        """Call the hooks of one kind for the layer of that number."""
        for run in self._hooks.get(when, ()):
            run(number)
