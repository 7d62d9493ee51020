"""Supervised fine-tuning with TRL's SFTTrainer: loss on the completion only, best epoch by validation loss.

All methods train through this one path, on the same batches in the same order. It skips two things that do not change
gradients: logits of positions without a loss, and padding if the rows of a batch can be packed into one row. A tuner
that needs more (AdaLoRA moves its rank budget after each step) gets it through the update hook of its PEFT class.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from trl import SFTConfig, SFTTrainer

from harness.adaptation import allowed_targets
from harness.adaptation.batches import IGNORED, Batch, Layout, Rows
from harness.adaptation.peft_model import cuts_off_checkpoints, parameters
from harness.errors import Diverged
from harness.measurement.flops import Matrices
from harness.measurement.meter import Mark, Meter, mark, now, seconds_between
from harness.models.loading import Base
from harness.records.record import Training
from harness.settings import TrainingSettings
from harness.stats import summary


def train(
    base: Base,
    rows: Rows,
    validation: Rows,
    settings: TrainingSettings,
    learning_rate: float,
    seed: int,
    meter: Meter,
    progress: Callable[[int, int], None],
) -> Training:
    """Train a model in place and leave its best epoch loaded; returns a record's `training`.

    `seconds` counts optimisation steps only; validation is in `validation_seconds`. Diverged if the loss is not finite.
    """
    settings = replace(settings, gradient_checkpointing=checkpoints(settings, base.model))
    watch = _Watch(meter, progress)
    precise = [(parameter, parameter.data) for parameter in base.model.parameters() if parameter.requires_grad]
    callbacks: list[TrainerCallback] = [watch, _TunerUpdate()]
    if len(validation) and settings.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    with tempfile.TemporaryDirectory(prefix="harness-checkpoints-") as folder:
        trainer = CompletionTrainer(
            model=base.model,
            args=_arguments(folder, settings, learning_rate, seed, evaluates=bool(len(validation))),
            train_dataset=rows.dataset(),
            eval_dataset=validation.dataset() if len(validation) else None,
            processing_class=base.tokenizer,
            data_collator=Layout.of(base),
            callbacks=callbacks,
            optimizer_cls_and_kwargs=_optimizer(settings, learning_rate),
        )
        trainer.remove_callback(PrinterCallback)  # the harness prints progress itself
        for parameter, values in precise:  # TRL rounds an adapter on a 4-bit base to bfloat16; LoRA's stays float32
            parameter.data = values
        trainer.train()
        trainer.accelerator.unwrap_model(base.model, keep_fp32_wrapper=False)  # it leaves autocast in `forward`
    base.model.eval()
    base.model.config.use_cache = True
    losses = trainer.losses()
    validation_losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    steps = watch.steps()
    seconds = sum(steps)
    if not all(map(math.isfinite, losses + validation_losses)):
        raise Diverged(f"the loss is not finite at learning rate {learning_rate:g}")
    trainable, total = parameters(base.model)
    tokens, checkpointing = trainer.tokens, bool(settings.gradient_checkpointing)
    return Training(
        seconds=seconds,
        validation_seconds=watch.validation,
        save_seconds=watch.saving,
        step_ms=summary([1000 * step for step in steps]),
        first_step_ms=1000 * steps[0] if steps else None,
        steps=trainer.state.global_step,
        epochs=trainer.state.epoch,
        examples=len(rows),
        demonstrations_left_out=rows.left_out,
        tokens=tokens,
        longest_row=rows.longest,
        longest_answer=rows.longest_answer,
        tokens_per_second=tokens / seconds if seconds else None,
        flops=Matrices.of(base.model).training(tokens, trainer.learned, rows.mean_length, checkpointing),
        learning_rate=learning_rate,
        gradient_checkpointing=checkpointing,
        final_train_loss=losses[-1] if losses else None,
        best_validation_loss=min(validation_losses, default=None),
        trainable_parameters=trainable,
        total_parameters=total,
    )


def checkpoints(settings: TrainingSettings, model: Any) -> bool:
    """Whether to use gradient checkpointing; by default only after an out-of-memory error."""
    return bool(settings.gradient_checkpointing) and not cuts_off_checkpoints(model)


def completion_loss(model: Any, inputs: Mapping[str, Any], labels: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Summed negative log-likelihood of the labels in the columns `learned`, each predicted by the column before it.

    labels: shape (rows, tokens), -100 for tokens without a loss. Only the logits of these columns are computed; columns
    count from the end, since a soft prompt comes before the tokens.
    """
    logits = model(**inputs, use_cache=False, logits_to_keep=learned - 1 - labels.shape[1]).logits
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels[:, learned].flatten(), ignore_index=IGNORED, reduction="sum"
    )


class CompletionTrainer(SFTTrainer):
    """SFTTrainer that computes logits only for tokens with a loss, and weighs all validation tokens equally."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # tokens read, and tokens with a loss, in training so far, without validation
        self.tokens = self.learned = 0
        self._losses: list[torch.Tensor] = []
        self._accumulated: torch.Tensor | float = 0.0

    def losses(self) -> list[float]:
        """The loss of each optimisation step so far; they stay on the device until they are asked for."""
        return torch.stack(self._losses).tolist() if self._losses else []

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **options)
        self._accumulated = self._accumulated + loss.detach()
        if self.accelerator.sync_gradients:  # the last batch of a step
            self._losses.append(torch.as_tensor(self._accumulated))
            self._accumulated = 0.0
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch = Batch.taken_from(inputs)
        self.tokens += batch.tokens
        self.learned += batch.learned
        if self.aux_loss_enabled:  # a mixture of experts; TRL adds the loss of its routers
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = _loss(model, inputs, batch)
        return loss / (batch.learned if num_items_in_batch is None else num_items_in_batch)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.model.eval()
        losses, learned = [], 0
        with torch.no_grad():
            for batch in self.get_eval_dataloader():
                inputs = self._prepare_inputs(batch)
                rows = Batch.taken_from(inputs)
                with self.compute_loss_context_manager():
                    losses.append(_loss(self.model, inputs, rows))
                learned += rows.learned
        metrics = {"eval_loss": sum(torch.stack(losses).tolist()) / learned}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _loss(model: Any, inputs: dict[str, Any], batch: Batch) -> torch.Tensor:
    """The summed loss of a batch; padding is on the right, where a causal model looks anyway only after its answers.

    So no mask is given: with one, attention would take a slower kernel.
    """
    inputs.pop("attention_mask", None)
    return completion_loss(model, inputs, inputs.pop("labels"), batch.columns)


def _arguments(
    folder: str, settings: TrainingSettings, learning_rate: float, seed: int, *, evaluates: bool
) -> SFTConfig:
    by_epoch = "epoch" if evaluates else "no"
    optimizer = settings.optimizer if isinstance(settings.optimizer, str) else "adamw_torch"
    return SFTConfig(
        output_dir=folder,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        learning_rate=learning_rate,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        gradient_checkpointing=settings.gradient_checkpointing,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        weight_decay=settings.weight_decay,
        optim=_fused(optimizer),
        bf16=bool(settings.bf16),
        max_length=None,
        shuffle_dataset=False,
        eval_strategy=by_epoch,
        save_strategy=by_epoch,
        load_best_model_at_end=evaluates,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        save_only_model=True,
        save_total_limit=1,
        prediction_loss_only=True,
        logging_strategy="no",  # a logged loss would wait for the device at every step, and so would the filter
        logging_nan_inf_filter=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # the rows are tokens already
        remove_unused_columns=False,
        seed=seed,
        data_seed=seed,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _fused(optimizer: str) -> str:
    """Replace AdamW by its fused version: the same steps, faster and without temporary tensors."""
    return "adamw_torch_fused" if optimizer == "adamw_torch" else optimizer


def _optimizer(settings: TrainingSettings, learning_rate: float) -> tuple[type, dict[str, object]] | None:
    """Class and options of an optimizer given as a `_target_`; None for a name, which TRL resolves."""
    return None if isinstance(settings.optimizer, str) else optimizer_class(settings, learning_rate)


def optimizer_class(settings: TrainingSettings, learning_rate: float) -> tuple[type, dict[str, object]]:
    """Class and options of an optimizer given by its transformers name or as a `_target_`."""
    spec = settings.optimizer
    if isinstance(spec, str):
        arguments = TrainingArguments(
            output_dir="unused", optim=_fused(spec), learning_rate=learning_rate, use_cpu=True
        )
        return Trainer.get_optimizer_cls_and_kwargs(arguments)
    options = {name: value for name, value in spec.items() if name != "_target_"}
    return allowed_targets.resolve(str(spec["_target_"])), {"lr": learning_rate, **options}  # type: ignore[return-value]


class _Watch(TrainerCallback):
    """Time, memory and progress of the optimisation steps; times validation and saving between them separately."""

    def __init__(self, meter: Meter, progress: Callable[[int, int], None]) -> None:
        self.validation = self.saving = 0.0
        self._marks: list[tuple[Mark, Mark]] = []
        self._meter = meter
        self._progress = progress
        self._training = False
        self._last = 0.0

    def steps(self) -> list[float]:
        """The seconds of each optimisation step."""
        return [seconds_between(begin, end) for begin, end in self._marks]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._training:
            self._training = True
            self._meter.start()
        self._begin = mark()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._marks.append((self._begin, mark()))
        self._progress(state.global_step, state.max_steps)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = now()
        self._meter.stop("train")
        self._training = False

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.validation += self._since()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saving += self._since()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saving += self._since()  # the trainer has just reloaded the best epoch

    def _since(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, now()
        return self._last - before


class _TunerUpdate(TrainerCallback):
    """Call the tuner's update hook, if it has one, after each optimizer step (AdaLoRA: move its rank budget)."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        update = getattr(getattr(model, "base_model", None), "update_and_allocate", None)
        if update is not None:
            update(state.global_step)
