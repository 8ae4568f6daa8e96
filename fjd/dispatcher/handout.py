"""What can be handed out of one list: pieces that wait, and what is cut at the mark."""

from __future__ import annotations

from typing import Callable, Optional

from fjd.dispatcher.absence import Office
from fjd.dispatcher.blame import Blame
from fjd.dispatcher.brake import Brake
from fjd.dispatcher.engines import Engines, Step, engine_of, rank_on
from fjd.dispatcher.reader import Reader, common
from fjd.dispatcher.writer import Writer
from fjd.errors import JobFileError
from fjd.spool import outcomes
from fjd.spool.lists import content, halt, terms
from fjd.spool.lists.folder import Folder
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import Mark, Piece
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.terms import Terms

PIECE = 0.25  # s of work in one piece
MOST = 1000  # tasks in one piece
_FIRST = 4  # tasks in a piece before anything was measured


class Handout:
    """One list, as far as it is handed out.

    Attributes:
        mark: its token as last seen; None if it is gone, or was moved since.
        waiting: its pieces that can be assigned.
        mean: seconds per task, a moving average (None before the first one).
        terms: what its submitter asks for; ``trouble``: why they cannot be read.
        brake, engines: its end, and who runs PERENGINE commands.
    """

    def __init__(
        self, shelf: Shelf, office: Office, blame: Blame, clock: Callable[[], float]
    ) -> None:
        self.shelf, self.blame = shelf, blame
        self.terms, self.trouble = _terms(shelf)
        blame.allow(self.terms.retries)
        self.folder = Folder(shelf, office.me, blame, lambda lo, hi: self.reader.again(lo, hi))
        writer = Writer(shelf, self.terms.writer, office.patience, clock)
        self.reader = Reader(shelf, self.terms, self.folder.done, writer)
        self._common = common(shelf.key, self.terms)
        self.engines = Engines(shelf, self.reader, self.folder, self._common)
        self.brake = Brake(shelf)
        self.mark: Optional[Mark] = None
        self.waiting: list[Piece] = []
        self.mean: Optional[float] = None

    # -- stopping -----------------------------------------------------------------------------

    def halt(self, why: Halt) -> None:
        """Let nothing more of the list be begun; the reason outlives us."""
        if self.mark is not None and not self.mark.end and self.brake.why is None:
            self.mark = self.brake.pull(self.mark, why)

    def stop(self, wrong: JobFileError) -> None:
        """A line of the list cannot be run: nothing behind it is; what comes before it is first."""
        begun = self.mark is not None and not self.folder.covered.full(self.mark.n)
        if begun and wrong is not self.trouble:
            return
        self.halt(Halt(str(wrong), outcomes.FAILED, reason=halt.WRONG))

    # -- cutting ------------------------------------------------------------------------------

    def give(
        self, worker: str, host: str, crew: int, most: int = MOST, engine: int = -1
    ) -> Optional[Piece]:
        """Let a worker have a piece; None if there is none now, or somebody else was faster.

        Args:
            crew: how many share the list: towards its end pieces become smaller.
            most: how many tasks it may get; 0: only what its engine is to run at its end.
            engine: the rank of its engine; -1: it belongs to no context.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        rank = rank_on(host, engine)
        if not self.engines.ready(rank) and not self._begin_engine(rank):
            most = 0
        for at, piece in enumerate(self.waiting):
            whose = engine_of(piece)
            if whose == rank or (whose is None and most and self.blame.suits(piece, host)):
                del self.waiting[at]
                return self._assign(piece, worker, MOST if whose == rank else most)
        if not most or self.mark is None or self.mark.end:
            return None
        return self._cut(self.mark, worker, crew, most)

    def _begin_engine(self, rank: int) -> bool:
        if self.mark is None or self.mark.end:
            return False
        try:
            return self._took(self.engines.begin(self.mark, rank))
        except FileNotFoundError:
            self.mark = None  # RACE: another dispatcher has cut; until the next look
            return False

    def _cut(self, mark: Mark, worker: str, crew: int, most: int) -> Optional[Piece]:
        try:
            share = self.reader.share(mark, min(self._size(), most), crew)
        except FileNotFoundError:
            self.mark = None  # RACE: another dispatcher has cut; until the next look
            return None
        if share is None:
            return None
        self.mark = None  # if this goes wrong: until the next look
        data = content.encode(mark.n, share.hi, share.tasks, self._common)
        given = self.shelf.cut(mark, share.hi, data, worker)
        if given is None or not given.serial:
            return None
        self.reader.cut(share.hi)
        self.mark = mark._replace(n=share.hi, bore=given.birth)
        return given

    def _assign(self, piece: Piece, worker: str, most: int) -> Optional[Piece]:
        short: Optional[Piece] = piece
        if piece.hi - piece.lo > most:
            try:
                short = self.shelf.part(piece, piece.lo + most)
            except (content.Torn, FileNotFoundError):
                return None  # torn: for whoever may have all of it, and then sees that
        return self.shelf.assign(short, worker, self.blame.forgiven(short)) if short else None

    def _size(self) -> int:
        size = _FIRST if self.mean is None else int(PIECE / max(self.mean, 1e-6))
        return max(1, min(size, MOST))

    def may_pass_on(self, piece: Piece, host: str, rank: int) -> bool:
        """Tell whether a piece that waits in a pod may go to an engine on some host instead."""
        begun = self.engines.ready(rank) and engine_of(piece) is None
        return begun and self.blame.suits(piece, host)

    # -- engines ------------------------------------------------------------------------------

    def leave(self, rank: int) -> bool:
        """Let an engine run its last commands; tell whether it has."""
        if self.mark is None or self.mark.end:
            return self.mark is not None
        try:
            return self._took(self.engines.leave(self.mark, rank))
        except FileNotFoundError:
            return False  # RACE: another dispatcher has cut, or the user has removed it

    def _took(self, step: Step) -> bool:
        self.mark = step.mark
        if step.born is not None:
            self.waiting.append(step.born)
        return step.done


def _terms(shelf: Shelf) -> tuple[Terms, Optional[JobFileError]]:
    try:
        return terms.read(shelf.path), None
    except JobFileError as error:
        return Terms(), error
