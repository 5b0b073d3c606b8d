"""A recipe's word -> a task: what an answer means, from the target of the loss to the scores and the pictures.

    segmentation       one class for each pixel
    binary             foreground or background for each pixel, from one score
    multilabel         any number of classes for each pixel, each by a score of its own
    classification     one class for each image
    colorization       the a and b of a photo of which the network sees L, which is passed through
    colorization_rgb   red, green and blue of a photo of which the network sees the grey value
    colorization_bins  a and b as one of the classes of `colors.ab_bins`; L is passed through

Nothing else in the program asks which task it is: the loop, the evaluation, prediction and the model file ask the
task. Every sample has a plane `h w` beside its image: class indices; one index throughout for a classifier; 0
throughout for a photo; and IGNORE in each of them beyond the image's border and where nothing counts.
"""

from segtrial.classes import Classes
from segtrial.errors import UnknownName
from segtrial.tasks._task import Answer, Task
from segtrial.tasks.classification import Classification
from segtrial.tasks.colorization import Colorization, ColorizationBins, ColorizationRGB
from segtrial.tasks.multilabel import Multilabel
from segtrial.tasks.segmentation import Binary, Segmentation

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        *(Segmentation, Binary, Multilabel, Classification),
        *(Colorization, ColorizationRGB, ColorizationBins),
    )
}


def make(
    name: str,
    classes: Classes,
    mean_color: tuple[float, float] | None = None,
    temperature: float | int = 1.0,
) -> Task:
    """The task called `name`; `mean_color` (a, b) of the training photos is what colours are compared with.

    Probabilities are softmax(scores / `temperature`), or the sigmoid of it; answers do not depend on it.

    Raises UnknownName, and DataError if the class table does not suit the task.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name](classes, mean_color, temperature)


__all__ = ["TASKS", "Answer", "Task", "make"]
