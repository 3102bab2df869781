"""The training loop. It knows no model and no dataset: see `Trainable`."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from speechvq import SpeechVQError
from speechvq.config import TrainConfig
from speechvq.config.guarded import whole_lines
from speechvq.config.shapes import Each, check_shape
from speechvq.extras import needed_for
from speechvq.files import atomic_write, printable
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import adam_state, fill, load_tensors, save_tensors
from speechvq.nn.distributed import leave
from speechvq.nn.trainable import Trainable, total
from speechvq.progress import interval

log = logging.getLogger(__name__)
LAST = "last.safetensors"
LOG = "log.jsonl"
CLOCK = {"step": int, "seconds": float, "best": float, "skipped?": int, "skipped_in_a_row?": int}  # of LAST
SKIPPED_STEPS = "skipped.jsonl"  # steps whose gradient was not finite, and their utterances

B = TypeVar("B")


class Batches(Dataset[B]):
    """Item `step` is the batch of that training step."""

    def names(self, step: int) -> list[str]:
        """The ids of the utterances that this process reads for a step."""
        raise NotImplementedError


def processes() -> tuple[int, int]:
    """(rank, number of processes) of this training, as the launcher set them."""
    with needed_for("training", "train"):  # two seconds: not at import
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    return state.process_index, state.num_processes


def average(decay: float) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A moving average whose decay rises to its limit as (1 + n) / (10 + n), for the sake of short runs."""

    def update(mean: Tensor, value: Tensor, n: Any) -> Tensor:
        return torch.lerp(mean, value, 1 - min(decay, (1 + int(n)) / (10 + int(n))))

    return update


class Trainer:
    """Trains a model, and writes the weights of the best held-out loss (or `keep`), the last state, and a log.

    data: item `step` is the batch of that training step.
    held_out: gives the batches to measure on.
    out: the folder that is written to.
    measure: gives further held-out figures of a model.
    On one CPU, training that was interrupted and resumed ends with the same bits as training in one go, unless it is
    limited by `minutes`.
    """

    def __init__(
        self,
        model: Trainable,
        data: Batches[Any],
        held_out: Callable[[], Iterator[Any]],
        config: TrainConfig,
        out: Path,
        measure: Callable[[Any], dict[str, float]] = lambda model: {},
    ) -> None:
        with needed_for("training", "train"):
            from accelerate import Accelerator, DistributedDataParallelKwargs

            # With several optimizers, no turn uses all parameters.
            unused = DistributedDataParallelKwargs(find_unused_parameters=len(model.turns) > 1)
            self.accelerator = Accelerator(mixed_precision=config.precision, kwargs_handlers=[unused])
        self.config, self.data, self.held_out, self.out, self.measure = config, data, held_out, out, measure
        self.device = self.accelerator.device
        self.model = model.to(self.device)
        self.averaged = AveragedModel(self.model.exported, avg_fn=average(config.average)).eval()
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.parameters = {turn: [p for p in model.parameters_of(turn) if p.requires_grad] for turn in model.turns}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            turn: kind(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
            for turn, parameters in self.parameters.items()
        }
        self.step, self.seconds, self.best = 0, 0.0, math.inf
        self.skipped, self.skipped_in_a_row = 0, 0

    def run(self, resume: bool = False) -> dict[str, float]:
        """Train to the end -> the figures of the last evaluation.

        Raises SpeechVQError if training diverges, or if the state to resume from is damaged.
        """
        if resume:
            self._load()
            if self.progress() >= 1:
                return dict(*read_log(self.out)[-1:])
        wrapped, *optimizers = self.accelerator.prepare(self.model, *self.optimizers.values())
        main = self.accelerator.is_main_process
        writer = self._tensorboard() if main else None
        loader = DataLoader(
            self.data,
            batch_size=None,
            sampler=range(self.step, self.config.steps),
            num_workers=self.config.workers,
            generator=torch.Generator(),  # else it takes its seed from the global generator, at each start
        )
        figures = self._evaluate(writer) if self.step == 0 else dict(*read_log(self.out)[-1:])
        started, before = time.monotonic(), self.seconds
        name = self.model.reconstruction
        wrapped.train()
        with self._progress_bar() as bar:
            for batch in _read(loader):
                losses = self._train_step(wrapped, optimizers, batch)
                self.seconds = self._first_clock(before + time.monotonic() - started)
                done = self.progress() >= 1
                bar.update(100 * self.progress() - bar.n)
                if self.step % 10 == 0 or done:
                    bar.set_postfix_str(f"step {self.step}, {name} {losses[name].item():.3f}", refresh=False)
                if self.step % self.config.eval_every == 0 or done:
                    _write_scalars(writer, "train", {key: value.item() for key, value in losses.items()}, self.step)
                    figures = self._evaluate(writer)
                    wrapped.train()
                if done:
                    break
        if writer is not None:
            writer.close()
        leave()
        return figures

    def progress(self) -> float:
        """The share of training that is done, 0..1, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(max(self.step / self.config.steps, by_time), 1.0)

    def _train_step(self, wrapped: Any, optimizers: list[Any], batch: Any) -> dict[str, Tensor]:
        """One step of every optimizer, in turns -> the losses of all turns by name, and `total` of the first.

        The step ends at a turn whose gradient is not finite; nothing is learned from it.
        """
        rate = learning_rate(self.config, self.step, self.progress())
        batch, all_losses, is_finite = _to_device(batch, self.device), dict[str, Tensor](), True
        for turn, optimizer in zip(self.optimizers, optimizers, strict=True):
            before = [buffer.clone() for buffer in self.model.buffers()]
            for group in self.optimizers[turn].param_groups:
                group["lr"] = rate
            with self.accelerator.autocast():
                losses: dict[str, Tensor] = wrapped(batch, turn)
            loss = total(losses)
            self.accelerator.backward(loss)
            norm = self.accelerator.clip_grad_norm_(self.parameters[turn], self.config.clip)
            is_finite = norm is None or bool(torch.isfinite(norm))
            if is_finite or self.config.precision == "fp16":  # whose scaler skips by itself, and lowers its scale
                optimizer.step()
            self.model.zero_grad()  # of all turns: the generator's loss leaves gradients in the critic, too
            all_losses = {**losses, "total": loss, **all_losses}
            if not is_finite:
                for buffer, value in zip(self.model.buffers(), before, strict=True):
                    buffer.copy_(value)
                break
        if is_finite:
            self.averaged.update_parameters(self.model.exported)
            self.skipped_in_a_row = 0
        else:
            self._note_skipped()
        self.step += 1
        return all_losses

    def _note_skipped(self) -> None:
        """Count a step whose gradient is not finite, and name its utterances.

        Raises SpeechVQError if it is the last of too many in a row.
        """
        self.skipped, self.skipped_in_a_row = self.skipped + 1, self.skipped_in_a_row + 1
        names = self.data.names(self.step)
        log.warning("step %d skipped: the gradient is not finite; utterances: %s", self.step, ", ".join(names))
        if self.accelerator.is_main_process:
            with (self.out / SKIPPED_STEPS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, "utterances": names}) + "\n")
        if self.skipped_in_a_row == self.config.skips:
            raise SpeechVQError(
                f"training diverged: the gradients of {self.skipped_in_a_row} steps in a row, to step {self.step}, are "
                f"not finite; lower train.learning_rate, or look at the utterances in {self.out / SKIPPED_STEPS}"
            )

    def _evaluate(self, writer: Any) -> dict[str, float]:
        """Measure, log, and save: the averaged weights if none were better so far, and always the last state."""
        if not self.accelerator.is_main_process:
            return {}
        evaluated = cast("Trainable", self.averaged.module) if self.config.average else self.model.exported.eval()
        state = torch.get_rng_state()  # measuring must not change what training draws next
        figures = evaluated.held_out(_to_device(batch, self.device) for batch in self.held_out())
        figures |= self.measure(evaluated)
        torch.set_rng_state(state)
        if self.skipped:
            figures = {**figures, "skipped_steps": float(self.skipped)}
        _write_scalars(writer, "held_out", figures, self.step)
        row = {"step": self.step, "seconds": round(self.seconds, 1), **figures}
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        cost = figures["loss"] if self.config.keep == "loss" else -figures[self.config.keep]
        if cost <= self.best:  # of equals the later: what a frozen decoder's loss does not see may have learned
            self.best = cost
            save_tensors(self.out / WEIGHTS, evaluated.state_dict(), row)
        if self.step:
            self._save()
            for concern in evaluated.concerns(figures):
                log.warning("step %d: %s", self.step, concern)
        return figures

    def _save(self) -> None:
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        tensors |= {f"averaged.{key}": value for key, value in self.averaged.state_dict().items()}
        for turn, optimizer in self.optimizers.items():
            slots = optimizer.state_dict()["state"]
            names = ((f"optimizer.{turn}.{i}.{key}", value) for i, slot in slots.items() for key, value in slot.items())
            tensors |= dict(names)
        tensors["random"] = torch.get_rng_state()
        clock = {"step": self.step, "seconds": self.seconds, "best": self.best}
        skipped = {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}
        save_tensors(self.out / LAST, tensors, clock | skipped)

    def _load(self) -> None:
        path = self.out / LAST
        tensors, metadata = load_tensors(path)
        check_shape(metadata, CLOCK, f"{path}: not a training state")
        self.step, self.seconds, self.best = metadata["step"], metadata["seconds"], metadata["best"]
        self.skipped, self.skipped_in_a_row = metadata.get("skipped", 0), metadata.get("skipped_in_a_row", 0)
        try:
            if not (0 <= self.step < 2**63 and self.seconds >= 0):
                raise ValueError(f"step {self.step} after {self.seconds} s")
            torch.set_rng_state(tensors.pop("random"))
            self._fill_state(tensors)
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            raise SpeechVQError(f"{path}: not a training state ({' '.join(str(error).split())})") from None
        if not (self.out / WEIGHTS).is_file():
            self.best = math.inf  # the best weights are gone
        if self.accelerator.is_main_process:
            _cut(self.out / LOG, self.step)
            _cut(self.out / SKIPPED_STEPS, self.step - 1)

    def _fill_state(self, tensors: dict[str, Tensor]) -> None:
        """Fill model, average and optimizers from the tensors of `_save`."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            group, _, key = name.partition(".")
            groups[group][key] = tensor
        fill(self.model, groups["model"], LAST)
        fill(self.averaged, groups["averaged"], LAST)
        states: dict[str, dict[str, Tensor]] = {turn: {} for turn in self.optimizers}
        for name, tensor in groups["optimizer"].items():
            if len(states) == 1 and name.count(".") == 1:
                name = f"{next(iter(states))}.{name}"  # written before optimizers had names
            turn, _, key = name.partition(".")
            states[turn][key] = tensor
        for turn, optimizer in self.optimizers.items():
            state = adam_state(states[turn], self.parameters[turn])
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})

    def _first_clock(self, seconds: float) -> float:
        """The seconds of the first process, so that all have the same learning rate and end at the same step."""
        if self.accelerator.num_processes == 1:
            return seconds
        with needed_for("training", "train"):
            from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(seconds, device=self.device)))

    def _progress_bar(self) -> Any:
        """A progress bar over the share of training that is done."""
        return tqdm(
            total=100,
            desc=printable(self.out.name),
            disable=not self.accelerator.is_main_process,
            mininterval=interval(),
            bar_format="{l_bar}{bar}| {elapsed} < {remaining}{postfix}",
        )

    def _tensorboard(self) -> Any:
        """A writer of event files, or None if TensorBoard is not installed; the log holds the same figures."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(str(self.out), purge_step=self.step)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up over `warmup` steps, then constant, or a half cosine down to a hundredth."""
    rate = config.learning_rate * min(1.0, (step + 1) / (config.warmup + 1))
    if config.schedule == "cosine":
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
    return rate


def read_log(folder: Path) -> list[dict[str, float]]:
    """The evaluations of a run, oldest first. Raises SpeechVQError if one is not of figures by name, with a step."""
    return [*_rows(folder / LOG, Each(float))]


def _cut(path: Path, last: int) -> None:
    """Leave out the rows of a log after the step `last`, and one that a kill cut off."""
    if path.is_file():
        kept = [json.dumps(row) + "\n" for row in _rows(path, dict) if row["step"] <= last]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _rows(path: Path, shape: Any) -> Iterator[dict[str, Any]]:
    for where, row in whole_lines(path) if path.is_file() else []:
        check_shape(row, {"step": float}, where)
        check_shape(row, shape, where)
        yield row


def _read(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches. Raises SpeechVQError if a worker that reads them is killed."""
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SpeechVQError(
            "a worker that reads batches was killed, perhaps for want of memory (train.workers)"
        ) from None


def _to_device(batch: Any, device: torch.device) -> Any:
    return type(batch)(*(tensor.to(device, non_blocking=True) for tensor in batch))


def _write_scalars(writer: Any, group: str, values: dict[str, float], step: int) -> None:
    for key, value in values.items():
        if writer is not None:
            writer.add_scalar(f"{group}/{key}", value, step)
