"""The training loop: plain, resumable to the last bit, on Lightning Fabric for devices and processes.

Everything random is a function of `(seed, epoch)`, and the state is written whole at the end of every epoch: a training killed
at any moment and resumed gives the same weights, bitwise on CPU, as one that was left alone.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import WorkError
from darklens.runs import LAST, WEIGHTS, Run
from darklens.train import checkpoint, precision
from darklens.train.augment import augment
from darklens.train.classification import Classification
from darklens.train.config import Preprocess, TrainConfig
from darklens.train.ema import MovingAverage
from darklens.train.fresh import FreshImages
from darklens.train.image_set import ImageSet
from darklens.train.optim import Schedule, optimizer
from darklens.train.preprocess import prepare

STATE = "state/checkpoint.safetensors"
EVALUATION_BATCH = 256
Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total)."""


class Training:
    """One training of one model, into one run folder.

    Args:
        run: where everything goes; a state found there is continued.
        model: the network.
        task: what it is asked.
        train: images to learn from.
        validation: images to judge on; never learned from.
        config: optimisation settings.
        preprocess: from image to input.
        device: "auto", "cpu", "cuda" or "mps".
        log: receives one sentence at a time.
        progress: receives (phase, done, total).
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        task: Classification,
        train: ImageSet | FreshImages,
        validation: ImageSet,
        config: TrainConfig,
        preprocess: Preprocess,
        *,
        device: str = "auto",
        log: Callable[[str], None] = print,
        progress: Progress = lambda phase, done, total: None,
    ) -> None:
        self.run, self.task, self.train_set, self.validation_set = run, task, train, validation
        self.config, self.preprocess, self.log, self.progress = config, preprocess, log, progress
        self.fabric = lightning_fabric.Fabric(accelerator=device, devices=1)
        self.steps = max(1, len(train) // config.batch_size)
        self.state: dict[str, Any] = {
            "epoch": 0,
            "history": [],
            "best": None,
            "stale": 0,
            "threads": torch.get_num_threads(),
        }
        self.stopping = False
        self._restore(model.to(self.fabric.device))

    def _restore(self, model: nn.Module) -> None:
        """Set up the optimiser, and continue from the state in the run folder if there is one."""
        path = self.run.path / STATE
        saved = checkpoint.load(path) if path.is_file() else None
        if saved:
            model.load_state_dict(saved[0])
            self.state |= saved[3]["training"]
            self.log(f"continuing after epoch {self.state['epoch']} of {self.config.epochs}")
        self.format = self.state.setdefault("precision", None) or self._choose_format(model)
        self.state["precision"] = self.format
        self.raw = precision.lay_out(model)
        opt = optimizer(self.raw, self.config)
        self.schedule = Schedule(opt, self.config, self.steps)
        self.ema = MovingAverage(self.raw, self.config.ema) if self.config.ema else None
        if saved:
            opt.load_state_dict(saved[2])
            _match_memory_order(opt)
            self.schedule.load(saved[3]["schedule"])
            if self.ema and saved[1]:
                self.ema.load(saved[1], saved[3]["ema_steps"])
        self.model, self.optimizer = self.fabric.setup(self.raw, opt)
        if hasattr(self.raw, "forward_with_auxiliary"):
            self.model.mark_forward_method("forward_with_auxiliary")

    def _choose_format(self, model: nn.Module) -> str:
        if self.config.precision != "auto":
            return self.config.precision
        index = np.arange(min(self.config.batch_size, len(self.train_set)))
        images, labels = self.train_set.batch(index, self.fabric.device)
        with torch.random.fork_rng():
            chosen, sentence = precision.choose(model, self.task.loss, prepare(images, self.preprocess), labels)
        self.log(sentence)
        return chosen

    def fit(self) -> dict[str, Any]:
        """Train to the end, to the early stop, or to Ctrl-C (which ends the epoch and keeps everything).

        Returns:
            The final state: epoch, history, best, interrupted.

        Raises:
            WorkError: the loss is not finite any more.
        """
        with self._interruptible():
            while self.state["epoch"] < self.config.epochs and not self._early():
                self._one_epoch(self.state["epoch"])
                if self.stopping:
                    break
        self.state["interrupted"] = self.stopping
        return self.state

    def _early(self) -> bool:
        return self.config.early_stopping is not None and self.state["stale"] >= self.config.early_stopping

    def _one_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        self.waited = 0.0
        losses = self._learn(epoch)
        seconds = time.perf_counter() - start
        loss, accuracy = self.judge(self.validation_set)
        self.schedule.epoch(loss)
        row = {
            "epoch": epoch + 1,
            "lr": rate,
            "train_loss": losses,
            "val_loss": loss,
            "val_accuracy": accuracy,
            "seconds": round(time.perf_counter() - start, 2),
            "waited_s": round(self.waited, 2),
            "images_per_s": round(self.steps * self.config.batch_size / seconds, 1),
        }
        self.state["history"].append(row)
        self.state["epoch"] = epoch + 1
        better = self.state["best"] is None or loss < self.state["best"]["val_loss"]
        self.state["stale"] = 0 if better else self.state["stale"] + 1
        if better:
            self.state["best"] = {"epoch": epoch + 1, "val_loss": loss, "val_accuracy": accuracy}
        self._save(better)
        self.log(
            f"epoch {epoch + 1}/{self.config.epochs}: training loss {losses:.4f}, validation loss {loss:.4f}, "
            f"accuracy {accuracy:.4f}{' (best)' if better else ''}, {row['images_per_s']:.0f} images/s"
        )

    def _learn(self, epoch: int) -> float:
        """Go once through the training images; returns the mean loss."""
        generator = torch.Generator().manual_seed(_seed(self.config.seed, epoch))
        order = torch.randperm(len(self.train_set), generator=generator).numpy()
        total = torch.zeros((), device=self.fabric.device)
        self.model.train()
        with torch.random.fork_rng():
            torch.manual_seed(_seed(self.config.seed, epoch, 1))  # dropout has no generator argument
            batches = self.train_set.epoch(epoch, order, self.config.batch_size, self.fabric.device)
            with closing(batches):
                for step in range(self.steps):
                    start = time.perf_counter()
                    images, labels = next(batches)
                    self.waited += time.perf_counter() - start
                    total += self._step(images, labels, generator, epoch, step)
                    self.progress(f"epoch {epoch + 1}/{self.config.epochs}", step + 1, self.steps)
        return float(total) / self.steps

    def _step(self, images: Tensor, labels: Tensor, generator: torch.Generator, epoch: int, step: int) -> Tensor:
        images = augment(prepare(images, self.preprocess), self.config.augment, generator, self.config.max_shift)
        with precision.autocast(self.fabric.device.type, self.format):
            answers, physics = self.task.losses(self.model, images, labels)
            loss = answers + physics
        if not math.isfinite(value := float(loss.detach())):
            rate = self.optimizer.param_groups[0]["lr"]
            raise WorkError(
                f"the loss became {value} at epoch {epoch + 1}, step {step + 1} (learning rate {rate:.2g}): lower train.lr; "
                f"the weights of epoch {self.state['epoch']} are kept in {self.run.path}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if self.config.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.config.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.schedule.step()
        if self.ema:
            self.ema.update(self.raw)
        return answers.detach()

    def judge(self, images: ImageSet) -> tuple[float, float]:
        """Return loss and accuracy of the judged weights (the average where there is one)."""
        logits = torch.from_numpy(self.logits(images))
        labels = torch.from_numpy(images.labels)
        return float(nn.functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())

    def logits(self, images: ImageSet) -> np.ndarray:
        """Return `(n, k)` logits of the judged weights."""
        with self._judged_weights():
            return predict_logits(self.raw, self.task, images, self.preprocess, self.fabric.device)

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
        content = {
            "training": self.state,
            "schedule": self.schedule.state(),
            "ema_steps": self.ema.steps if self.ema else 0,
        }
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


def predict_logits(
    model: nn.Module, task: Classification, images: ImageSet | np.ndarray, preprocess: Preprocess, device: torch.device | str
) -> np.ndarray:
    """Return `(n, k)` logits of a set, or of inputs `(n, bands, H, W)`, in batches, always in float32."""
    inputs = images.inputs if isinstance(images, ImageSet) else images.__getitem__
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), EVALUATION_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(inputs(slice(start, start + EVALUATION_BATCH)))).to(device)
            parts.append(task.predict(model, prepare(batch, preprocess)).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(task.classes)), np.float32)


def _match_memory_order(opt: torch.optim.Optimizer) -> None:
    """Lay the optimiser's tensors out as their parameters are: fused steps walk through both by address, not by index."""
    for parameter, state in opt.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def _seed(*address: int) -> int:
    return int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0] >> np.uint64(1))
