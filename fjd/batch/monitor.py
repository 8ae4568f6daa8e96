"""The monitor, ``<prefix>_dbUtil.sh --mon``: a run on a terminal, and the keys to stop parts of it.

It only reads the board and the contexts. What it stops it asks for by a file (contexts.py), and the
dispatcher obeys: what runs is finished first.
"""

from __future__ import annotations

import curses
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Optional

from fjd.batch import board, panel
from fjd.batch.board import Board, Engine
from fjd.batch.dbutil import Run
from fjd.batch.panel import Cursor, Question, Row, Scene
from fjd.errors import ConfigError
from fjd.spool import contexts, crew, runs
from fjd.spool.lists import shelf
from fjd.spool.project import Project
from fjd.talk import one_line

if TYPE_CHECKING:
    Window = curses.window

_LOOK = 1.0  # s between two looks at the run
_KEYS = 100  # ms that a look for a key takes
_TOP = 5  # lines above the first engine
_COLOURS = {
    panel.NORMAL: curses.COLOR_GREEN,
    panel.ASKED: curses.COLOR_YELLOW,
    panel.STOPPING: curses.COLOR_RED,
}


def watch(project: Project, run: Run) -> int:
    """Show the run until ``q``; return the exit code.

    Raises:
        ConfigError: this is no terminal, or it is too small.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "--mon needs a terminal",
            remedy=f"type it in one, or type: fjd status --project {project.name}",
        )
    os.environ.setdefault("ESCDELAY", "25")
    with suppress(KeyboardInterrupt):
        curses.wrapper(lambda screen: Monitor(screen, project, run).run())
    return 0


def scene(project: Project, run: Run) -> Scene:
    """Look at a run."""
    label = one_line(os.path.basename(run.prefix))
    if not runs.exists(run.project) or run.key not in shelf.keys(project):
        return Scene(label, None, ())
    seen = board.read(project, run.key)
    seen = seen or Board(None, 0, 0, 0, True, None, 0.0, ())
    known = {engine.rank: engine for engine in seen.engines}
    stops = contexts.look(project).stops
    crewed: dict[int, list[bool]] = {}
    for _, (sighting, card) in crew.cards(project).items():
        if card is not None:
            crewed.setdefault(card.engine, []).append(sighting.busy)
    rows = []
    for context in contexts.everyone(project):
        for place in context.engines:
            busy = crewed.get(place.rank, [])
            if not busy:
                continue  # it has left, or has not come up yet
            blank = Engine(place.rank, context.label, place.host, 0, 0, 0, 0, 0, 0.0)
            engine = known.get(place.rank, blank)
            engine = engine._replace(
                context=context.label, host=place.host, slots=len(busy), idle=busy.count(False)
            )
            leaving = panel.STOPPING if len(busy) < place.slots else panel.ASKED
            rows.append(Row(engine, leaving if place.rank in stops else panel.NORMAL))
    return Scene(label, seen, tuple(rows))


class Monitor:
    """The run on one screen."""

    def __init__(self, screen: Window, project: Project, run: Run) -> None:
        self._screen, self._project, self._run = screen, project, run
        self._cursor, self._message = Cursor(), ""
        self._scene = Scene("", None, ())
        self._due = 0.0
        self._colours: dict[str, int] = {}

    def run(self) -> None:
        """Show, and obey keys, until told to quit."""
        self._set_up()
        while True:
            if time.monotonic() >= self._due:
                self._scene = scene(self._project, self._run)
                self._due = time.monotonic() + _LOOK
            self._draw()
            key = self._screen.getch()
            if key in (ord("q"), ord("Q")):
                return
            if key not in (-1, curses.KEY_RESIZE):
                self._obey(key)

    def _set_up(self) -> None:
        with suppress(curses.error):  # a terminal that cannot hide its cursor
            curses.curs_set(0)
        self._screen.timeout(_KEYS)
        if curses.has_colors() and not os.environ.get("NO_COLOR"):
            curses.use_default_colors()
            for number, (state, colour) in enumerate(_COLOURS.items(), 1):
                curses.init_pair(number, colour, -1)
                self._colours[state] = curses.color_pair(number)

    def _obey(self, key: int) -> None:
        self._message = ""
        rows = self._scene.rows
        if key in (ord("u"), curses.KEY_UP):
            self._cursor.move(rows, -1)
        elif key in (ord("d"), curses.KEY_DOWN):
            self._cursor.move(rows, 1)
        elif key in (ord("h"), ord("?")):
            self._message = panel.HELP
        elif key in (ord("C"), ord("E")):
            asked = panel.question(chr(key), rows, self._cursor.rank)
            if asked is not None and self._confirm(asked):
                contexts.ask_to_stop(self._project, asked.ranks)
                self._message, self._due = asked.done, 0.0
        else:
            self._message = f"Got unrecognized key: {key}"

    # -- drawing ------------------------------------------------------------------------------

    def _large(self) -> bool:
        lines, columns = self._screen.getmaxyx()
        return lines >= panel.LINES and columns >= panel.COLUMNS

    def _draw(self) -> None:
        self._screen.erase()
        if self._large():
            self._draw_scene()
        else:
            self._put(0, 0, panel.TOO_SMALL)
        self._screen.refresh()

    def _draw_scene(self) -> None:
        lines, columns = self._screen.getmaxyx()
        room = lines - _TOP - 1
        rule = "+" + "-" * (panel.COLUMNS - 3) + "+"
        first, second = panel.header(self._scene)
        for y, text in ((0, rule), (3, rule)):
            self._put(y, 0, text)
        for y, text in ((1, first), (2, second)):
            self._put(y, 0, "|")
            self._put(y, 2, text)
            self._put(y, panel.COLUMNS - 2, "|")
        self._put(4, 2, panel.HEADING, curses.A_BOLD)
        rows = self._scene.rows
        at = self._cursor.place(rows, room)
        if not rows:
            self._put(_TOP, 2, panel.NO_CONTENT)
        bar = panel.scroll_bar(len(rows), self._cursor.top, room)
        for number, row in enumerate(rows[self._cursor.top : self._cursor.top + room]):
            chosen = at == number + self._cursor.top
            y = _TOP + number
            if number in bar:
                self._put(y, 0, "|", curses.A_REVERSE)
            if chosen:
                self._diamond(y)
            self._put(y, 2, panel.line(row), self._colours.get(row.state, 0))
        over = panel.OVER if self._scene.board is None else ""
        self._put(lines - 1, 2, (self._message or over)[: columns - 4])

    def _diamond(self, y: int) -> None:
        with suppress(curses.error):  # the window shrank just now
            self._screen.addch(y, 1, curses.ACS_DIAMOND)

    def _put(self, y: int, x: int, text: str, attribute: int = 0) -> None:
        lines, columns = self._screen.getmaxyx()
        if y < lines and x < columns - 1:
            with suppress(curses.error):  # the window shrank just now
                self._screen.addnstr(y, x, text, columns - x - 1, attribute)

    # -- confirmation -------------------------------------------------------------------------

    def _confirm(self, asked: Question) -> bool:
        """Ask whether to do it; a changed size says no."""
        choice = "[Y]es/[N]o/[C]ancel"
        width = max(len(asked.text), len(choice), len("Confirm")) + 4
        lines, columns = self._screen.getmaxyx()
        width = min(width, columns)
        window = curses.newwin(5, width, max(0, (lines - 5) // 2), (columns - width) // 2)
        window.keypad(True)
        window.border()
        for y, text in ((0, " Confirm "), (1, asked.text), (3, choice)):
            window.addnstr(y, 2, text, max(0, width - 4), curses.A_BOLD if not y else 0)
        window.refresh()
        answer: Optional[int] = None
        while answer not in (ord("n"), ord("N"), ord("c"), ord("C"), 27, curses.KEY_RESIZE):
            answer = window.getch()
            if answer in (ord("y"), ord("Y")):
                return True
        return False
