"""Multi-scale optimisation: an objective minimised scale by scale, coarse to fine, in the memory there is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.errors import ClusterError
from impasto.optim import memory
from impasto.optim.canvas import LocalCanvas
from impasto.optim.checkpoints import Checkpoint, Checkpoints, CheckpointWriter
from impasto.optim.clock import Clock
from impasto.optim.memory import Plan
from impasto.optim.problem import Execution, OutOfMemoryFallback
from impasto.optim.solvers import SOLVERS, Iterate, State
from impasto.optim.steps import Step

log = logging.getLogger(__name__)

#: By how much a plan may exceed the available memory when a run is resumed: what is free is never quite the same.
MEMORY_SLACK = 1.1
#: Pixels of a scale up to which the result of the one before is kept until the first evaluation is over, to be saved if
#: that is interrupted. Beyond, the memory is needed, and evaluations take as long as the time between checkpoints.
MOST_KEPT = 1 << 22


def optimize_scales(
    execution: Execution, start: Tensor, started: float, checkpoints: Checkpoints | None = None
) -> Iterator[Step]:
    """The steps through the scales: each starts from the result of the one before.

    Args:
        execution: what is optimised, and where.
        start: `(c, h, w)` of any size, on the problem's device: what the first scale starts from.
        started: when the operation began, by `time.monotonic()`.
        checkpoints: where and how often to save the run, and whether to resume it.

    Raises:
        BudgetError: a scale does not fit into memory; before the first step.
        CheckpointError: the run to be resumed is damaged, or another.
        ValueError: a loss that is not finite to begin with.
    """
    problem = execution.problem
    clock = Clock(started, problem.options.time_budget, problem.scales)
    writer = CheckpointWriter(checkpoints, problem.options, problem.input_hashes)
    resumed = writer.resume(problem.device)
    if resumed is not None:
        execution = execution.resumed(resumed.found)
    plans: Sequence[Plan] = [execution.plan(scale) for scale in problem.scales]
    if resumed is not None:
        available = memory.budget(problem.options.memory, problem.device)
        if all(plan.bytes <= MEMORY_SLACK * available for plan in resumed.plans):
            plans = resumed.plans
        else:
            log.warning("there is less memory than when the run began: the last digits may differ")
    return _steps(execution, plans, start, clock, writer, resumed)


def _steps(
    execution: Execution,
    plans: Sequence[Plan],
    image: Tensor,
    clock: Clock,
    writer: CheckpointWriter,
    resumed: Checkpoint | None,
) -> Iterator[Step]:
    problem, options, count = execution.problem, execution.problem.options, len(plans)
    evaluations, curve = 0, list(resumed.curve) if resumed else []
    earlier = tuple(curve)
    state, start = State(LocalCanvas(image[None])), image if problem.keeps_details else None
    del image  # the state has it now, and releases it for its own
    latest: Callable[[], Checkpoint] | None = None  # of the last step
    try:
        for index, (scale, plan) in enumerate(zip(problem.scales, plans, strict=True)):
            if resumed is not None and index < resumed.scale:
                continue
            if resumed is not None:
                state, evaluations = execution.restored(resumed.state, scale), resumed.before
                clock.resume(index, resumed.seconds, resumed.entered)
                resumed = None
            elif index > 0 and not clock.enter(index):
                log.warning("out of time before %d×%d px", scale.width, scale.height)
                break
            else:
                state = State(execution.place(state.canvas.gather()[0], scale, start if index > 0 else None))
            if index == count - 1:
                start = None  # the memory is needed
            objective = OutOfMemoryFallback(execution, scale, plan)
            if not objective.terms:
                continue  # the masks vanish at every layer: there is nothing to optimise at this size
            if (plan.method, plan.history) != (options.optimizer, options.history):
                kind = "Adam" if plan.method == "adam" else f"a history of {plan.history}"
                log.warning("%d×%d px: with %s, to fit into memory", scale.width, scale.height, kind)

            if scale.pixels > MOST_KEPT:
                latest = None  # the memory is needed

            def checkpoint(
                index: int = index,
                evaluations: int = evaluations,
                entered: float = clock.entered,
                state: State = state,
                found: Mapping[str, float] = problem.found,
            ) -> Checkpoint:
                return Checkpoint(plans, index, evaluations, clock.seconds, entered, state, curve, found)

            def search(
                plan: Plan = plan, objective: OutOfMemoryFallback = objective, state: State = state
            ) -> Iterator[Iterate]:
                return SOLVERS[plan.method](objective, state, plan.history, options.rate)

            for found in execution.guarded(search, state):
                latest = checkpoint
                if not found.is_finite and index == 0:
                    raise ValueError(f"the loss is {found.loss} at the start; use smaller weights or strength")
                done = min(found.evaluations, scale.evaluations)
                clock.tick(index, done)
                total = evaluations + found.evaluations
                if not curve or curve[-1][0] < total:  # the first of a resumed run is the last of the one before
                    curve.append((total, index + 1, found.loss, found.terms))
                writer.update(checkpoint())
                yield Step(
                    canvas=found.canvas,
                    iteration=done,
                    iterations=scale.evaluations,
                    scale=index + 1,
                    scales=count,
                    evaluations=total,
                    loss=found.loss,
                    losses=found.terms,
                    seconds=clock.seconds,
                    eta=clock.eta(index, done, bool(found.note)),
                    shape=problem.size,
                    note=found.note,
                    finish=problem.finish,
                    earlier=earlier,
                    found=problem.found,
                )
                earlier = ()
                if found.note:
                    log.warning("%d×%d px: %s", scale.width, scale.height, found.note)
                if found.evaluations >= scale.evaluations or clock.is_over(index):
                    break
            evaluations += found.evaluations
            if not found.is_finite:
                break
            state.pairs, state.moments = [], None  # released: the next scale needs the memory
            del objective, found, checkpoint, search
            if index < count - 1:
                execution = execution.after(scale, plan, state.canvas)
                problem = execution.problem
    except ClusterError:  # the picture is lost with its workers
        raise
    except BaseException:  # Ctrl-C too, or that the iterator is closed
        if latest is not None:
            writer.update(latest(), now=True)
        raise


def noise(height: int, width: int, seed: int, spread: float = 0.02) -> Tensor:
    """White noise around mid-grey to start from, `(3, height, width)` in [0, 1].

    Weak by default, as in Gatys's own code: strong noise remains visible for hundreds of iterations.
    """
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + spread * torch.randn(3, height, width, generator=generator, **CPU_FLOAT)).clamp(0, 1)
