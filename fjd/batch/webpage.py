"""The page that shows a run in a browser: one string, nothing from anywhere else, all escaped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

REFRESH = 5  # s
SHOWN = 50  # failures, the last ones

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em; overflow-wrap: anywhere } h2 { font-size: 1.1em; margin-top: 2em }
progress { width: 100%; height: 1.6em }
table { border-collapse: collapse; width: 100% } caption { text-align: left }
th, td { text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid #8884 }
.n { text-align: right; font-variant-numeric: tabular-nums }
pre { overflow-x: auto; background: #8882; padding: .6em } .bad { color: #c33 }
footer { margin-top: 2em; opacity: .7 }
"""
_COUNTS = ("slots", "idle", "assigned", "finished", "failed")
_COLUMNS = ("context", "host", *_COUNTS)


def render(status: Mapping[str, Any], now: float) -> str:
    """Return the page: progress, engines and the last failures of a run.

    Args:
        status: what the board says, with ``run`` (a name) and ``failures`` (status rows).
        now: wall clock.
    """
    run = escape(str(status.get("run") or "fjd-batch"))
    return "".join(
        (
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>",
            f"<meta http-equiv='refresh' content='{REFRESH}'>",
            "<meta name='viewport' content='width=device-width'>",
            f"<title>{_percent(status)}{run}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{run}</h1>",
            *_progress(status, now),
            *_engines(status, now),
            *_failures(status),
            f"<footer>{_clock(now)}; looks again every {REFRESH} s."
            " <a href='status.json'>status.json</a></footer></body></html>\n",
        )
    )


def _progress(status: Mapping[str, Any], now: float) -> Iterable[str]:
    finished, tasks = _number(status, "finished"), status.get("tasks")
    failed = _number(status, "failed")
    if isinstance(tasks, int):
        yield f"<progress value='{finished}' max='{max(tasks, 1)}'></progress>"
    total = f" of {tasks:,}" if isinstance(tasks, int) else ""
    bad = " class='bad'" if failed else ""
    yield f"<p><b>{finished:,}</b>{total} tasks finished, <b{bad}>{failed:,}</b> failed,"
    yield f" <b>{_number(status, 'running'):,}</b> running."
    yield " More tasks." if status.get("more") else " No more tasks."
    if isinstance(status.get("barrier"), int):
        yield f" Waits at barrier {_number(status, 'barrier')}."
    if _number(status, "started"):
        started = _number(status, "started")
        yield f"</p><p>Started {_clock(started)}, {_duration(now - started)} ago."
    yield "</p>"


def _engines(status: Mapping[str, Any], now: float) -> Iterable[str]:
    engines = status.get("engines") or {}
    yield "<h2>Engines</h2>"
    if not engines:
        yield "<p>None.</p>"
        return
    yield "<table><tr><th class='n'>rank</th>"
    yield from (f"<th{_side(name)}>{name}</th>" for name in _COLUMNS)
    yield "<th class='n'>last seen</th></tr>"
    for rank, engine in sorted(engines.items(), key=lambda item: int(item[0])):
        yield f"<tr><td class='n'>{int(rank)}</td>"
        yield from (f"<td{_side(name)}>{escape(str(engine.get(name)))}</td>" for name in _COLUMNS)
        last = _number(engine, "last")
        yield f"<td class='n'>{_duration(now - last) + ' ago' if last else ''}</td></tr>"
    yield "</table>"


def _failures(status: Mapping[str, Any]) -> Iterable[str]:
    rows = list(status.get("failures") or ())[-SHOWN:]
    if rows:
        yield f"<h2>The last failures ({len(rows)})</h2><pre>"
        yield from (escape(str(row).rstrip("\n")) + "\n" for row in rows)
        yield "</pre>"


def _percent(status: Mapping[str, Any]) -> str:
    tasks = status.get("tasks")
    if not isinstance(tasks, int) or tasks <= 0:
        return ""
    return f"{100 * _number(status, 'finished') // tasks} % "


def _number(fields: Mapping[str, Any], name: str) -> int:
    return int(fields.get(name) or 0)


def _side(name: str) -> str:
    return " class='n'" if name in _COUNTS else ""


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{whole} s"
