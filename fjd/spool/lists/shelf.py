"""The directory of one list, and every rename that happens in it.

Every verb answers as the others of the spool do: what it made of it (or True) if that was decided
through us, None (or False) if somebody was faster.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

from typing import NamedTuple, Optional

from fjd.spool.lists import content
from fjd.spool.lists.names import END, NOBODY, OFF, STOP, Assigned, Kept, Mark, Piece, new_birth
from fjd.spool.names import RUN, Token
from fjd.spool.project import Project
from fjd.system import files

LARGEST = 4 << 20  # bytes of a piece: a command of the longest kind, and what belongs to it


class Look(NamedTuple):
    """What lies in a list's directory.

    Attributes:
        mark: the list's own token; None: it was removed, or has just been moved on.
        kept: its pieces, lowest first.
        others: the names of everything else: progress files, and what is not ours.
    """

    mark: Optional[Mark]
    kept: list[Kept]
    others: list[str]

    @property
    def bearers(self) -> set[str]:
        """Return whom those who lie here have borne: what is unborn elsewhere, or else void."""
        found = {kept.piece.bore for kept in self.kept if not kept.unborn}
        return found | {self.mark.bore} if self.mark else found


def keys(project: Project, nudge: bool = False) -> list[str]:
    """Return which lists are being worked off."""
    names = files.listing(project.lists, nudge) or ()
    return sorted(name for name in names if Token.parse(f"{name},s0,a1"))


def open_list(project: Project, source: str, token: Token) -> "Optional[Shelf]":
    """Queued -> open. ``source``: its path in jobqueue/ or requeue/. None: it was gone."""
    shelf = Shelf(project, token.key)
    while True:
        files.make_directory(shelf.path)
        try:
            won = files.move(source, f"{shelf.path}/{Mark(token)}")
        except FileNotFoundError:
            continue  # RACE: somebody removed the empty directory
        return shelf if won else None


class Shelf:
    """Where the pieces of one list lie while they are in nobody's pod."""

    def __init__(self, project: Project, key: str) -> None:
        self.project, self.key = project, key
        self.path = f"{project.lists}/{key}"
        self._delivered: set[str] = set()  # births of ours that nobody needs to look for

    def look(self, nudge: bool = False) -> Look:
        """See what is there; nothing at all if there is no such list."""
        mark: Optional[Mark] = None
        kept: list[Kept] = []
        others: list[str] = []
        for name in files.listing(self.path, nudge) or ():
            piece = Kept.parse(name)
            found = None if piece else Mark.parse(name)
            if piece:
                kept.append(piece)
            elif found and found.token.key == self.key:
                mark = found
            else:
                others.append(name)
        kept.sort(key=lambda item: item.piece)
        kept.sort(key=lambda item: item.piece.lo)
        return Look(mark, kept, others)

    def place(self, name: object) -> str:
        """Return the path of the mark or of a piece that lies here."""
        return f"{self.path}/{name}"

    def in_pod(self, worker: str, piece: Piece, accepted: bool) -> str:
        """Return the path of a piece in a pod."""
        return f"{self.project.pod(worker)}/{Assigned(self.key, piece, accepted)}"

    # -- births -------------------------------------------------------------------------------

    def deliver(self, bore: str) -> bool:
        """Unborn -> waiting (judged), if that child still lies here. Steps over ``b`` begin so."""
        if bore and bore not in self._delivered:
            for kept in self.look(nudge=True).kept:
                if kept.unborn and kept.piece.birth == bore:
                    return self._deliver(kept)
        self._delivered.discard(bore)
        return False

    def _deliver(self, child: Kept, target: str = "") -> bool:
        born = target or self.place(child._replace(unborn=False))
        won = files.move(self.place(child), born)
        self._delivered.add(child.piece.birth)  # by us, or by who was faster
        return won

    def _prepare(self, child: Kept, data: bytes) -> Kept:
        """Write a child that is no token yet."""
        unborn = child._replace(unborn=True)
        files.create(self.place(unborn), data)
        return unborn

    # -- cutting ------------------------------------------------------------------------------

    def cut(self, mark: Mark, hi: int, data: bytes, worker: str = "") -> Optional[Piece]:
        """Cut the tasks from the mark up to ``hi``, into a worker's pod or to wait here.

        None: somebody else has moved the mark; look again. If the pod is gone, it waits here.
        """
        self.deliver(mark.bore)
        child = Piece(new_birth(), mark.n, hi)
        unborn = self._prepare(Kept(child), data)
        if not files.move(self.place(mark), self.place(mark._replace(n=hi, bore=child.birth))):
            return None  # RACE: what was written stays: perhaps only the reply was lost
        if worker:
            given = child._replace(serial=1)
            try:
                return given if self._deliver(unborn, self.in_pod(worker, given, False)) else None
            except FileNotFoundError:
                worker = ""  # it has taken its pod down
        self._deliver(unborn)
        return child

    def call(self, mark: Mark, child: Piece, data: bytes) -> Optional[Mark]:
        """Let the mark bear a piece of numbers behind all others; it waits here.

        None: somebody else has moved the mark; look again.
        """
        self.deliver(mark.bore)
        unborn = self._prepare(Kept(child), data)
        new = mark._replace(bore=child.birth)
        if not files.move(self.place(mark), self.place(new)):
            return None  # RACE: what was written stays: perhaps only the reply was lost
        self._deliver(unborn)
        return new

    def skip(self, mark: Mark, n: int) -> Optional[Mark]:
        """Move the mark over numbers that are no tasks; the progress file has them already."""
        self.deliver(mark.bore)
        new = mark._replace(n=n, bore="")
        return new if files.move(self.place(mark), self.place(new)) else None

    def stop(self, mark: Mark) -> Optional[Mark]:
        """Open -> stopped: nothing more is cut."""
        new = mark._replace(end=STOP)
        return new if files.move(self.place(mark), self.place(new)) else None

    # -- pods, the dispatcher's side ----------------------------------------------------------

    def assign(self, piece: Piece, worker: str, forgiven: int = 0) -> Optional[Piece]:
        """Waiting -> assigned. Raises FileNotFoundError if the pod is gone.

        ``forgiven``: how many of its failures are not counted any more.
        """
        self.deliver(piece.bore)
        failures = max(0, piece.failures - forgiven)
        new = piece._replace(serial=piece.serial + 1, failures=failures, bore="")
        source, target = self.place(Kept(piece)), self.in_pod(worker, new, False)
        return new if files.move(source, target) else None

    def part(self, piece: Piece, at: int) -> Optional[Piece]:
        """Waiting -> two that wait; return the one below ``at``, which is in the piece.

        None: somebody else was faster. Raises Torn if what is written does not hold its tasks.
        """
        written = content.decode(self.content(Kept(piece)))
        child = piece.child(at, piece.hi, piece.attempt, piece.failures)
        rest = written.part(at, piece.hi)
        data = content.encode(at, piece.hi, rest, written.common)
        left = self.bear(Kept(piece), Kept(piece._replace(hi=at)), child, data)
        return left.piece if left else None

    def withdraw(self, worker: str, piece: Piece) -> Optional[Piece]:
        """Assigned -> waiting, unless it has just been accepted."""
        new = piece._replace(serial=piece.serial + 1)
        source, target = self.in_pod(worker, piece, False), self.place(Kept(new))
        return new if files.move(source, target) else None

    def reassign(self, worker: str, piece: Piece, to: str) -> Optional[Piece]:
        """Assigned -> assigned to somebody else, unless it has just been accepted."""
        self.deliver(piece.bore)
        new = piece._replace(serial=piece.serial + 1, bore="")
        source, target = self.in_pod(worker, piece, False), self.in_pod(to, new, False)
        return new if files.move(source, target) else None

    def take(self, worker: str, piece: Piece, why: str) -> Optional[Kept]:
        """Running -> taken: from here on its worker can end nothing of it."""
        new = Kept(piece._replace(serial=piece.serial + 1), False, why, worker)
        source = self.in_pod(worker, piece, True)
        return new if files.move(source, self.place(new)) else None

    def call_off(self, piece: Piece) -> Optional[Kept]:
        """Waiting -> judged: the list was stopped, so it is not run (again)."""
        self.deliver(piece.bore)
        new = piece._replace(serial=piece.serial + 1, bore="")
        kept = Kept(new, False, OFF, NOBODY, 0, piece.hi, piece.hi)
        return kept if files.move(self.place(Kept(piece)), self.place(kept)) else None

    # -- pods, the worker's side --------------------------------------------------------------

    def accept(self, worker: str, piece: Piece) -> bool:
        """Assigned -> running. False: the dispatcher took it back."""
        path = self.in_pod(worker, piece, False)
        return files.move(path, path + RUN)

    def split(self, worker: str, piece: Piece, at: int, data: bytes) -> Optional[Piece]:
        """Keep the tasks below ``at``, which is in the piece; the others wait for somebody else.

        None: the piece is not ours any more.
        """
        child = piece.child(at, piece.hi, piece.attempt, piece.failures)
        return self._part(worker, piece, piece._replace(hi=at), Kept(child), data)

    def hand_in(self, worker: str, piece: Piece, k: int, at: int, data: bytes) -> Optional[Piece]:
        """Keep the tasks from ``k`` on; those before have ended, and their records are synced.

        None: the piece is not ours any more.
        """
        child = piece._replace(birth=new_birth(), hi=k, serial=0, bore="")
        left = piece._replace(lo=k, extra=0, crashes=0)
        return self._part(worker, piece, left, Kept(child, False, END, worker, at, k), data)

    def _part(
        self, worker: str, piece: Piece, left: Piece, child: Kept, data: bytes
    ) -> Optional[Piece]:
        """Let a running piece bear a child; return what is left of it."""
        self.deliver(piece.bore)
        unborn = self._prepare(child, data)
        new = left._replace(serial=piece.serial + 1, bore=child.piece.birth)
        if not files.move(self.in_pod(worker, piece, True), self.in_pod(worker, new, True)):
            return None  # RACE: we were buried; the file stays, perhaps only the reply was lost
        self._deliver(unborn)
        return new

    def end(self, worker: str, piece: Piece, why: str, at: int, k: int) -> bool:
        """Running -> judged, by the worker itself; its records are synced. False: it is late."""
        new = Kept(piece._replace(serial=piece.serial + 1), False, why, worker, at, k)
        return files.move(self.in_pod(worker, piece, True), self.place(new))

    # -- afterwards ---------------------------------------------------------------------------

    def step(self, old: Kept, new: Kept) -> Optional[Kept]:
        """Move a kept piece on to its next name; what it bore is delivered first."""
        self.deliver(old.piece.bore)
        return self._step(old, new, "")

    def _step(self, old: Kept, new: Kept, bore: str) -> Optional[Kept]:
        piece = new.piece._replace(serial=old.piece.serial + 1, bore=bore)
        new = new._replace(piece=piece)
        return new if files.move(self.place(old), self.place(new)) else None

    def bear(self, old: Kept, new: Kept, child: Piece, data: bytes) -> Optional[Kept]:
        """Give a part of a kept piece to a child; ``new`` says what is left of it."""
        self.deliver(old.piece.bore)
        unborn = self._prepare(Kept(child), data)
        left = self._step(old, new, child.birth)
        if left:
            self._deliver(unborn)
        return left

    def content(self, kept: Kept) -> bytes:
        """Return what is in a piece that lies here. Raises FileNotFoundError if it was moved."""
        return files.read(self.place(kept), LARGEST)

    def discard(self, kept: Kept) -> None:
        """Folded -> nothing: unlink a piece of which every task stands in a progress file."""
        self.deliver(kept.piece.bore)
        files.remove(self.place(kept))
