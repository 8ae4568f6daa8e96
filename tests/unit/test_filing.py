"""Filing and rejecting: where a job lies in the end, and how it comes back."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from fjd.spool import filing
from fjd.spool.filing import SHARD, Cabinet, Shards
from fjd.spool.names import Result, Token
from fjd.spool.project import Project
from fjd.spool.rejection import reject

WORKER = "node-0-0123abcd"
TOKEN = Token("job.abcdefghijkl", 5, 2, 1, 1)


def ended(project: Project, code: str = "ok", token: Token = TOKEN) -> Result:
    """Return a job that has ended."""
    result = Result(token, WORKER, code)
    Path(project.results, str(result)).touch()
    return result


@pytest.mark.parametrize(
    ("code", "place"),
    [("ok", "done"), ("x1", "failed"), ("sig9", "failed"), ("timeout", "failed"),
     ("lost", "failed"), ("cancelled", "failed")],
)  # fmt: skip
def test_file(project: Project, code: str, place: str) -> None:
    """What ended well goes to done/, everything else to failed/, under its own name."""
    cabinet, result = Cabinet(project), ended(project, code)
    assert cabinet.results() == [result]
    assert cabinet.file(result) is True
    assert cabinet.results() == []
    where = f"{project.root}/{place}"
    assert list(filing.filed(project, where)) == [(f"{where}/000/{result}", result)]


def test_filed_by_another_dispatcher(project: Project) -> None:
    """Of two dispatchers one files a result, and the other one loses."""
    result = ended(project)
    assert Cabinet(project).file(result) is True
    assert Cabinet(project).again(result) is False
    os.rename(f"{project.done}/000/{result}", f"{project.tmp}/away")
    assert Cabinet(project).file(result) is False


def test_again(project: Project) -> None:
    """With retries left it goes back as the next attempt, with one more failure."""
    assert Cabinet(project).again(ended(project, "x1")) is True
    (name,) = os.listdir(project.requeue)
    assert re.fullmatch(r"job\.abcdefghijkl,s5,a3,c1,f2,r[1-9]\d*", name)
    assert os.listdir(project.results) == []


def test_strangers_in_results(project: Project) -> None:
    """What is no result stays where it is."""
    Path(project.results, "notes").touch()
    Path(project.results, str(TOKEN)).touch()
    assert Cabinet(project).results() == []


def test_shards(project: Project) -> None:
    """A directory is full after a thousand files, and the count goes on after a restart."""
    shards = Shards(project.done)
    places = [shards.place() for _ in range(SHARD + 1)]
    assert places[0] == places[SHARD - 1] == f"{project.done}/000"
    assert places[SHARD] == f"{project.done}/001"
    Path(project.done, "001", "a").touch()
    assert Shards(project.done).place() == f"{project.done}/001"


def test_full_shard_after_a_restart(project: Project) -> None:
    """A shard that is full already gets nothing more."""
    os.makedirs(f"{project.done}/007")
    for number in range(SHARD):
        Path(project.done, "007", str(number)).touch()
    assert Shards(project.done).place() == f"{project.done}/008"


def test_shard_removed(project: Project) -> None:
    """A shard that somebody removed is made again."""
    cabinet = Cabinet(project)
    assert cabinet.file(ended(project)) is True
    shutil.rmtree(f"{project.done}/000")
    assert cabinet.file(ended(project)) is True
    assert len(list(filing.filed(project, project.done))) == 1


@pytest.mark.parametrize("code", ["ok", "x1"])
def test_everything_removed(project: Project, code: str) -> None:
    """Even done/ or failed/ itself may be removed while a dispatcher serves."""
    cabinet = Cabinet(project)
    cabinet.file(ended(project, code))
    shutil.rmtree(project.done)
    shutil.rmtree(project.failed)
    assert cabinet.file(ended(project, code)) is True


def test_strangers_among_the_filed(project: Project) -> None:
    """What somebody put into done/ is passed over."""
    Path(project.done, "notes").touch()
    Path(project.done, "²").mkdir()
    Cabinet(project).file(ended(project))
    Path(project.done, "000", "notes").touch()
    assert [result.token for _, result in filing.filed(project, project.done)] == [TOKEN]


def test_retry(project: Project) -> None:
    """The user's retry starts with a clean slate, as the next attempt, once."""
    Cabinet(project).file(ended(project, "lost"))
    ((path, result),) = filing.filed(project, project.failed)
    assert filing.retry(project, path, result) is True
    (name,) = os.listdir(project.requeue)
    assert re.fullmatch(r"job\.abcdefghijkl,s5,a3,r[1-9]\d*", name)
    assert filing.retry(project, path, result) is False


def test_reject(project: Project) -> None:
    """What cannot be run lies in rejected/, with the reason beside it."""
    path = f"{project.jobqueue}/job"
    Path(path).write_text("nonsense")
    assert reject(project, path, TOKEN, "it is nonsense \udcff") is True
    assert sorted(os.listdir(project.rejected)) == [str(TOKEN), f"{TOKEN}.why"]
    assert list(filing.rejected(project)) == [(TOKEN, "it is nonsense \\udcff")]
    assert os.listdir(project.jobqueue) == []


def test_reject_loses(project: Project) -> None:
    """What has been removed meanwhile leaves no reason behind."""
    assert reject(project, f"{project.jobqueue}/job", TOKEN, "gone") is False
    assert os.listdir(project.rejected) == []


def test_reject_a_directory(project: Project) -> None:
    """A directory can be rejected like anything else."""
    os.mkdir(f"{project.jobqueue}/job")
    assert reject(project, f"{project.jobqueue}/job", TOKEN, "is a directory") is True
    assert os.path.isdir(f"{project.rejected}/{TOKEN}")


def test_reason_unknown(project: Project) -> None:
    """Without a reason beside it there is none to tell."""
    Path(project.rejected, str(TOKEN)).touch()
    assert list(filing.rejected(project)) == [(TOKEN, "")]
