"""Events of one directory, as hints to look at it now; the only module that imports watchdog.

An event never carries a fact that a look would not find, with one exception: that a file was
closed by its writer or renamed in as a whole, which no look can see.

watchdog holds a rename *out of* the directory back for half a second, and every later event waits
behind it. Whoever renames files away therefore looks by itself for a second afterwards, and arms
the watch only when things are quiet; this also spares a busy dispatcher an event per job.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Callable

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Handler(FileSystemEventHandler):  # type: ignore[misc]
    def __init__(self, seen: Callable[[str], None]) -> None:
        self._seen = seen

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = event.dest_path if isinstance(event, FileMovedEvent) else event.src_path
        if path:
            self._seen(os.path.basename(os.fsdecode(path)))


class Watch:
    """Watches the files of one directory (not below it).

    Args:
        wake: called, from another thread, when something happened.
    """

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self._path, self._wake = path, wake
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._handler = _Handler(self._seen)
        self._observer: Any = None

    @property
    def armed(self) -> bool:
        """Tell whether events come."""
        return self._observer is not None

    def _seen(self, name: str) -> None:
        with self._lock:
            self._names.add(name)
        self._wake()

    def arm(self) -> bool:
        """Start; look at the directory once more afterwards. False: no events to be had here."""
        if self._observer is not None:
            return True
        try:
            observer = Observer(generate_full_events=True)
            observer.schedule(
                self._handler, self._path, event_filter=[FileClosedEvent, FileMovedEvent]
            )
            observer.start()
        except (OSError, RuntimeError):
            return False  # no more watches, or no more threads: polling has to do
        self._observer = observer
        return True

    def disarm(self) -> None:
        """Stop; what was seen stays."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    def take(self) -> set[str]:
        """Return the names of files that are complete, as far as was seen since the last call."""
        with self._lock:
            names, self._names = self._names, set()
        return names
