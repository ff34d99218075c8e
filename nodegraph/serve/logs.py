"""Structured logs: one JSON object a line in the home's log folder, and what matters in words on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from aiohttp.http_exceptions import HttpProcessingError

from nodegraph.console import Words

BYTES, FILES = 8 * 2**20, 4


class JsonLines(logging.Formatter):
    """A record as one line of JSON: nothing in it can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        data = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=True, default=str)


def set_up(folder: Path) -> None:
    """Log to `server.log` in a folder, and warnings to stderr."""
    root = logging.getLogger("nodegraph")
    root.setLevel(logging.INFO)
    root.propagate = False
    words = logging.StreamHandler(sys.stderr)
    words.setLevel(logging.WARNING)
    words.setFormatter(Words("%(levelname)s: %(message)s"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = RotatingFileHandler(folder / "server.log", maxBytes=BYTES, backupCount=FILES, encoding="utf-8")
    lines.setFormatter(JsonLines())
    root.handlers = [words, lines]
    for name in ("aiohttp", "asyncio"):
        logging.getLogger(name).handlers = [words, lines]
    logging.getLogger("aiohttp.server").addFilter(_calm)


def _calm(record: logging.LogRecord) -> bool:
    """A request that is no HTTP is its sender's fault: a line, and neither an error nor a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "refused what is no HTTP: %s", (error.message,)
        record.exc_info = None
    return True
