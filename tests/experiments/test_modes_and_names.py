"""The mode, the names without wrappers, and the statuses of several seeds, each beside plain torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.experiments.modes_and_names import looking_at
from paraminspect.experiments.selection import Request
from paraminspect.experiments.show import show
from paraminspect.experiments.summary import summary
from paraminspect.modules.subject import Batch, Given, Subject
from paraminspect.modules.wrapping import wrapping
from paraminspect.report import Source


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.drop, self.norm = nn.Dropout(), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:  # LayerDrop
            x = x + layer(x) if torch.rand(()) > 0.5 else x
        return self.norm(self.drop(x))


class Holder(nn.Module):
    """Hold a module under a name, as a wrapper does, and perhaps something of its own."""

    def __init__(self, name: str, held: nn.Module, **own: object) -> None:
        super().__init__()
        self.add_module(name, held)
        for key, value in own.items():
            setattr(self, key, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return next(iter(self.children()))(x)


def subject_of(module: nn.Module, seed: int = 0, **fields: object) -> Subject:
    make = lambda: Batch((Given(torch.rand(3, 4)),))  # noqa: E731
    subject = Subject(module, Source("module", "net"), seed, make)
    return replace(subject, **fields)  # type: ignore[arg-type]


def wraps() -> dict[str, nn.Module]:
    peft = Holder("base_model", Holder("model", Net()))
    return {
        "module.": nn.DataParallel(Net()),
        "_orig_mod.": Holder("_orig_mod", Net()),
        "base_model.model.": peft,
        "module._orig_mod.base_model.model.": nn.DataParallel(Holder("_orig_mod", peft)),
        "module.module.": nn.DataParallel(nn.DataParallel(Net())),
    }


def test_names_are_those_of_the_model_in_its_wrappers() -> None:
    bare = show(subject_of(Net()), Request("show"))
    names = [row.name for row in bare.parameters]
    for prefix, module in wraps().items():
        own = [prefix + name for name in names]
        assert own == [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
        report = show(subject_of(module), Request("show"))
        assert [row.name for row in report.parameters] == names
        assert report.model is not None and report.model.prefix == prefix
        assert report.totals == bare.totals
        assert any(f"{prefix!r}" in note and "--strip-prefix none" in note for note in report.notes)
        real = show(subject_of(module, strip="none"), Request("show"))
        assert [row.name for row in real.parameters] == own
        assert real.model is not None and not real.model.prefix
        for glob in ("layers.1.*", f"{prefix}layers.1.*"):
            shown = show(subject_of(module), Request("show", (glob,))).parameters
            assert [row.name for row in shown] == ["layers.1.weight", "layers.1.bias"]
        trees = []
        for one in (module, Net()):
            torch.manual_seed(1)  # the same layers are left out
            trees.append(summary(subject_of(one, training=False), Request("summary")))
        tree, plain = trees
        assert (tree.layers, tree.totals) == (plain.layers, plain.totals)
        assert tree.environment.mode == "eval"
        inside = [show(subject_of(module), Request("show", layer=f"{typed}norm")) for typed in ("", prefix)]
        assert [row.name for row in inside[0].parameters] == [row.name for row in inside[1].parameters]
        assert inside[0].parameters[0].name == "weight"


def test_a_prefix_stays_where_it_is_not_that_of_the_whole_model() -> None:
    parameter = nn.Parameter(torch.ones(2))
    for module in (
        Holder("module", Net(), weight=parameter),
        Holder("module", Net(), head=nn.Linear(4, 4)),
        Holder("encoder", Net()),
        Holder("base_model", Net()),
        torch.optim.swa_utils.AveragedModel(Net()),
    ):
        assert wrapping(module).prefix == ""
    assert wrapping(Holder("encoder", Net()), "encoder").prefix == "encoder."
    with pytest.raises(UserError, match="'encoder' is not before every name"):
        show(subject_of(nn.DataParallel(Net()), strip="encoder"), Request("show"))


def test_the_mode_is_set_for_the_run_and_put_back() -> None:
    for training in (None, True, False):
        module = Net()
        module.norm.eval()
        before = [child.training for child in module.modules()]
        module.get_buffer("norm.running_mean").fill_(0.25)
        report = show(subject_of(module, training=training), Request("show"))
        known = report.environment
        assert [child.training for child in module.modules()] == before
        words = {None: ("mixed", "as given"), True: ("train", "--train"), False: ("eval", "--eval")}
        assert (known.mode, known.mode_origin) == words[training]
        assert (known.modules_training or 0) + (known.modules_eval or 0) == len(before)
        with looking_at(subject_of(module, training=training)) as seen:
            modes = {child.training for child in seen.module.modules()}
        assert modes == ({True, False} if training is None else {training})


def test_statuses_of_several_seeds_are_those_of_as_many_runs() -> None:
    def rebuild(later: int) -> Subject:
        torch.manual_seed(3 + later)
        return subject_of(Net(), 3 + later)

    counted: dict[str, int] = {}
    for later in range(5):
        torch.manual_seed(3 + later)
        net = Net()
        net(torch.rand(3, 4)).sum().backward()
        for name, parameter in net.named_parameters():
            counted[name] = counted.get(name, 0) + (parameter.grad is not None)
    one = show(rebuild(0), Request("show"))
    report = show(rebuild(0), Request("show"), (), rebuild, 5)
    found = {row.name: row.gradient for row in report.parameters if row.gradient}
    assert {name: 5 - (one.seeds or {}).get("unused", 0) for name, one in found.items()} == counted
    assert set(counted.values()) & {1, 2, 3, 4}, "no layer was left out in some of the runs"
    assert report.environment.seeds == 5
    for row in one.parameters:
        assert row.gradient is None or row.gradient.seeds is None
        if row.gradient and row.gradient.status == found[row.name].status:
            assert replace(found[row.name], seeds=None) == row.gradient
