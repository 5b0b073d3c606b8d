"""`import segtrial as st` -> the verbs of the command line in Python, loaded when first used.

    run = st.train(data="photos", out="runs/first", minutes=8)
    run.scores["miou_dataset"], run.predict(["new/"], "answers")

`st.models` lists and builds networks. Importing segtrial costs nothing: the first verb loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segtrial import models
    from segtrial.api import (
        Run,
        UserError,
        answer,
        calibrate,
        compare,
        evaluate,
        explain,
        explain_metric,
        export,
        find_lr,
        fit,
        load,
        open_dataset,
        predict,
        push,
        report,
        train,
        tune,
    )

__all__ = [
    "Run",
    "UserError",
    "answer",
    "calibrate",
    "compare",
    "evaluate",
    "explain",
    "explain_metric",
    "export",
    "find_lr",
    "fit",
    "load",
    "models",
    "open_dataset",
    "predict",
    "push",
    "report",
    "train",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"segtrial has no {name!r}; it has {', '.join(__all__)}")
    if name == "models":
        return import_module(f"{__name__}.models")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
