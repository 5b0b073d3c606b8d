"""Workers and a storage -> each trial tried by one worker at a time, told once, and taken over from one that died.

new         under the folder's lock, while there are fewer trials than wanted
left over   running by the storage, but nobody holds its folder: whoever finds it goes on with it
told        complete with its score, pruned (also where its training diverged), or failed with a message
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from segtrial.comparison.cells import Cell
from segtrial.comparison.request import FIRST_TRIAL_SEED
from segtrial.errors import RunError
from segtrial.files import folder_lock, held
from segtrial.signals import StopRequest
from segtrial.tuning.pruning import RULES, Other
from segtrial.tuning.ranges import own_values
from segtrial.tuning.rule import Rule
from segtrial.tuning.sampler import Stateless
from segtrial.tuning.space import point

LOCK = ".search.lock"
POLL_SECONDS = 0.2
FEWEST = 8
"""Complete trials that importances are taken from."""

STATE, MESSAGE = "segtrial.state", "segtrial.message"
"""What is stored of a trial beside Optuna's own."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended; only a complete one has a score."""

    state: Literal["complete", "pruned", "diverged", "failed"]
    score: float | None = None
    message: str | None = None


class Study:
    """The trials of a search, in whatever storage."""

    def __init__(self, rule: Rule, folder: Path, storage: BaseStorage):
        self.rule, self.folder, self.space, self.storage = rule, folder, rule.space(), storage
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would tell of each trial what we tell
        base = rule.base()
        self.seed = base.seed + FIRST_TRIAL_SEED
        """What all trials train by."""
        sampler = Stateless(base.seed, self.space, own_values(self.space, base))
        self._study = optuna.create_study(
            storage=storage, study_name=rule.study, sampler=sampler, direction="maximize", load_if_exists=True
        )

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All of them, in the order of their numbers."""
        return self._study.get_trials(deepcopy=False)

    def next(self, wanted: int, stop: StopRequest) -> tuple[Trial, ExitStack] | None:
        """A trial to try, and what holds it for this process; None once `wanted` trials and more have been told.

        Waits while others are at the last ones. Raises Interrupted if asked to stop.
        """
        while True:
            stop.raise_if_asked()
            with ExitStack() as hold:
                with held(self.folder / LOCK, stop.raise_if_asked):
                    trials = self.trials
                    running = [trial for trial in trials if not trial.state.is_finished()]
                    found = self._left_over(running, hold)
                    if found is None and len(trials) < wanted:
                        found = self._study.ask()
                        hold.enter_context(folder_lock(self.place(found.number)))
                if found is not None:
                    return found, hold.pop_all()
            if not running:
                return None
            time.sleep(POLL_SECONDS)

    def _left_over(self, running: Sequence[FrozenTrial], hold: ExitStack) -> Trial | None:
        for trial in running:
            try:
                hold.enter_context(folder_lock(self.place(trial.number)))
            except RunError:
                continue  # somebody is at it
            return Trial(self._study, trial._trial_id)
        return None

    def place(self, number: int) -> Path:
        """The folder of a trial."""
        return self.folder / "trials" / f"{number:04d}"

    def cell(self, trial: Trial) -> Cell:
        """What is trained for a trial; asks where it looks, if it is new."""
        recipe = self.rule.trial_recipe(self.setting(trial))
        return Cell(
            name=f"trial {trial.number}",
            variant="trial",
            seed=recipe.seed,
            path=self.place(trial.number) / str(recipe.seed),
            recipe=recipe,
            part="val",
            trial=True,
        )

    def setting(self, trial: Trial) -> dict[str, Any]:
        """Dotted keys with what the trial's recipe holds for them."""
        return point(self.space, {one.key: trial._suggest(one.key, one.distribution()) for one in self.space})

    def report(self, trial: Trial, evaluation: int, score: float) -> bool:
        """Store a score on the way, once; whether the trial is to stop there."""
        frozen = self.storage.get_trial(trial._trial_id)
        own = {**frozen.intermediate_values, evaluation: score}
        if evaluation not in frozen.intermediate_values:
            trial.report(score, evaluation)
        others = [
            Other(other.intermediate_values, other.state == TrialState.COMPLETE)
            for other in self.trials
            if other.number != trial.number
        ]
        return RULES[self.rule.prune](evaluation, own, others)

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Store how a trial ended. One that diverged is as bad as can be, which Optuna calls pruned."""
        trial.set_user_attr(STATE, outcome.state)
        if outcome.message:
            trial.set_user_attr(MESSAGE, outcome.message)
        state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(outcome.state, TrialState.PRUNED)
        self._study.tell(trial, outcome.score, state)

    def told(self) -> list[dict[str, Any]]:
        """Every trial as plain values."""
        return [self._told(trial) for trial in self.trials]

    def _told(self, trial: FrozenTrial) -> dict[str, Any]:
        known = {one.key for one in self.space} <= trial.params.keys()
        on_the_way = trial.intermediate_values
        return {
            "number": trial.number,
            "state": trial.user_attrs.get(STATE, "running") if trial.state.is_finished() else "running",
            "score": trial.value if trial.state == TrialState.COMPLETE else None,
            "setting": point(self.space, trial.params) if known else None,
            "evaluations": [on_the_way[number] for number in sorted(on_the_way)],
            "message": trial.user_attrs.get(MESSAGE),
        }

    def importance(self) -> dict[str, float] | None:
        """Share of each field in what makes a trial one of the better ones; None for too few trials, or one field.

        Watanabe, Bansal, Hutter. PED-ANOVA. IJCAI 2023.
        """
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        if len(self.space) < 2 or len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
            return None
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found: Mapping[str, float] = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {key: float(share) for key, share in found.items()}
