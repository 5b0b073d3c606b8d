"""A folder of images and masks -> a model, its scores, and answers for the images it was not trained on.

python examples/first_run.py [FOLDER] [OUT]
"""

import sys
from pathlib import Path

import segtrial as st


def main(data: str = "toytown", out: str = "runs/first", minutes: float = 2) -> None:
    """Train for some minutes; print the scores of the val part, the worst class, and where the report is."""
    run = st.train(data=data, out=out, minutes=minutes)
    for name, value in run.scores.items():
        print(f"{name:<24} {value:.3f}")
    worst = min(run.evaluation["per_class"], key=lambda row: 1 if row["iou"] is None else row["iou"])
    print(f"The hardest class is {worst['name']}, with an IoU of {worst['iou']:.3f}.")
    images = Path(data) / "val" / "images"
    if images.is_dir():
        report = run.predict([images], Path(out) / "answers")
        print(f"{len(report.done)} answers in {Path(out) / 'answers'}")
    print(f"Look at {run.report}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
