"""What the loop may count on in every method, and that a method is one file and one line."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.nn import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

import dawnchorus
from dawnchorus import config
from dawnchorus.config import PREPARED, Experiment
from dawnchorus.config.experiments import MethodSettings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import networks
from dawnchorus.learning.method import Method
from dawnchorus.learning.methods import METHODS
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock

from .test_dino import SMALL, small_dino, small_views

ALONE = Ranks(0, 1, 0, torch.device("cpu"))
OWN = {"dino": SMALL, "vicreg": {"expander_width": 16}}
SOURCES = Path(dawnchorus.__file__).parent


def small(name: str, **changes) -> Method:
    torch.manual_seed(0)
    wanted = {"backbone": "vit_nano", "drop_path": 0.0, name: OWN[name], **changes}
    return METHODS[name](Experiment(method=name, **wanted), 32, 64, Clock(10, 100, 8), ALONE)


def test_the_registry_the_choice_and_the_sections_agree():
    choice = get_args(Experiment.model_fields["method"].annotation)
    assert [*METHODS, *PREPARED] == list(choice)
    fields = Experiment.model_fields
    sections = [name for name in fields if isinstance(fields[name].default, MethodSettings)]
    assert sections == [name for name in choice if name in fields]
    assert set(METHODS) <= set(sections)
    for name in METHODS:
        assert Experiment(method=name).own == getattr(Experiment(), name)


def _names_in(path: Path) -> set[str]:
    """Names, attributes, keywords and strings of a module, without its docstrings."""
    tree = ast.parse(path.read_text())
    documents = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # fmt: skip
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Constant) and id(node) not in documents:
            found.add(str(node.value))
    return {name.lower() for name in found}


def test_no_other_module_knows_a_method_by_name():
    own = {f"learning/{name}.py" for name in METHODS} | {"learning/methods.py"}
    for path in sorted(SOURCES.rglob("*.py")):
        place = path.relative_to(SOURCES).as_posix()
        if place in own or place.startswith("config/"):
            continue
        said = {name for name in _names_in(path) for method in METHODS if method in name}
        assert said == set(), place


@pytest.mark.parametrize("name", METHODS)
def test_settings_of_another_method_are_refused(name):
    other = next(one for one in METHODS if one != name)
    with pytest.raises(DawnChorusError, match=f"experiments.a: {other}: the method is {name}"):
        config.validate({"experiments": {"a": {"method": name, other: OWN[other]}}})
    whole = Experiment(method=name, **{name: OWN[name]}).model_dump(mode="json")
    assert config.validate({"experiments": {"a": whole}}).experiments["a"].own == (
        type(Experiment(method=name).own)(**OWN[name])
    )  # defaults of the other one may stand there


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("backbone", ["vit_nano", "resnet10t"])
def test_a_step_not_taken_leaves_nothing_behind(name, backbone):
    method = small(name, backbone=backbone, pooling="mean").train()
    views = [torch.randn(4, 1, crop.mels, crop.frames) for crop in method.crops]
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.start_step(3)
    for _ in range(2):
        method([view * float("nan") for view in views], 3)
    method.undo_step(3)
    for key, value in method.state_dict().items():
        assert torch.equal(value, before[key]), key
    method.start_step(4)
    loss, _ = method(views, 4)
    method.after_step(4)
    assert loss.isfinite()
    assert all(value.isfinite().all() for value in method.state_dict().values())
    norms = [key for key in before if key.endswith("running_mean")]
    assert bool(norms) == (name == "vicreg" or backbone == "resnet10t")
    for key in norms:
        assert not torch.equal(method.state_dict()[key], before[key]), key


def test_the_centre_of_several_passes_is_their_mean_and_moves_once():
    whole, parts = small_dino(), small_dino()
    views = small_views(whole, 8)
    whole.start_step(0)
    whole(views, 0)
    whole.after_step(0)
    parts.start_step(0)
    parts([view[:2] for view in views], 0)
    parts.start_step(0)  # what came before is another step
    for part in range(4):
        parts([view[2 * part : 2 * part + 2] for view in views], 0)
        assert parts.center.norm() == 0  # nothing lasts before the step is taken
    parts.after_step(0)
    assert torch.allclose(parts.center, whole.center, atol=1e-6)
    assert whole.center.norm() > 0


def test_two_windows_per_process_are_asked_for_where_statistics_need_them():
    assert [METHODS[name].least_windows for name in ("dino", "vicreg")] == [1, 2]


@pytest.mark.parametrize("name", METHODS)
def test_on_gpus_batch_norms_take_the_statistics_of_all_processes(name):
    """Layers are exchanged and what they learn is the same; a single process keeps its own."""
    gpus, cpus = (Ranks(0, 2, 0, torch.device(kind)) for kind in ("cuda", "cpu"))
    method = small(name, backbone="resnet10t", pooling="mean").train()
    before, learned = method.state_dict(), [id(value) for _, value in method.learned()]
    norms = sum(isinstance(module, _BatchNorm) for module in method.modules())
    for ranks, expected in ((ALONE, 0), (cpus, 0), (gpus, norms)):
        networks.synchronised(method, ranks)
        found = [module for module in method.modules() if isinstance(module, SyncBatchNorm)]
        assert len(found) == expected
    assert norms > 10 and all(module.training for module in found)
    assert [id(value) for _, value in method.learned()] == learned
    assert list(method.state_dict()) == list(before)
    method.start_step(0)
    found[0].running_mean.add_(1.0)
    method.undo_step(0)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
