"""Verdicts on networks that train, on public ones and on broken ones, over seeds, in train and in eval mode.

python -m tests.benchmarks.zoo [--seeds 20] [PREFIX …]
python -m tests.benchmarks.zoo --inputs [PREFIX …]
python -m tests.benchmarks.zoo --check [--seeds 20] [--seconds 60] [PREFIX …]
python -m tests.benchmarks.zoo --cost [PREFIX …]

The third counts what the rules of `paraminspect check` find in the public models, all of which are healthy: in train and
in eval mode, each seed a model drawn anew. A model and mode that
take longer than the seconds have fewer seeds: what was run is printed.

The fourth has the time of `show` and of `grad` of each, over that of building the model and of one forward and backward
on the same input: all in one process and one thread, in CPU time, the collector at rest as it is in a command.

The second tells of 82 public models whether they run without being told what they take, and on what; where not, whether
the static table was printed in its place (a fallback), and why.

Each line says first whether the total and the ties are those of torch. Public packages (timm, torchvision, transformers) are taken where they are installed, and named where they are not. Each
line has the words of all seeds with how often they fell, and the time of following the signal over that of a bare
forward and backward. An alarm is `vanishing` or `exploding`; on what trains there must be none.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

import paraminspect
from paraminspect.analysis.signal import follow, signal_over_seeds
from paraminspect.cli.app import main as command
from paraminspect.isolation.torch_state import draw_batch
from paraminspect.modules.nested_tensors import tensors_in
from paraminspect.sources.examples import batch_of, example_maker
from tests.analysis.signal.networks import BROKEN, HEALTHY, input_of
from tests.public_models import Build, builders

TIMM = [
    "resnet18",
    "resnet50",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "densenet121",
    "regnety_002",
    "mixer_s32_224",
    "levit_128s",
    "coat_lite_tiny",
    "cait_xxs24_224",
    "poolformer_s12",
    "repvgg_a0",
    "nfnet_l0",
    "vgg11",
    "hrnet_w18_small",
]
TORCHVISION = [
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "googlenet",
    "mobilenet_v2",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "mnasnet0_5",
    "vit_b_16",
]
TRANSFORMERS = {
    "BertModel": ("BertConfig", {}),
    "GPT2LMHeadModel": ("GPT2Config", {"bos_token_id": 0, "eos_token_id": 0}),
    "DistilBertModel": ("DistilBertConfig", {}),
    "RobertaModel": ("RobertaConfig", {}),
    "ElectraModel": ("ElectraConfig", {}),
    "XLNetModel": ("XLNetConfig", {"n_layer": 12, "d_model": 512, "n_head": 8, "d_inner": 1024}),
    "GPTNeoXModel": ("GPTNeoXConfig", {"hidden_size": 512, "num_hidden_layers": 12, "intermediate_size": 1024}),
    "LlamaModel": ("LlamaConfig", {"hidden_size": 512, "num_hidden_layers": 12, "intermediate_size": 1024}),
    "MambaModel": ("MambaConfig", {"hidden_size": 256, "num_hidden_layers": 12}),
    "T5EncoderModel": ("T5Config", {}),
}

Draw = Callable[[], Any]


def public() -> dict[str, tuple[Build, Draw]]:
    """Return the public models whose packages are here, each with what it is run on."""

    def images(size: int = 224, batch: int = 8) -> Draw:
        return lambda: (torch.randn(batch, 3, size, size),)

    def timm(name: str) -> Build:
        return lambda: __import__("timm").create_model(name, pretrained=False)

    def torchvision(name: str) -> Build:
        return lambda: __import__("torchvision").models.get_model(name, weights=None)

    def transformers(name: str, config: str, arguments: dict[str, Any]) -> Build:
        package = __import__("transformers")
        return lambda: getattr(package, name)(getattr(package, config)(vocab_size=1000, **arguments))

    found: dict[str, tuple[Build, Draw]] = {}
    for package in ("timm", "torchvision", "transformers"):
        if find_spec(package) is None:
            print(f"{package} is not installed: its models are left out")
    if find_spec("timm"):
        found |= {f"timm {name}": (timm(name), images()) for name in TIMM}
    if find_spec("torchvision"):
        found |= {f"torchvision {name}": (torchvision(name), images()) for name in TORCHVISION}
    if find_spec("transformers"):
        tokens: Draw = lambda: {"input_ids": torch.randint(0, 1000, (4, 64))}  # noqa: E731 - one line
        found |= {f"transformers {name}": (transformers(name, *how), tokens) for name, how in TRANSFORMERS.items()}
    return found


def bare(module: nn.Module, given: Any) -> float:
    """Return the seconds of a forward and a backward, which leave gradients that are thrown away."""
    start = time.perf_counter()
    output = module(**given) if isinstance(given, dict) else module(*given)
    sum(one.float().sum() for one in tensors_in(output) if one.requires_grad).backward()
    module.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def counted(module: nn.Module) -> str:
    """Hold the total and the names of every shared parameter against torch's own."""
    report = paraminspect.inspect(module, forward=False, statistics=False)
    names: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    ours = {frozenset((row.name, *row.aliases)) for row in report.parameters if row.kind == "parameter"}
    total = report.totals.parameters == sum(parameter.numel() for parameter in module.parameters())
    ties = ours == {frozenset(each) for each in names.values()}
    return f"total {'right' if total else 'WRONG'}, ties {'right' if ties else 'WRONG'}"


def line(name: str, build: Build, draw: Draw, seeds: int, mode: bool | None) -> str:
    """Judge one network over seeds; `mode` is train (True), eval (False), or as it was built."""
    words: Counter[str] = Counter()
    reasons: set[str] = set()
    spent = alone = 0.0
    known = ""
    for seed in range(seeds):
        torch.manual_seed(seed)
        module = build()
        known = known or counted(module)
        if mode is not None:
            module.train(mode)
        given = draw()
        start = time.perf_counter()
        signal = signal_over_seeds([follow(module, batch_of(given), None, {}, thorough=False)])
        spent += time.perf_counter() - start
        alone += bare(module, given)
        words[f"{signal.forward.verdict} / {signal.backward.verdict}"] += 1
        reasons |= {one.reason for one in (signal.forward, signal.backward) if one.reason}
    how = {None: "", True: "train", False: "eval"}[mode]
    told = ", ".join(f"{word} ×{count}" for word, count in words.most_common())
    return f"{name:44} {known} {how:5} {told:44} {spent / alone:5.1f} ×  {'; '.join(sorted(reasons))[:60]}"


def ran_without_input(build: Build) -> tuple[str, str]:
    """Return ``yes`` and the input, ``fallback`` and the reason, or ``no`` and the error."""
    torch.manual_seed(0)
    module = build()
    start = time.perf_counter()
    report = paraminspect.inspect(module, statistics=False)
    spent = f"{time.perf_counter() - start:5.1f} s, {len(report.attempts)} tried before"
    if report.errors:
        return "no", f"{spent}; {report.errors[0].message}"
    if report.forward is None:
        return "fallback", f"{spent}; {next(note for note in report.notes if note.startswith('no forward'))}"
    shown = ", ".join(" ".join(filter(None, (one.name, str(one.shape), one.dtype))) for one in report.forward.input)
    return "yes", f"{spent}; {shown}; {report.forward.origin}"


def inputs_table(prefixes: tuple[str, ...]) -> None:
    """Print one line a model, and how many of them ran."""
    counts: Counter[str] = Counter()
    for name, build in builders().items():
        if name.startswith(prefixes):
            word, more = ran_without_input(build)
            counts[word] += 1
            print(f"{name:48} {word:8} {more}", flush=True)
    print(f"ran without --input: {', '.join(f'{word} {counts[word]}' for word in ('yes', 'fallback', 'no'))}")


def checked(build: Build, seeds: int, seconds: float, mode: bool) -> tuple[int, Counter[str], dict[str, str], str]:
    """Return how many seeds ran, in how many each rule finds something, one sentence of each, what did not run."""
    start = time.perf_counter()
    found: Counter[str] = Counter()
    said: dict[str, str] = {}
    ran = ""
    for seed in range(seeds):
        if time.perf_counter() - start > seconds:
            return seed, found, said, ran
        torch.manual_seed(seed)
        report = paraminspect.check(build().train(mode), seed=seed)
        found.update({finding.rule for finding in report.findings})
        said |= {one.rule: f"{one.severity}: {one.message}" for one in report.findings}
        if report.forward is None or report.forward.error:
            ran = report.forward.error.message if report.forward and report.forward.error else "no input found"
    return seeds, found, said, ran


def alarms_table(prefixes: tuple[str, ...], seeds: int, seconds: float) -> None:
    """Print one line a model and mode, with what the rules found in how many seeds, then the sums."""
    total: Counter[str] = Counter()
    runs = models = 0
    for name, build in builders().items():
        if not name.startswith(prefixes):
            continue
        models += 1
        for mode, word in ((True, "train"), (False, "eval")):
            start = time.perf_counter()
            try:
                count, found, said, ran = checked(build, seeds, seconds, mode)
            except Exception as error:  # one model that cannot be built is no reason to measure none
                print(f"{name:48} {word:5} FAILED {type(error).__name__}: {error}", flush=True)
                continue
            runs += count
            total.update(found)
            told = ", ".join(f"{rule} ×{times}" for rule, times in sorted(found.items())) or "nothing"
            spent = (time.perf_counter() - start) / count
            print(f"{name:48} {word:5} {told:32} of {count}; {spent:5.1f} s each {ran[:80]}", flush=True)
            for rule, sentence in sorted(said.items()):
                print(f"    {rule} {sentence}", flush=True)
    told = ", ".join(f"{rule} ×{count}" for rule, count in sorted(total.items())) or "nothing"
    print(f"{models} models, {runs:,} checks: {told}")


# --- the cost ----------------------------------------------------------------------------------------------------

MUST = {"show": (1.4, 2.5), "grad": (2.0, 4.0)}
ROUNDS = 2


def by_hand(build: Build) -> Callable[[], object] | None:
    """Return what one would do without us: build, forward, backward; None where no input is known."""
    torch.manual_seed(0)
    make, search = example_maker(build(), "inputs", foreign=False)
    if make is None and search is not None:
        make = search.find().make_input
    if make is None:
        return None
    batch = draw_batch(make)

    def way() -> None:
        output = build()(*batch.args, **batch.kwargs)
        sum(one.sum() for one in tensors_in(output) if one.is_floating_point()).backward()

    return way


def printed(which: str, name: str) -> None:
    """Run a command, and print nowhere."""
    with contextlib.redirect_stdout(io.StringIO()):
        command([which, "tests.public_models:build", "--arg", f"name={name}", "-q", "-f", "plain"])


def seconds(way: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    way()
    gc.enable()
    return time.process_time() - start


def cost_table(prefixes: tuple[str, ...]) -> None:
    """Print one line a model, then medians and maxima."""
    torch.set_num_threads(1)
    ratios: dict[str, list[float]] = {which: [] for which in MUST}
    for name, build in builders().items():
        if not name.startswith(prefixes):
            continue
        try:
            bare_way = by_hand(build)
        except Exception as error:  # of the package's own
            print(f"{name:48} {error}", flush=True)
            continue
        if bare_way is None:
            print(f"{name:48} no input", flush=True)
            continue
        ways: dict[str, Callable[[], object]] = {"bare": bare_way}
        ways |= {which: partial(printed, which, name) for which in MUST}
        found: dict[str, list[float]] = {which: [] for which in ways}
        for turn in range(ROUNDS + 1):  # the first one warms up
            for which, way in ways.items():
                found[which] += [seconds(way)][: turn > 0]
        base = statistics.median(found["bare"])
        told = []
        for which, every in ratios.items():
            every.append(statistics.median(found[which]) / base)
            told.append(f"{which} {every[-1]:5.2f} ×")
        print(f"{name:48} {base:6.2f} s   {'   '.join(told)}", flush=True)
    for which, (median, most) in MUST.items():
        if ratios[which]:
            found_median, found_most = statistics.median(ratios[which]), max(ratios[which])
            print(f"{which}: median {found_median:.2f} (at most {median}), maximum {found_most:.2f} (at most {most})")


def main(argv: list[str]) -> None:
    seeds = int(argv[argv.index("--seeds") + 1]) if "--seeds" in argv else 20
    seconds = float(argv[argv.index("--seconds") + 1]) if "--seconds" in argv else float("inf")
    prefixes = tuple(word for word in argv if not word.startswith("--") and not word.isdigit()) or ("",)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if "--inputs" in argv:
        inputs_table(prefixes)
        return
    if "--check" in argv:
        alarms_table(prefixes, seeds, seconds)
        return
    if "--cost" in argv:
        cost_table(prefixes)
        return
    for title, cases in (("known to train", HEALTHY), ("broken on purpose", BROKEN)):
        print(f"== {title}")
        for name, case in cases.items():
            if name.startswith(prefixes):
                right = " or ".join(f"{one} / {other}" for one in case.forward for other in case.backward)
                print(
                    line(name, case.build, lambda case=case: (input_of(case),), seeds, None),
                    f"right: {right}",
                    flush=True,
                )
    print("== public, at default initialisation")
    for name, (build, draw) in public().items():
        for mode in (True, False):
            if name.startswith(prefixes):
                print(line(name, build, draw, seeds, mode), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
