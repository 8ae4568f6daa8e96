"""The recruiter with fakes: no process is started, no host is called."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Optional

import pytest

from fjd.errors import NoWorkers
from fjd.launchers import hiring
from fjd.launchers.base import Order, Place, worker_argv
from fjd.launchers.errand import Errand, HostError, Reply
from fjd.launchers.hiring import Batch, Hiring
from fjd.launchers.remoteconf import Host
from fjd.recruiter import dismissal, recruiter, roster
from fjd.recruiter.contexts import ContextHiring
from fjd.recruiter.recruiter import Recruiter
from fjd.scripts import fjd_recruiter
from fjd.spool import contexts, crew, pods
from fjd.spool.crew import Card, Choice, Post
from fjd.spool.names import RUN, Token, new_key
from fjd.spool.pods import Pod
from fjd.spool.project import Project
from fjd.system import workdir
from fjd.system.identity import Identity, hostname

NO_PLACE = Place("", -1, -1)
HERE = os.uname().nodename.split(".")[0]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give an empty project."""
    monkeypatch.setenv("FJD_HOME", str(tmp_path / "home"))
    return Project.open("p")


def announce(
    project: Project,
    worker: str,
    host: str = "",
    launcher: str = "process",
    place: Place = NO_PLACE,
) -> Post:
    """Announce a worker; it is this very process, or one on another host."""
    me = Identity.of(os.getpid())
    identity = me._replace(host=host, boot="other") if host else me
    card = Card(worker, identity, identity, launcher, "", "", "", "/", 1.0, *place[:3])
    post = Post(project, card)
    post.announce()
    return post


class Fake:
    """A launcher whose workers announce themselves at once, or end with a code."""

    def __init__(self, project: Project, why: str = "", code: Optional[int] = None) -> None:
        self.project, self.why, self.code = project, why, code
        self.orders: list[Order] = []

    def missing(self) -> str:
        """Say why it cannot be used."""
        return self.why

    def start(self, order: Order) -> Fake:
        """Note the order."""
        self.orders.append(order)
        if self.code is None:
            announce(self.project, order.worker, place=order.place or NO_PLACE)
        else:
            Path(order.log).write_text("first\n\nno such thing\n")
        return self

    def poll(self) -> Optional[int]:
        """Return the exit code."""
        return self.code


def hire(project: Project, number: int, **launchers: Fake) -> tuple[Hiring, list[str]]:
    talk: list[str] = []
    found = Hiring(project, "/work", talk.append, launchers)
    found.start([Batch(number)])
    found.wait(patience=5)
    return found, talk


def test_hiring_fills_the_slots_of_this_host(project: Project) -> None:
    """Other hosts' numbers do not count; gaps are filled."""
    announce(project, f"{HERE}-2-00000000")
    announce(project, "elsewhere-1-00000000", "elsewhere")
    screen = Fake(project)
    done, talk = hire(project, 2, screen=screen)
    assert [order.session for order in screen.orders] == [f"p-{HERE}-1", f"p-{HERE}-3"]
    assert done.up == {order.worker for order in screen.orders}
    assert talk == []


def test_hiring_without_screen(project: Project) -> None:
    """It is said once."""
    process = Fake(project)
    done, talk = hire(project, 3, screen=Fake(project, why="screen is not here"), process=process)
    assert (len(done.up), len(process.orders), len(talk)) == (3, 3, 1)
    assert talk[0].startswith("screen is not here: the workers run without screen")


def test_hiring_when_screen_fails(project: Project) -> None:
    """Its words are shown once, and the same workers come up without it."""
    process = Fake(project)
    done, talk = hire(project, 3, screen=Fake(project, code=1), process=process)
    assert (len(done.up), len(process.orders), len(talk)) == (3, 3, 1)
    assert "screen failed (first / no such thing)" in talk[0]


def test_hiring_what_ends_at_once(project: Project) -> None:
    """The end of one log is shown, not of all."""
    done, talk = hire(project, 3, process=Fake(project, code=1))
    assert (len(done.up), len(done.failed)) == (0, 3)
    assert [line.strip() for line in talk[1:]] == ["first", "no such thing"]


def test_default_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """All CPUs that we may use but one, and never none."""
    for cpus, number in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cpus: set(range(n)))
        assert hiring.default_number() == number


class Hosts:
    """A transport that knows what each host answers; notes what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []  # host and command, each time it was asked
        self.passwords: list[Optional[str]] = []

    def __call__(self, errand: Errand, password: Optional[str]) -> Reply:
        """Answer."""
        name = errand.host.name
        self.asked.append((name, errand.command))
        if password is not None:
            self.passwords.append(password)
            return Reply(0, f"[fjd-recruiter] {name} by password\n", "")
        answer = self.answers.get(name, Reply(0, f"[fjd-recruiter] {name}: fine\n", ""))
        if isinstance(answer, HostError):
            raise answer
        assert isinstance(answer, Reply)
        return answer

    def command(self, name: str) -> str:
        """Return what a host was asked, which must have been asked once."""
        (command,) = [command for host, command in self.asked if host == name]
        return command


class Desk:
    """A recruiter whose words are kept."""

    def __init__(self, project: Project, transport: Hosts, **options: object) -> None:
        self.out: list[str] = []
        self.talk: list[str] = []
        self.recruiter = Recruiter(
            project,
            self.out.append,
            self.talk.append,
            cwd="/work",
            launchers={"fake": Fake(project)},
            transport=transport,
            **options,  # type: ignore[arg-type]
        )


def cards(project: Project) -> list[Card]:
    """Return what the workers say of themselves, by cylinder."""
    found = [card for _, card in crew.cards(project).values() if card]
    return sorted(found, key=lambda card: (card.engine, card.cylinder))


def test_hire_an_engine(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers are numbered from 0 and say so; remote.conf does not matter."""
    conf(project, "node1")
    place = Place("c", 7, resources=("THINGS",))
    monkeypatch.setenv("THINGS", "3,5")
    desk = Desk(project, Hosts(), place=place)
    assert desk.recruiter.hire(3) == 0
    assert desk.out == ['Hired 2 workers in project "p".']
    assert desk.talk == ["THINGS has 2 for 3 slots: 2 will be used"]
    found = [(card.context, card.engine, card.cylinder) for card in cards(project)]
    assert found == [("c", 7, 0), ("c", 7, 1)]
    assert contexts.claim(project, 1) == [8]
    assert {row.context for row in desk.recruiter.roster()} == {"c/7"}


def test_the_words_of_a_place() -> None:
    """What a launcher tells a worker."""
    order = Order("p", "w", "python", "/", None, "s", "l", "r", Place("c", 0, 2, ("A", "B")))
    words = ["--context", "c", "--engine", "0", "--cylinder", "2", "--env-resource", "A,B"]
    assert worker_argv(order, "process")[-8:] == words
    order = order._replace(place=Place("", -1, 1, ("A",)))
    assert worker_argv(order, "process")[-4:] == ["--cylinder", "1", "--env-resource", "A"]


def test_fire_a_context_elsewhere(project: Project) -> None:
    """Only hosts with workers of it are asked, and only for those."""
    conf(project, "node1", "node2")
    announce(project, "node2-1-00000000", "node2", place=Place("c", 0))
    announce(project, "node2-2-00000000", "node2", place=Place("d", 1))
    announce(project, "node3-1-00000000", "node3", place=Place("c", 2))
    announce(project, "node3-2-00000000", "node3")
    hosts = Hosts()
    assert Desk(project, hosts).recruiter.fire(choice=Choice("c")) == 0
    assert sorted(name for name, _ in hosts.asked) == ["node2", "node3"]
    assert hosts.command("node3").endswith(" fire --context c")
    hosts = Hosts()
    assert Desk(project, hosts).recruiter.fire(gently=True, choice=Choice("c", 2)) == 0
    assert [name for name, _ in hosts.asked] == ["node3"]
    assert hosts.command("node3").endswith(" fire --gently --context c --engine 2")


def conf(project: Project, *hosts: str) -> None:
    text = "".join(f"[host{k}]\nname: {h}\nworkers: {k}\n" for k, h in enumerate(hosts, 1))
    Path(project.remote_conf).write_text(text)


def test_hire_everywhere(project: Project) -> None:
    """Each host gets one command; this machine needs none."""
    conf(project, "node1", "localhost", "node3")
    hosts = Hosts()
    desk = Desk(project, hosts)
    assert desk.recruiter.hire(9) == 0
    assert sorted(desk.out) == [
        'Hired 2 workers in project "p".',
        "Host node1: [fjd-recruiter] node1: fine",
        "Host node3: [fjd-recruiter] node3: fine",
    ]
    assert "9 is ignored" in desk.talk[0]
    assert sorted(name for name, _ in hosts.asked) == ["node1", "node3"]
    assert hosts.command("node3").endswith(" --curdir /work hire 3")
    assert "--project p --local-only --marker marker-" in hosts.command("node3")
    assert os.listdir(f"{project.root}/tmp") == [os.path.basename(project.tmp)]


def test_local_only(project: Project) -> None:
    """remote.conf is not even read."""
    Path(project.remote_conf).write_text("nonsense")
    desk = Desk(project, Hosts(), local_only=True)
    assert desk.recruiter.hire(3) == 0
    assert (desk.out, desk.talk) == (['Hired 3 workers in project "p".'], [])


def test_hosts_that_fail(project: Project) -> None:
    """Each costs a line and the exit code 4; the others go on."""
    conf(project, "node1", "node2", "node3")
    wrong = Reply(4, "[fjd-recruiter] Hired 1 worker\n", "[fjd-recruiter] worker x ended\n")
    desk = Desk(project, Hosts(node1=HostError("it is down", "wake it"), node2=wrong))
    assert desk.recruiter.hire() == 4
    assert sorted(desk.out) == [
        "Host node2: [fjd-recruiter] Hired 1 worker",
        "Host node3: [fjd-recruiter] node3: fine",
    ]
    assert sorted(desk.talk) == ["Host node1: it is down; wake it", "Host node2: worker x ended"]


def test_passwords(project: Project) -> None:
    """They are asked for after all others are done, one at a time; none means: leave it out."""
    conf(project, "node1", "node2", "node3")
    shy = HostError("it does not accept our key", "type: ssh-copy-id", password=True)
    said: list[str] = []

    def ask(name: str) -> str:
        said.append(f"{name} after {len(desk.out)}")
        return "secret" if name == "node1" else ""

    hosts = Hosts(node1=shy, node2=shy)
    desk = Desk(project, hosts, ask_password=ask)
    assert desk.recruiter.hire() == 4
    assert len(said) == 2
    assert all("after 0" not in line for line in said)
    assert hosts.passwords == ["secret"]
    assert "Host node1: [fjd-recruiter] node1 by password" in desk.out
    assert Desk(project, hosts).recruiter.hire() == 4
    assert hosts.passwords == ["secret"]


def test_fire_on_hosts_that_are_not_in_the_file(project: Project) -> None:
    """Whoever has an entry is fired, wherever it is."""
    conf(project, "node1.example.org")
    announce(project, "node1-1-00000000", "node1")
    announce(project, "node7-1-00000000", "node7")
    hosts = Hosts()
    desk = Desk(project, hosts)
    assert desk.recruiter.fire(gently=True) == 0
    assert sorted(name for name, _ in hosts.asked) == ["node1.example.org", "node7"]
    assert "--project p --local-only --marker marker-" in hosts.command("node7")
    assert hosts.command("node7").endswith(" fire --gently")
    assert desk.out[0] == 'No workers to fire in project "p".'


def test_fire_in_spite_of_the_file(project: Project) -> None:
    """A remote.conf that is wrong is told, and who is known from the spool is fired."""
    Path(project.remote_conf).write_text("[host1]\nname: x\n")
    announce(project, "node7-1-00000000", "node7")
    desk = Desk(project, Hosts())
    assert desk.recruiter.fire() == 6
    assert "remote.conf:1" in desk.talk[0]
    assert desk.out[1] == "Host node7: [fjd-recruiter] node7: fine"


def test_fire_says_whom_it_cannot_know(project: Project) -> None:
    """A worker whose entry is unreadable, and one in another container of this host."""
    Path(project.workerqueue, "node9-1-00000000,3").write_text("garbage")
    me = Identity.of(os.getpid())._replace(namespace="pid:[1]")
    Post(project, Card("c-1-00000000", me, me, "", "", "", "", "/", 1.0)).announce()
    desk = Desk(project, Hosts())
    assert desk.recruiter.fire() == 4
    assert any("node9-1-00000000: its entry cannot be read" in line for line in desk.talk)
    assert any("c-1-00000000 runs in another container" in line for line in desk.talk)


def test_fire_buries_the_dead_of_an_earlier_boot(project: Project) -> None:
    """After a power cut nothing runs, and what is left in the spool is cleaned up."""
    post = announce(project, f"{HERE}-1-00000000", hostname())
    desk = Desk(project, Hosts())
    assert desk.recruiter.fire() == 0
    assert desk.out == ['No workers to fire in project "p".']
    assert desk.talk == ["Cleaned up after 1 dead worker."]
    assert not post.beat()
    assert os.listdir(project.jobpods) == []


@pytest.mark.parametrize(
    ("name", "port", "here"),
    [
        ("localhost", None, True),
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("Node1", None, True),
        ("node1.example.org.", None, True),
        ("node1.example.com", None, False),
        ("node2", None, False),
        ("localhost", 2222, False),
    ],
)
def test_is_this_machine(name: str, port: Optional[int], here: bool) -> None:
    """Its names need no SSH; a port says that somebody wants it (a tunnel, a container)."""
    host = Host("host1", name, 1, None, port, None, None, "")
    assert recruiter.is_this_machine(host, "node1.example.org") is here


def test_roster(project: Project) -> None:
    """States, what runs, and ages by the clock of the file system."""
    announce(project, "node2-10-00000000", "node2")
    announce(project, "node2-9-00000000", "node2").show(busy=True)
    announce(project, f"{HERE}-1-00000000", hostname())
    token = Token(new_key("job.conf"))
    Path(project.pod("node2-9-00000000"), f"{token}{RUN}").touch()
    rows = {row.worker: row for row in roster.rows(project)}
    assert [w for w in rows if w.startswith("node2")] == ["node2-9-00000000", "node2-10-00000000"]
    assert rows[f"{HERE}-1-00000000"].state == "dead"
    assert rows["node2-10-00000000"].state == "idle"
    assert rows["node2-9-00000000"].state == "busy"
    assert all(0 <= (row.seen or 0) < 10 for row in rows.values())
    shown = json.loads(json.dumps(rows["node2-9-00000000"].as_json()))
    assert (shown["host"], shown["pid"], shown["runs"]) == ("node2", os.getpid(), ["job.conf"])


def test_fire_steps_of_slurm(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are dismissed through the spool; only who does not hear that is looked for by SSH."""
    monkeypatch.setattr(dismissal, "PATIENCE", 0.0)
    post = announce(project, "node2-1-00000000", "node2", "slurm")
    announce(project, "node3-1-00000000", "node3", "slurm")
    hosts = Hosts()
    desk = Desk(project, hosts)
    assert desk.recruiter.fire(gently=True) == 0
    assert hosts.asked == []
    assert 'Slurm\'s nodes: Fired 2 workers in project "p".' in desk.out
    found = {worker: os.listdir(project.pod(worker)) for worker in os.listdir(project.jobpods)}
    assert found == {f"node{n}-1-00000000": [pods.DISMISSED] for n in (2, 3)}
    Pod(project, "node2-1-00000000").take_down()
    post.leave()
    assert desk.recruiter.fire() == 0
    assert [name for name, _ in hosts.asked] == ["node3"]
    assert desk.out[-2] == 'Slurm\'s nodes: Fired 0 workers in project "p".'


class Party:
    """A context on some hosts, with a fake launcher here and fake hosts elsewhere."""

    def __init__(self, project: Project, hosts: Hosts, *named: tuple[str, int]) -> None:
        self.said: list[str] = []
        self.project = project
        self.context = contexts.begin(project, "c", named, contexts.SSH)
        self.hiring = ContextHiring(
            project,
            self.context,
            self.said.append,
            self.said.append,
            cwd="/a b",
            resources=("THINGS",),
            launchers={"fake": Fake(project)},
            transport=hosts,
        )

    def come_up(self, host: str, rank: int) -> Post:
        """Announce a worker of another host."""
        place = Place("c", rank, 0)
        return announce(self.project, f"{host}-1-0000000{rank}", host, place=place)


def test_hire_a_context(project: Project) -> None:
    """This machine and others at once; who is down costs a line; remote.conf does not matter."""
    conf(project, "node9")
    hosts = Hosts(node2=HostError("it is down", "wake it"))
    party = Party(project, hosts, ("localhost", 2), ("node2", 3), ("node3", 1))
    party.come_up("node3", 2)
    assert party.hiring.hire() == [
        (0, "localhost", 2, 2, ""),
        (1, "node2", 3, 0, "it is down; wake it"),
        (2, "node3", 1, 1, ""),
    ]
    assert hosts.command("node3").endswith(
        " --curdir '/a b' hire 1 --context c --engine 2 --env-resource THINGS"
    )
    assert [line for line in party.said if "node2" in line] == ["Host node2: it is down; wake it"]
    assert "THINGS is not set here, so nothing of it is shared" in party.said
    assert party.hiring.active() == {0, 2}
    assert not party.hiring.close()
    assert contexts.everyone(project) == [party.context]


def test_hire_a_context_of_dead_hosts(project: Project) -> None:
    """Nobody came up: that is an error, and the context can be closed."""
    down = HostError("it is down")
    party = Party(project, Hosts(node2=down, node3=down), ("node2", 3), ("node3", 1))
    with pytest.raises(NoWorkers, match='no worker came up in context "c"'):
        party.hiring.hire()
    assert party.said == ["Host node2: it is down", "Host node3: it is down"]
    assert party.hiring.fire()
    assert party.hiring.close()
    assert contexts.everyone(project) == []


def test_fire_a_context(project: Project) -> None:
    """Hosts are asked by the names that the user gave them, and only those with workers."""
    hosts = Hosts()
    party = Party(project, hosts, ("far", 1), ("node2", 3), ("node3", 1))
    post = party.come_up("node7", 0)
    announce(project, "node3-2-00000000", "node3")
    assert party.hiring.fire()
    assert [name for name, _ in hosts.asked] == ["far"]
    assert hosts.command("far").endswith(" fire --context c")
    hosts.answers["far"] = HostError("it is down")
    assert not party.hiring.fire()
    assert os.listdir(project.pod(post.worker)) == [pods.DISMISSED_NOW]  # it may see this
    Pod(project, post.worker).take_down()
    post.leave()
    assert party.hiring.close()


ROW = roster.Row("node1-3-5f0c12ab", "node1", "busy", ["a job.conf"], 3.0, 1.04, None)


def test_plain_rows() -> None:
    """In a pipe: times as ISO 8601, seconds as numbers, empty where unknown."""
    fields = fjd_recruiter.plain(ROW, 1_000_000.0)
    assert fields[:4] == ("node1-3-5f0c12ab", "node1", "busy", "a job.conf")
    assert time.strptime(fields[4], "%Y-%m-%dT%H:%M:%S%z")
    assert fields[5:] == ("1.0", "")
    assert fjd_recruiter.plain(ROW._replace(running=None, seen=None), 0)[4:] == ("", "", "")


@pytest.mark.parametrize("width", [60, 80, 132])
def test_table_fits(width: int) -> None:
    """On a terminal no line is longer than it is wide, and control characters are shown."""
    long = ROW._replace(host="h" * 60, worker="h" * 32 + "-100-5f0c12ab", runs=["x\x1b" * 90])
    lines = fjd_recruiter.table([fjd_recruiter.cells(row, 1e6) for row in (ROW, long)], width)
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    assert (
        lines[0].split()
        == ["worker", "host", "state", "runs", "since", "seen"][: 5 + (width >= 80)]
    )


def test_here_is_the_name_that_the_shell_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a link the shell's name is kept; a PWD that lies is not."""
    (tmp_path / "disk3").mkdir()
    (tmp_path / "home").symlink_to("disk3")
    monkeypatch.chdir(tmp_path / "disk3")
    monkeypatch.setenv("PWD", str(tmp_path / "home"))
    assert workdir.here() == str(tmp_path / "home")
    monkeypatch.setenv("PWD", "/")
    assert workdir.here() == str(tmp_path / "disk3")


@pytest.mark.parametrize(
    "words",
    [
        *(["hire", "0"], ["hire", "two"], ["hire", "99999"], [], ["--nice", "x", "hire"], ["sack"]),
        ["hire", "--context", "c", "--engine", "-1"],
    ],
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What makes no sense ends with exit code 2."""
    assert fjd_recruiter.main(words) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("[fjd-recruiter] ")
    assert complaint.count("\n") == 1
    assert "--help" in complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hire", "1", "--context", "a;b", "--engine", "0"], "'a;b' cannot name a context"),
        (["hire", "1", "--context", "c"], "--context without --engine"),
        (["fire", "--engine", "1"], "--engine without --context"),
        (["fire", "--context", "../x"], "'../x' cannot name a context"),
    ],
)
def test_contexts_that_make_no_sense(
    project: Project, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels are as plain as projects' names; a rank is one of a context."""
    assert fjd_recruiter.main(["--project", "p", *words]) == 2
    assert said in capsys.readouterr().err
