"""Items made ahead of time by threads and handed out in order."""

import atexit
import threading
import time
import weakref

# how long closing waits for threads in the middle of an item, in seconds
_PATIENCE = 5.0


class Prefetch:
    """make(first), make(first + 1) ... in that order, made ahead by `workers` threads.

    With 0 workers they are made when they are taken. At most `ahead` items are made and not yet taken. `make` must be
    safe to call from several threads, and an item may depend on its number alone: who makes it and when is left open.
    Nothing that `make` refers to may refer to the Prefetch: one that is forgotten, not closed, then ends its threads.
    """

    def __init__(self, make, first: int = 0, workers: int = 2, ahead: int = 16):
        self._make = make
        self._next = first
        self._ahead = ahead
        self._shelf = _Shelf(make, first, ahead) if workers else None
        for number in range(workers):
            try:
                self._shelf.add_worker()
            except RuntimeError:  # the system gives no more threads; those that there are do
                if number == 0:
                    raise MemoryError("no thread can be started to read ahead; workers: 0 does without") from None
                break
        if workers:
            weakref.finalize(self, self._shelf.stop).atexit = False

    def take(self, count: int) -> list:
        """The next `count` items.

        Raises what `make` raised for the first of them that it could not make, and then takes none; ValueError where
        `count` is more than may be made ahead.
        """
        if self._shelf is None:
            items = [self._make(self._next + i) for i in range(count)]
        elif count > self._ahead:
            raise ValueError(f"cannot take {count} items at once where {self._ahead} are made ahead")
        else:
            items = self._shelf.take(self._next, count)
        self._next += count
        return items

    def close(self) -> None:
        """End the threads; each finishes the item it is at."""
        if self._shelf is not None:
            self._shelf.stop()
            self._shelf.wait(time.monotonic() + _PATIENCE)


class _Shelf:
    """What the threads and the taker share: items, or the errors in their place, by number."""

    def __init__(self, make, first, ahead):
        self._make = make
        self._begin = first  # the number that the next free thread takes up
        self._end = first + ahead
        self._ahead = ahead
        self._items = {}
        self._stopped = False
        # re-entrant: the garbage collector may call `stop` from inside a locked region of the same thread
        lock = threading.RLock()
        self._made, self._room = threading.Condition(lock), threading.Condition(lock)
        self._threads = []
        _open.add(self)

    def add_worker(self):
        # a daemon, so that a thread stuck in a slow file system does not keep the process from ending
        thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self):
        while True:
            with self._room:
                self._room.wait_for(lambda: self._stopped or self._begin < self._end)
                if self._stopped:
                    return
                number = self._begin
                self._begin += 1
            try:
                made = (self._make(number), None)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is raised where the item is taken)
                made = (None, error)
            with self._made:
                if not self._stopped:
                    self._items[number] = made
                    self._made.notify()

    def take(self, first, count):
        numbers = range(first, first + count)
        with self._made:
            for number in numbers:
                self._made.wait_for(lambda number=number: self._stopped or number in self._items)
                if self._stopped:
                    raise RuntimeError("nothing can be taken from a prefetch that was closed")
                if self._items[number][1] is not None:
                    raise self._items[number][1]
            items = [self._items.pop(number)[0] for number in numbers]
            self._end = first + count + self._ahead
            self._room.notify_all()
        return items

    def stop(self):
        with self._made:
            self._stopped = True
            self._items.clear()
            self._made.notify_all()
            self._room.notify_all()
        _open.discard(self)

    def wait(self, deadline):
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


_open: weakref.WeakSet[_Shelf] = weakref.WeakSet()


@atexit.register
def _close_all():
    """A daemon thread that Python's end cuts off inside a C++ library can abort the process, so they end before."""
    shelves = list(_open)
    for shelf in shelves:
        shelf.stop()
    deadline = time.monotonic() + _PATIENCE
    for shelf in shelves:
        shelf.wait(deadline)
