"""The views: harmless text, cells that fit, a true count of the spool, the output of an attempt."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import NothingToDo
from fjd.spool import attempts, burial, lookup, pods, records
from fjd.spool.crew import Card, Post
from fjd.spool.filing import Cabinet
from fjd.spool.lease import Lease
from fjd.spool.lists import submission
from fjd.spool.names import Result, Token, new_key, new_worker
from fjd.spool.project import Project
from fjd.spool.records import Ledger, Record
from fjd.spool.timings import LOCAL
from fjd.system.identity import Identity
from fjd.views import hints, log, status, status_text, terminal


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("FJD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FJD_PROJECT", raising=False)
    return Project.open("p")


class Spool:
    """Builds states by the spool's own verbs."""

    def __init__(self, project: Project) -> None:
        self.project, self.serial = project, 0
        self.worker = new_worker("node1", 0)
        os.mkdir(project.pod(self.worker))

    def assigned(self, name: str, attempt: int = 1) -> Token:
        self.serial += 1
        token = Token(new_key(name), self.serial, attempt)
        source = f"{self.project.jobqueue}/{name}"
        Path(source).touch()
        assert pods.assign(self.project, source, token, self.worker)
        return token

    def running(self, name: str, attempt: int = 1) -> Token:
        token = self.assigned(name, attempt)
        assert pods.Pod(self.project, self.worker).accept(token)
        return token

    def ended(self, name: str, code: str) -> Result:
        token = self.running(name)
        assert pods.commit(self.project, self.worker, token, code)
        return Result(token, self.worker, code)

    def filed(self, name: str, code: str) -> Result:
        result = self.ended(name, code)
        assert Cabinet(self.project).file(result)
        return result

    def prints(self, stream: str, data: bytes) -> list[int]:
        """Append to the worker's output; returns the span."""
        with open(self.project.output_file(self.worker, stream), "ab") as file:
            start = file.tell()
            file.write(data)
        return [start, len(data)]

    def notes(self, token: Token, event: str, writer: str = "", **fields: object) -> None:
        ledger = Ledger(self.project, writer or self.worker)
        record: Record = {"event": event, "job": token.job, "key": token.key}
        ledger.write({**record, "attempt": token.attempt, "worker": self.worker, **fields})
        ledger.close()


@pytest.fixture
def spool(project: Project) -> Spool:
    return Spool(project)


# -- text ---------------------------------------------------------------------------------------


@given(st.text())
def test_nothing_that_controls_a_terminal_is_shown(text: str) -> None:
    shown = terminal.safe(text)
    assert all(c.isprintable() or c in "\n\t" or c.isspace() for c in shown)
    assert not set(shown) & set("\x1b\x07\x08\x7f\x9b\r\x85\u202e\u2028\u2066\u200f")


@given(st.binary(), st.integers(1, 7))
def test_output_in_pieces_is_shown_like_output_at_once(data: bytes, size: int) -> None:
    cleaner = terminal.Cleaner()
    pieces = [cleaner.feed(data[i : i + size]) for i in range(0, len(data), size)]
    whole = terminal.safe(data.decode("utf-8", "surrogateescape"))
    assert "".join(pieces) + cleaner.feed(b"", final=True) == whole


def test_tabs_letters_and_line_ends_stay() -> None:
    assert terminal.safe("a\tb\r\ncafé\u00a0日本\r50%") == "a\tb\ncafé\u00a0日本\n50%"


@given(st.text(max_size=30), st.integers(3, 30))
def test_a_cell_never_takes_more_than_its_room(text: str, room: int) -> None:
    assert terminal.width(terminal.fit(text, room)) <= room


def test_a_table_gives_way_where_it_is_widest() -> None:
    lines = terminal.table([("job", "n"), ("x" * 200, "1"), ("日" * 50, "2")], 40)
    assert max(map(terminal.width, lines)) <= 40
    assert lines[1].endswith("...  1")


def test_a_hint_names_the_project_unless_it_is_the_usual_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hints.typed(project, "fjd status") == "fjd status --project p"
    monkeypatch.setenv("FJD_PROJECT", "p")
    assert hints.typed(project, "fjd status") == "fjd status"


def test_a_job_whose_name_cannot_be_typed_is_called_by_its_key() -> None:
    assert hints.word("job 1.conf", "k") == "'job 1.conf'"
    assert hints.word("job\n1.conf", "k") == "k"
    assert hints.word("-rf", "k") == "k"


# -- status -------------------------------------------------------------------------------------


def test_an_unknown_project_is_not_made_by_asking(project: Project) -> None:
    with pytest.raises(NothingToDo):
        Project.existing("other")
    assert not os.path.exists(os.path.join(os.path.dirname(project.root), "other"))


def test_every_job_is_counted_where_it_lies(spool: Spool) -> None:
    project = spool.project
    spool.assigned("a")
    spool.running("r")
    spool.ended("e", "ok")
    for name, code in (("d", "ok"), ("f", "x3"), ("k", "sig9"), ("t", "timeout"), ("l", "lost")):
        spool.filed(name, code)
    spool.ended("c", "cancelled")
    Path(f"{project.jobqueue}/q").touch()
    Path(f"{project.jobqueue}/.half").touch()
    Path(f"{project.requeue}/{Token(new_key('z'), 3, 2)}").touch()
    expected = dict.fromkeys(status.COUNTS, 1) | {"queued": 2, "done": 2, "rejected": 0}
    assert expected == status.collect(project).counts


def test_the_last_failures_come_first_and_in_words(spool: Spool) -> None:
    for i in range(15):
        spool.filed(f"j{i}", "x3")
    spool.ended("last", "sig9")
    seen = status.collect(spool.project)
    assert [found.job for found in seen.failures[:3]] == ["last", "j14", "j13"]
    assert len(seen.failures) == 10
    assert status.how(seen.failures[0].code) == "killed by signal 9"
    assert status.how("x3") == "exit code 3"


def test_no_record_is_read_to_count(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.filed("f", "x1")
    monkeypatch.setattr(records, "lines", lambda path: pytest.fail("a record was read"))
    assert status.collect(spool.project).counts["failed"] == 1


def post(project: Project, worker: str) -> None:
    me = Identity.of(os.getpid())
    Post(project, Card(worker, me, me, "", "", "", "", "/", 0.0)).announce()


def test_workers_are_counted_per_host_and_our_dead_ones_are_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fjd.spool.presence.hostname", lambda: "here.example.org")
    for host in ("here", "here", "node1"):
        post(project, new_worker(host, 1))
    monkeypatch.setattr(Identity, "alive", lambda self: False)
    expected = {
        "here": {"idle": 0, "busy": 0, "dead": 2},
        "node1": {"idle": 1, "busy": 0, "dead": 0},
    }
    assert expected == status.as_json(status.collect(project))["workers"]["hosts"]


def test_a_page_fits_eighty_columns_whatever_the_names(spool: Spool) -> None:
    for name in ("x" * 200, "日本" * 20, "a\x1b[31m\nb"):
        spool.filed(name, "x3")
        spool.running(name + ".r")
    Lease(spool.project, "", LOCAL).take()
    lines = status_text.for_terminal(status.collect(spool.project), 80)
    page = "\n".join(lines[: lines.index("", 5) :])
    assert max(map(terminal.width, page.split("\n"))) <= 80
    assert "\x1b" not in "\n".join(lines)


def test_a_pipe_gets_a_line_per_fact_with_nothing_cut(spool: Spool) -> None:
    name = "x" * 50 + "\n\t"
    result = spool.filed(name, "x3")
    lines = status_text.for_pipe(status.collect(spool.project))
    job = terminal.one_line(name)
    expected = ["job", "failed", job, result.token.key, "1", spool.worker, "node1", "x3"]
    assert expected == lines[-1].split("\t")
    assert "failed\t1" in lines


def test_the_json_of_a_hostile_project_is_json(spool: Spool) -> None:
    spool.filed("a\udcffb\x1b", "x3")
    text = json.dumps(status.as_json(status.collect(spool.project)))
    assert json.loads(text)["failures"][0]["text"] == "exit code 3"


def test_a_list_of_a_hostile_name_is_text(project: Project) -> None:
    place = submission.submit(project, "a\x1b[31m\nb\u202e.tasks", [b"true"])
    Path(place.place("board")).write_text('{"finished": "\x1b[2J", "tasks": 1, "failed": 0}')
    seen = status.collect(project)
    lines = [*status_text.for_pipe(seen), *status_text.for_terminal(seen, 80)]
    assert sum("a\\x1b[31m" in line for line in lines) == 2
    assert all(set(line) <= {"\t"} or line.replace("\t", "").isprintable() for line in lines)


def test_a_project_without_anybody_says_what_to_type(project: Project) -> None:
    Path(f"{project.jobqueue}/q").touch()
    steps = "\n".join(status_text.next_steps(status.collect(project)))
    assert "fjd-recruiter hire --project p" in steps
    assert "fjd-dispatcher --project p" in steps


def test_a_dispatcher_that_lives_is_not_missed(project: Project) -> None:
    Lease(project, "", LOCAL).take()
    seen = status.collect(project)
    assert seen.dispatcher is not None
    assert seen.dispatcher.alive is True
    assert hints.dispatcher_line(project, seen.dispatcher) == ""
    died = seen.dispatcher._replace(alive=False)
    assert "start one" in hints.dispatcher_line(project, died)
    silent = seen.dispatcher._replace(alive=None, silent=95.0)
    assert "silent for 95 s" in hints.dispatcher_line(project, silent)


# -- log ----------------------------------------------------------------------------------------


def printed(attempt: attempts.Attempt) -> dict[str, bytes]:
    found = {"out": b"", "err": b""}
    for stream, data in attempt.read():
        found[stream] += data
    return found


def attempt_at(spool: Spool, text: str, number: Optional[int] = None) -> attempts.Attempt:
    (found,) = lookup.select(lookup.everything(spool.project), text)
    return log.attempt_of(spool.project, found, number)


def test_an_attempt_shows_its_own_output_and_no_other(spool: Spool) -> None:
    spool.prints("out", b"before")
    result = spool.filed("j", "x1")
    spool.notes(
        result.token, "end", out=spool.prints("out", b"mine"), err=spool.prints("err", b"oops")
    )
    spool.prints("out", b"after")
    assert printed(attempt_at(spool, "j")) == {"out": b"mine", "err": b"oops"}


def test_a_running_attempt_is_read_as_it_grows_and_no_further_than_its_end(spool: Spool) -> None:
    spool.prints("out", b"before")
    token = spool.running("j")
    attempt = attempt_at(spool, "j")
    assert printed(attempt)["out"] == b""
    spool.prints("out", b"one ")
    spool.notes(token, "start", out=[6, 0], err=[0, 0])
    assert not attempt.refresh()
    assert printed(attempt)["out"] == b"one "
    spool.prints("out", b"two")
    spool.notes(token, "end", outcome="ok", out=[6, 7], err=[0, 0])
    spool.prints("out", b"the next task's")
    assert printed(attempt)["out"] == b"two"
    assert attempt.end is not None


def test_a_lost_attempt_shows_what_it_had_printed(spool: Spool) -> None:
    result = spool.filed("j", "lost")
    spool.notes(result.token, "start", out=spool.prints("out", b"so far"), err=[0, 0])
    ledger = Ledger(spool.project, "dispatcher-x")
    ledger.write(burial.loss_record(result.token, spool.worker, "its worker died"))
    ledger.close()
    attempt = attempt_at(spool, "j")
    assert printed(attempt)["out"] == b"so far"
    assert (attempt.end or {})["outcome"] == "lost"


def test_an_earlier_attempt_can_be_asked_for(spool: Spool) -> None:
    token = spool.running("j", attempt=2)
    first = token._replace(attempt=1)
    spool.notes(first, "end", out=spool.prints("out", b"first"), err=None)
    assert printed(attempt_at(spool, "j", 1))["out"] == b"first"


def test_a_job_that_was_removed_is_known_by_its_records(spool: Spool) -> None:
    token = Token(new_key("gone"), 1)
    spool.notes(token, "end", out=spool.prints("out", b"last words"), err=None)
    found = log.pick(spool.project, "gone", lambda text: None)
    assert found.state == attempts.REMOVED
    assert printed(log.attempt_of(spool.project, found, None))["out"] == b"last words"


def test_of_several_jobs_of_one_name_the_newest_is_shown_and_it_is_said(spool: Spool) -> None:
    old, new = spool.filed("j", "ok"), spool.filed("j", "x1")
    said: list[str] = []
    assert log.pick(spool.project, "j", said.append).key == new.token.key
    assert old.token.key in said[0]


def test_a_queued_job_says_so(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    Path(f"{spool.project.jobqueue}/j").touch()
    said: list[str] = []
    found = log.pick(spool.project, "j", said.append)
    attempt = log.attempt_of(spool.project, found, None)
    log.show(spool.project, found, attempt, log.Printer(), said.append)
    assert said == ["j is queued, nothing printed yet"]
    assert capsys.readouterr().out == ""


def test_following_ends_with_the_attempt(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = spool.running("j")
    spool.notes(token, "start", out=[0, 0], err=[0, 0])
    script = iter(
        [
            lambda: spool.prints("out", b"caf\xc3"),
            lambda: spool.prints("out", b"\xa9\x1b[0m\n"),
            lambda: spool.notes(token, "end", outcome="failed", exit=3, out=[0, 10], err=None),
        ]
    )
    monkeypatch.setattr(log.time, "sleep", lambda seconds: next(script)())
    said: list[str] = []
    found = log.pick(spool.project, "j", said.append)
    log.follow(spool.project, found, log.Printer(), said.append)
    assert capsys.readouterr().out == "café\\x1b[0m\n"
    assert "exit code 3" in said[-1]


def test_following_goes_on_with_the_next_attempt_when_the_worker_was_lost(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = spool.running("j")
    held = pods.Held(token, accepted=True)
    again = pods.after_crash(token)
    naps = 0

    def nap(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            assert pods.requeue(spool.project, spool.worker, held, again)
        if naps == 30:
            name = Result(again, spool.worker, "ok")
            (back,) = os.listdir(spool.project.requeue)
            os.rename(f"{spool.project.requeue}/{back}", f"{spool.project.results}/{name}")
            spool.notes(again, "end", outcome="ok", out=spool.prints("out", b"x"), err=None)

    monkeypatch.setattr(log.time, "sleep", nap)
    said: list[str] = []
    found = log.pick(spool.project, "j", said.append)
    log.follow(spool.project, found, log.Printer(), said.append)
    assert any("was given up" in line for line in said)
    assert capsys.readouterr().out == "x"


def test_raw_output_is_passed_on_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", target)
    log.Printer(raw=True).show("out", b"\x1b\xff\r")
    assert target.buffer.getvalue() == b"\x1b\xff\r"  # type: ignore[attr-defined]


def test_a_workers_log_is_found_by_the_beginning_of_its_id(spool: Spool) -> None:
    path = spool.project.log_file(spool.worker)
    Path(path).write_text("hello\n")
    assert log.worker_log(spool.project, spool.worker[:-4]) == (spool.worker, path)
    with pytest.raises(NothingToDo, match="no workers"):
        log.worker_log(spool.project, "../../etc")
