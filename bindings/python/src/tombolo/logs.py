"""The library's log, in Python's."""

from __future__ import annotations

import logging

from . import _ffi

_LEVELS = {
    _ffi.LogLevel.ERROR: logging.ERROR,
    _ffi.LogLevel.WARN: logging.WARNING,
    _ffi.LogLevel.INFO: logging.INFO,
    _ffi.LogLevel.DEBUG: logging.DEBUG,
    _ffi.LogLevel.TRACE: logging.DEBUG,
}


class _Sink(_ffi.LogSink):
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def on_lines(self, lines: list[_ffi.LogLine]) -> None:
        for line in lines:
            self._logger.log(_LEVELS[line.level], "%s: %s", line.target, line.text)


def log_to(logger: logging.Logger | None, level: _ffi.LogLevel = _ffi.LogLevel.INFO) -> None:
    """Hands the library's log to a logger from now on, up to a level; ``None`` turns it off.

    Lines come from a thread of the library, which ``logging`` allows. They name no content. Raises
    ``TomboloError.Misuse`` where the process has given ``tracing`` another subscriber.
    """
    _ffi.set_log_sink(level, None if logger is None else _Sink(logger))
