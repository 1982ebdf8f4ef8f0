"""A listener's events, as an asynchronous iterator.

The library calls listeners from one thread of its own; what they hear is handed to the event loop, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from ._ffi import Subscription

_Event = TypeVar("_Event")
_WAITING_MAX = 4096
"""Events that wait for who iterates."""


class Heard:
    """What a listener heard and nobody has taken yet. The listeners' thread never waits for it.

    Beyond what may wait it hears no more; what waited is delivered, and then its owner begins again.
    """

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.waiting: deque[Any] = deque()
        self.woken = asyncio.Event()
        self.behind = False
        self.ended = False
        self._loop = asyncio.get_running_loop()

    def cancel(self) -> None:
        """Hears nothing more."""
        if self.subscription is not None:
            self.subscription.cancel()

    def end(self) -> None:
        """Says that nothing more will come."""
        self.ended = True
        self.woken.set()

    def _take(self, events: list[Any]) -> None:
        self.behind = self.behind or len(self.waiting) + len(events) > _WAITING_MAX
        if not self.behind:
            self.waiting.extend(events)
        self.woken.set()

    # What follows is called from the listeners' thread.

    def on_events(self, events: list[Any]) -> None:
        self._hand_over(self._take, events)

    def on_end(self) -> None:
        self._hand_over(self.end)

    def _hand_over(self, take: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(take, *arguments)
        except RuntimeError:
            # The loop was closed: nobody iterates any more.
            pass


class Events(Generic[_Event]):
    """Events, oldest first, until the replica is closed or :meth:`cancel` is called. The first is the present state.

    Who iterates too slowly misses events; the one after those that waited is the present state again.
    """

    def __init__(self, subscribe: Callable[[], Awaitable[Heard]], translate: Callable[[Any], _Event]) -> None:
        self._subscribe, self._translate = subscribe, translate
        self._heard: Heard | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Ends it: nothing more is heard, and whoever iterates is released."""
        self._cancelled = True
        if self._heard is not None:
            self._heard.cancel()
            self._heard.end()

    def __aiter__(self) -> Events[_Event]:
        return self

    async def __anext__(self) -> _Event:
        while True:
            heard = self._heard
            if heard is None:
                heard = await self._begin()
            if heard.waiting:
                return self._translate(heard.waiting.popleft())
            if heard.ended or self._cancelled:
                raise StopAsyncIteration
            if heard.behind:
                heard.cancel()
                self._heard = None
                continue
            heard.woken.clear()
            await heard.woken.wait()

    async def __aenter__(self) -> Events[_Event]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    async def _begin(self) -> Heard:
        heard = await self._subscribe()
        self._heard = heard
        if self._cancelled:
            self.cancel()
        return heard


async def begun(subscribe: Callable[[], Awaitable[Heard]], translate: Callable[[Any], _Event]) -> Events[_Event]:
    """Subscribes at once, so that what happens from now on is heard."""
    events = Events(subscribe, translate)
    await events._begin()
    return events
