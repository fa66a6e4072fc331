"""Lost workers that nothing can replace: one message, and no error of Ray's own. Ray's actors are in this process."""

from types import SimpleNamespace

import pytest
import ray
import torch

from impasto import cli, images
from impasto import cluster as many
from impasto.cluster import group as groups
from impasto.cluster import sharded, worker
from impasto.cluster.group import WorkerGroup
from impasto.errors import ClusterError
from impasto.optim.checkpoints import Checkpoints
from impasto.settings.options import StylizeOptions
from impasto.vgg import tiles

TALL = {"size": 256, "scales": 1, "style_weight": 20, "style_layers": "relu1_1,relu2_1", "iterations": 5}


class Actor:
    """An actor in this process."""

    def __init__(self, kind, arguments):
        self.kept, self.is_dead = kind(*arguments), False

    def __getattr__(self, method):
        def remote(*arguments):
            if self.is_dead:
                raise ray.exceptions.ActorDiedError
            return getattr(self.kept, method)(*arguments)

        call = SimpleNamespace(remote=remote)
        call.options = lambda num_returns: call
        return call


class LocalRay:
    """As much of Ray as a sharded picture needs."""

    exceptions = ray.exceptions

    def __init__(self, cores):
        self.started, self.killed, self.cores = [], [], cores

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": cores}} for cores in self.cores]

    def remote(self, kind):
        def start(*arguments):
            self.started.append(Actor(kind, arguments))
            return self.started[-1]

        actor = SimpleNamespace(remote=start)
        actor.options = lambda **options: actor
        return actor

    def get(self, result):
        return result

    def put(self, value):
        return value

    def wait(self, calls, num_returns, timeout):
        return calls, []

    def kill(self, actor):
        actor.is_dead = True
        self.killed.append(actor)

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "here")


@pytest.fixture
def local(monkeypatch):
    """Two cores, and nothing that begins a cluster."""
    found = LocalRay([1, 1])
    for module in (groups, sharded, worker):
        monkeypatch.setattr(module, "ray", found)
    monkeypatch.setattr(sharded, "connect", lambda address: None)
    monkeypatch.setattr(sharded, "MIN_PIXELS", 1)
    return found


@pytest.fixture
def tall(photo):
    return images.read(photo).resized(256, 64)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_worker_is_left(local, tall, tmp_path, workers, caplog):
    checkpoints = Checkpoints(tmp_path / "c", every=1e-9)
    steps = many.iterate(tall, "swirls", StylizeOptions(**TALL), checkpoints=checkpoints, workers=workers)
    for _ in range(3):
        step = next(steps)
    written = checkpoints.path.read_bytes()
    for actor in local.started:
        actor.is_dead = True
    with pytest.raises(ClusterError, match="--resume resumes"):
        next(steps)
    assert local.killed == local.started
    assert checkpoints.path.read_bytes() == written
    assert "no checkpoint" not in caplog.text
    with pytest.raises(ClusterError, match="--resume resumes"):
        step.image  # noqa: B018


def test_the_command_line_ends_with_one_message(local, tall, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images.write("photo.png", tall)
    evaluations = []

    def dying(self, *arguments):
        evaluations.append(self)
        if len(evaluations) == 3:
            local.started[0].is_dead = True
            raise ray.exceptions.ActorDiedError
        return reduce(self, *arguments)

    reduce = worker.ShardWorker.reduce
    monkeypatch.setattr(worker.ShardWorker, "reduce", dying)
    local.cores = [1]
    options = [word for name, value in TALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    code = cli.run(["stylize", "photo.png", "swirls", "-o", "out.png", "--cluster", "auto", "-q", *options])
    printed = capsys.readouterr().err
    assert code == 2
    assert printed.count("too many workers were lost") == 1
    assert "Traceback" not in printed


@pytest.mark.parametrize("dies_in", ["place", "begin", "put"])
def test_a_worker_lost_before_the_first_step(local, tall, monkeypatch, dies_in):
    def dying(self, *arguments):
        raise ray.exceptions.OutOfMemoryError("the node is low on memory")

    monkeypatch.setattr(worker.ShardWorker, dies_in, dying)
    with pytest.raises(ClusterError, match="--resume resumes"):
        next(many.iterate(tall, "swirls", StylizeOptions(**TALL)))


def test_other_errors_of_ray(local, tall, monkeypatch):
    def full(value):
        raise ray.exceptions.OutOfDiskError("the disk is full")

    monkeypatch.setattr(local, "put", full)
    with pytest.raises(ClusterError, match=r"the cluster failed \(.*disk is full"):
        next(many.iterate(tall, "swirls", StylizeOptions(**TALL)))


def test_no_cores(local, tall):
    local.cores = [0]
    with pytest.raises(ClusterError, match="no machine of the cluster has cores"):
        many.iterate(tall, "swirls", StylizeOptions(**TALL))


def test_a_canvas_older_than_the_worker_in_place_of_a_lost_one(local, generator):
    group = WorkerGroup(2, 1)
    group.spans = tiles.row_spans(64, 2, 16, 16)
    one, two = (torch.randn(1, 3, 64, 20, generator=generator) for _ in range(2))
    older, newer = group.scatter(one), group.scatter(two)
    group.replicate([older, newer])
    local.kill(group.workers[1])
    group.recover([newer])
    assert torch.equal(newer.gather(), two)
    assert torch.equal(older.gather(), one)


def test_a_worker_lost_before_its_rows_are_replicated(local):
    group = WorkerGroup(2, 1)
    group.spans = tiles.row_spans(64, 2, 16, 16)
    canvas = group.scatter(torch.zeros(1, 3, 64, 20))
    local.kill(group.workers[1])
    with pytest.raises(ClusterError, match="--resume resumes"):
        group.recover([canvas])
