"""A listener's events, as an asynchronous iterator.

The library calls listeners from one thread of its own; what they hear is handed to the event loop, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ._ffi import Subscription

_Event = TypeVar("_Event")
_WAITING_MAX = 4096
"""Events that wait for who iterates; beyond it the oldest are left out, and ``missed`` counts them."""


class Events(Generic[_Event]):
    """Events, oldest first, until the replica is closed or :meth:`cancel` is called. The first is the present state."""

    def __init__(self, translate: Callable[[Any], _Event]) -> None:
        self._translate = translate
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Event] = deque()
        self._woken = asyncio.Event()
        self._ended = False
        self._subscription: Subscription | None = None
        self.missed = 0
        """How many events were left out because nobody took them."""

    def cancel(self) -> None:
        """Ends it: nothing more is heard, and whoever iterates is released."""
        if self._subscription is not None:
            self._subscription.cancel()
        self._end()

    def __aiter__(self) -> Events[_Event]:
        return self

    async def __anext__(self) -> _Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()
        return self._waiting.popleft()

    async def __aenter__(self) -> Events[_Event]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    def _take(self, events: list[Any]) -> None:
        if self._ended:
            return
        self._waiting.extend(self._translate(event) for event in events)
        while len(self._waiting) > _WAITING_MAX:
            self._waiting.popleft()
            self.missed += 1
        self._woken.set()

    def _end(self) -> None:
        self._ended = True
        self._woken.set()

    # What follows is called from the listeners' thread.

    def on_events(self, events: list[Any]) -> None:
        self._hand_over(self._take, events)

    def on_end(self) -> None:
        self._hand_over(self._end)

    def _hand_over(self, take: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(take, *arguments)
        except RuntimeError:
            # The loop was closed: nobody iterates any more.
            pass
