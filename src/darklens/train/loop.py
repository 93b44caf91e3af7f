"""The training loop: plain, resumable to the last bit, on Lightning Fabric for devices and processes.

Everything random is a function of `(seed, epoch)`, and the state is written whole at the end of every epoch: a training killed
at any moment and resumed gives the same weights, bitwise on CPU, as one that was left alone. What was measured on the way (number
format, images at once, epochs within a budget) is decided once, and kept in the state.
"""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import WorkError
from darklens.files import held
from darklens.runs import LAST, WEIGHTS, Run
from darklens.train import batch_size, budget, checkpoint, precision
from darklens.train.batch_norm import normalises
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.distributed import Team, connect
from darklens.train.ema import MovingAverage
from darklens.train.logits import EVALUATION_BATCH, predict_logits
from darklens.train.optim import Schedule, match_memory_order, optimizer
from darklens.train.preprocess import bands_alone, prepare
from darklens.train.seeds import seed_at
from darklens.train.task import Images, Lessons, Task

STATE = "state/checkpoint.safetensors"
Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total)."""


def _words(column: str) -> str:
    return column.removeprefix("val_").replace("_", " ")


class Training:
    """One training of one model, into one run folder.

    Args:
        run: where everything goes; a state found there is continued.
        model: the network.
        task: what it is asked, as `darklens.train.task` says.
        train: images to learn from.
        validation: images to judge on; never learned from.
        config: optimisation settings.
        preprocess: from image to input.
        device: "auto", "cpu", "cuda" or "mps"; for a team of one.
        team: the processes that train together, and their devices.
        budget_s: seconds after which the training should have ended; epochs and schedule are cut to it.
        after_epoch: receives the row of the history; True ends the training.
        log, progress: receive one sentence at a time; (phase, done, total).
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        task: Task,
        train: Lessons,
        validation: Images,
        config: TrainConfig,
        preprocess: Preprocess,
        *,
        device: str = "auto",
        team: Team | None = None,
        budget_s: float | None = None,
        after_epoch: Callable[[dict[str, float]], bool] = lambda row: False,
        log: Callable[[str], None] = print,
        progress: Progress = lambda phase, done, total: None,
    ) -> None:
        self.start = time.perf_counter()
        self.run, self.task, self.train_set, self.validation_set = run, task, train, validation
        self.config, self.preprocess, self.log, self.progress = config, preprocess, log, progress
        self.augment = bands_alone(task.augment, preprocess)
        self.team = team or connect(device)
        self.fabric, self.after_epoch, self.batch = self.team.fabric, after_epoch, min(config.batch_size, len(train))
        self.share = self.team.share(self.batch)
        self.state: dict[str, Any] = {"epoch": 0, "history": [], "best": None, "stale": 0, "threads": torch.get_num_threads()}
        self.stopping, self.waited = False, 0.0
        self._restore(model.to(self.fabric.device), budget_s)

    def _restore(self, model: nn.Module, budget_s: float | None) -> None:
        """Set up the optimiser, and continue from the state in the run folder if there is one."""
        path = self.run.path / STATE
        saved = checkpoint.load(path) if path.is_file() else None
        if saved:
            model.load_state_dict(saved[0])
            self.state |= saved[3]["training"]
        self.format = self.state.setdefault("precision", None) or self._choose_format(model)
        self.state["precision"] = self.format
        self.micro_batch = self._kept_micro_batch() or self._choose_micro_batch(model)
        self.state |= {"micro_batch": self.micro_batch, "share": len(range(self.batch)[self.share])}
        self._follow(self._planned(model, budget_s, begun=saved is not None))
        self._set_up(model)
        if saved:
            self.log(f"continuing after epoch {self.state['epoch']} of {self.config.epochs}")
            self.inner_optimizer.load_state_dict(saved[2])
            match_memory_order(self.inner_optimizer)
            self.schedule.load(saved[3]["schedule"])
            if self.ema and saved[1]:
                self.ema.load(saved[1], saved[3]["ema_steps"])

    def _set_up(self, model: nn.Module) -> None:
        self.raw = precision.lay_out(self.team.adapted(model))
        self.inner_optimizer = optimizer(self.raw, self.config)
        self.schedule = Schedule(self.inner_optimizer, self.config, self.steps)
        self.ema = MovingAverage(self.raw, self.config.ema) if self.config.ema else None
        self.model, self.optimizer = self.fabric.setup(self.raw, self.inner_optimizer)
        self.idle = self._idle() if self.team.size > 1 else []
        if hasattr(self.raw, "forward_with_auxiliary"):
            self.model.mark_forward_method("forward_with_auxiliary")

    def _idle(self) -> list[nn.Parameter]:
        """Return the parameters that the loss does not feel: the others would wait for their gradients for ever."""
        trial = copy.deepcopy(self.raw)
        inputs, targets = self._trial_batch(len(range(self.batch)[self.share]))
        with torch.random.fork_rng():
            self._loss(trial, inputs, targets).backward()
        return [p for p, q in zip(self.raw.parameters(), trial.parameters(), strict=True) if p.requires_grad and q.grad is None]

    def _choose_format(self, model: nn.Module) -> str:
        if self.config.precision != "auto":
            return self.config.precision
        with torch.random.fork_rng():
            chosen, sentence = precision.choose(model, self._loss, *self._trial_batch(self.batch))
        self.log(sentence)
        return precision.FORMATS[int(self.team.settle(precision.FORMATS.index(chosen)))]

    def _loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        answers, physics = self.task.losses(model, inputs, targets)
        return answers + physics

    def _trial_batch(self, count: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.train_set.batch(np.arange(count), self.fabric.device)
        generator = torch.Generator().manual_seed(self.config.seed)
        return self.augment(prepare(inputs, self.preprocess), targets, self.config, generator, (slice(None), count))

    def _kept_micro_batch(self) -> int | None:
        """Return what was decided before; a share that was computed whole is so on any number of processes."""
        kept, share, wanted = self.state.get("micro_batch"), len(range(self.batch)[self.share]), self.config.micro_batch
        if not kept:
            return None
        return min(share if kept == self.state.get("share", share) else kept, wanted if isinstance(wanted, int) else share, share)

    def _choose_micro_batch(self, model: nn.Module) -> int:
        """Return how many images each device computes at once."""
        share = len(range(self.batch)[self.share])
        if self.config.micro_batch != "auto":
            return min(share, self.config.micro_batch or share)
        on_processor = self.fabric.device.type == "cpu"
        if on_processor and normalises(model):
            self.log(f"batches of {share} images are computed at once: the model normalises over its batch")
            return share
        inputs, targets = self._trial_batch(share)
        with torch.random.fork_rng():
            chosen, sentence = (batch_size.fastest if on_processor else batch_size.largest_that_fits)(
                lambda n: precision.time_step(model, self._loss, inputs[:n], targets[:n], self.format, 1), share
            )
        self.log(sentence)
        return int(self.team.settle(chosen))

    def _planned(self, model: nn.Module, budget_s: float | None, *, begun: bool) -> budget.Plan:
        """Return how long the training is: as it was decided when it began, or else as recipe and budget say."""
        if self.state.get("plan", {}).get("budget_s"):
            return budget.Plan(**self.state["plan"])
        steps = max(1, len(self.train_set) // self.batch)
        whole = budget.Plan(self.config.epochs, steps, self.config.epochs, steps)
        if begun and budget_s:
            self.log("the training began without a budget and keeps the schedule that it began with")
        if begun or budget_s is None:
            return whole
        self._follow(whole)
        return self._measure(model, budget_s)

    def _follow(self, plan: budget.Plan) -> None:
        self.plan, self.steps = plan, plan.steps
        self.config = self.config.model_copy(update={"epochs": plan.epochs})
        self.state["plan"] = plan.as_dict()

    def _measure(self, model: nn.Module, budget_s: float) -> budget.Plan:
        """Train a copy of the model for a few steps, and see what fits into a budget."""
        self._set_up(copy.deepcopy(model))
        warm_up = budget.WARM_UP + getattr(self.train_set, "ahead", 0)
        ticks = [time.perf_counter()]

        def enough(step: int) -> bool:
            ticks.append(time.perf_counter())
            late = self.team.any(ticks[-1] - self.start > budget.SHORT * budget_s)
            return step + 1 == warm_up + budget.STEPS or (late and step > 0)

        self._learn(0, enough)
        timed = ticks[min(warm_up, len(ticks) - 2) :]
        step_s = (timed[-1] - timed[0]) / (len(timed) - 1)
        few = self.validation_set.take(np.arange(min(len(self.validation_set), EVALUATION_BATCH)))
        before = time.perf_counter()
        self.task.judge(self, few)
        judge_s = (time.perf_counter() - before) * len(self.validation_set) / len(few)
        spent = time.perf_counter() - self.start
        numbers = (self.team.settle(value) for value in (spent, step_s, judge_s))
        plan = budget.cut(budget_s, *numbers, epochs=self.config.epochs, steps=self.steps)
        self.log(plan.sentence)
        return plan

    def fit(self) -> dict[str, Any]:
        """Train to the end, to the early stop, or to Ctrl-C (which ends the epoch and keeps everything).

        Returns:
            The final state: epoch, history, best, interrupted.

        Raises:
            WorkError: the loss is not finite any more; InputError: another process trains this run.
        """
        with held(self.run.path, self.team.leads), self._interruptible():
            while self.state["epoch"] < self.config.epochs and not self._early():
                row = self._one_epoch(self.state["epoch"])
                self.stopping = self.team.any(self.stopping)
                if self.stopping or self.after_epoch(row):
                    break
        self.state["interrupted"] = self.stopping
        return self.state

    def _early(self) -> bool:
        return self.config.early_stopping is not None and self.state["stale"] >= self.config.early_stopping

    def _one_epoch(self, epoch: int) -> dict[str, float]:
        start = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        self.waited = 0.0
        losses = self._learn(epoch)
        seconds = time.perf_counter() - start
        judged = self.task.judge(self, self.validation_set)
        loss = judged["val_loss"]
        self.schedule.epoch(loss)
        row = {
            "epoch": epoch + 1,
            "lr": rate,
            "train_loss": losses,
            **judged,
            "seconds": round(time.perf_counter() - start, 2),
            "waited_s": round(self.waited, 2),
            "images_per_s": round(self.steps * self.batch / seconds, 1),
        } | ({"epochs": self.plan.epochs, "budget_s": self.plan.budget_s} if self.plan.budget_s else {})
        self.state["history"].append(row)
        self.state["epoch"] = epoch + 1
        better = self.state["best"] is None or loss < self.state["best"]["val_loss"]
        self.state["stale"] = 0 if better else self.state["stale"] + 1
        if better:
            self.state["best"] = {"epoch": epoch + 1, **judged}
        if self.team.leads:
            self._save(better)
        others = "".join(f", {_words(name)} {value:.4f}" for name, value in judged.items() if name != "val_loss")
        self.log(
            f"epoch {epoch + 1}/{self.config.epochs}: training loss {losses:.4f}, validation loss {loss:.4f}{others}"
            f"{' (best)' if better else ''}, {row['images_per_s']:.0f} images/s"
        )
        return row

    def _learn(self, epoch: int, enough: Callable[[int], bool] = lambda step: False) -> float:
        """Go once through the training images, or until `enough(step)`; returns the mean loss."""
        generator = torch.Generator().manual_seed(seed_at(self.config.seed, epoch))
        order = self.task.order(self.train_set, generator)
        total = torch.zeros((), device=self.fabric.device)
        self.model.train()
        with torch.random.fork_rng():
            # dropout has no generator argument; its masks differ between processes
            torch.manual_seed(seed_at(self.config.seed, epoch, 1, *([self.team.rank] if self.team.rank else [])))
            batches = self.train_set.epoch(epoch, order, self.batch, self.fabric.device, self.share)
            with closing(batches):
                for step in range(self.steps):
                    start = time.perf_counter()
                    inputs, targets = next(batches)
                    self.waited += time.perf_counter() - start
                    total += self._step(inputs, targets, generator, epoch, step)
                    if enough(step):
                        break
                    self.progress(f"epoch {epoch + 1}/{self.config.epochs}", step + 1, self.steps)
        return float(total) / self.steps

    def _step(self, inputs: Tensor, targets: Tensor, generator: torch.Generator, epoch: int, step: int) -> Tensor:
        inputs, targets = self.augment(prepare(inputs, self.preprocess), targets, self.config, generator, (self.share, self.batch))
        answers, physics = self.team.total(self._gradients(inputs, targets))
        if not math.isfinite(value := float(answers + physics)):
            self._diverged(value, epoch, step)
        if self.config.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.config.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.schedule.step()
        if self.ema:
            self.ema.update(self.raw)
        return answers

    def _gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return this process's part of the two mean losses of the batch, whose gradients are in the parameters then."""
        try:
            return self._accumulate(inputs, targets)
        except (RuntimeError, MemoryError) as error:
            if not batch_size.out_of_memory(error):
                raise
            if self.team.size > 1:
                lower = batch_size.smaller(self.micro_batch)
                raise WorkError(
                    f"the memory of a device does not hold {self.micro_batch} images at once: --set train.micro_batch={lower}"
                ) from error
        self.state["micro_batch"] = self.micro_batch = batch_size.smaller(self.micro_batch)
        self.log(f"the memory does not hold that many images at once: going on with {self.micro_batch} at a time")
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._gradients(inputs, targets)

    def _accumulate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros(2, device=inputs.device)
        parts = batch_size.parts(len(inputs), self.micro_batch, self.config.accumulate)
        for part in parts:
            weight = len(targets[part]) / self.batch
            with self.fabric.no_backward_sync(self.model, enabled=part is not parts[-1]):
                with precision.autocast(self.fabric.device.type, self.format):
                    answers, physics = self.task.losses(self.model, inputs[part], targets[part])
                    loss = answers + physics + sum(0 * parameter.sum() for parameter in self.idle)
                self.fabric.backward(loss * (weight * self.team.size))  # processes' gradients are averaged, and shares may differ
            total += weight * torch.stack([answers.detach(), physics.detach()])
        return total

    def _diverged(self, value: float, epoch: int, step: int) -> None:
        """End a training, in all processes, with one sentence from the first."""
        if not self.team.leads:
            raise SystemExit
        rate = self.optimizer.param_groups[0]["lr"]
        raise WorkError(
            f"the loss became {value} at epoch {epoch + 1}, step {step + 1} (learning rate {rate:.2g}): lower train.lr; "
            f"the weights of epoch {self.state['epoch']} are kept in {self.run}"
        )

    def answers(self, images: Images) -> np.ndarray:
        """Return `(n, k)` what the judged weights (the average where there is one) predict, from all processes."""
        return self.measured(images, lambda model, own: predict_logits(model, self.task, own, self.preprocess, self.fabric.device))

    def measured(self, images: Images, measure: Callable[[nn.Module, Any], np.ndarray]) -> np.ndarray:
        """Return `(n, k)` float32 numbers on each image: each process measures its part of the set with the judged weights."""
        rows = np.arange(len(images))[self.team.rank :: self.team.size]
        with self._judged_weights():
            found = measure(self.raw.eval(), images if self.team.size == 1 else images.take(rows))
        return self.team.collect(found, rows, len(images))

    @contextmanager
    def _judged_weights(self) -> Iterator[None]:
        if self.ema is None:
            yield
            return
        raw = {k: v.clone() for k, v in self.raw.state_dict().items()}
        self.raw.load_state_dict(self.ema.state)
        try:
            yield
        finally:
            self.raw.load_state_dict(raw)

    def _save(self, better: bool) -> None:
        """Write weights first and the state last: what a state promises is always there."""
        judged = self.ema.state if self.ema else self.raw.state_dict()
        checkpoint.save_weights(self.run.path / LAST, judged)
        if better:
            checkpoint.save_weights(self.run.path / WEIGHTS, judged)
        self.run.write_history(self.state["history"])
        content = {"training": self.state, "schedule": self.schedule.state(), "ema_steps": self.ema.steps if self.ema else 0}
        checkpoint.save(
            self.run.path / STATE,
            self.raw.state_dict(),
            self.ema.state if self.ema else None,
            self.optimizer.state_dict(),
            content,
        )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C ends the epoch cleanly; the second stops at once (the last epoch's state is safe)."""

        def stop(number: int, frame: object) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            self.log("stopping after this epoch; press Ctrl-C again to stop now")

        try:
            previous = signal.signal(signal.SIGINT, stop)
        except ValueError:  # not the main thread: signals are somebody else's business
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
