"""The heart of a worker: what both of its threads know of a burial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fjd.spool import crew
from fjd.spool.crew import Post
from fjd.spool.timings import Timings
from fjd.worker.guardian import Lifeline
from fjd.worker.heart import Heart

if TYPE_CHECKING:
    from tests.unit.conftest import FakeWorker, Hire


def heart_of(worker: FakeWorker) -> Heart:
    """Return a heart that beats when it is told to."""
    return Heart(worker.post, Lifeline(-1, -1), Timings(), [], lambda: None)


def test_buried_for_good(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was stopped behind a beat that still counted does not deny the burial that came then."""
    worker = hire()
    heart = heart_of(worker)
    beat = Post.beat

    def stopped(post: Post) -> bool:
        """Beat, and go on when the other thread has found out."""
        alive = beat(post)
        monkeypatch.setattr(Post, "beat", beat)
        assert worker.sighting is not None
        assert crew.unlist(worker.project, worker.sighting)
        assert not heart.beat()
        return alive

    monkeypatch.setattr(Post, "beat", stopped)
    assert not heart.beat()
    assert heart.buried
