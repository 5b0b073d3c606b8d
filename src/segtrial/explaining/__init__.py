"""A network and an image in, why it answers so out, as arrays and numbers; `segtrial.reports` makes pages of them.

targets.py      class names, a region, the answer    ->  which class is asked about, and at which pixels
layers.py       a network and a layer's name         ->  the layer's maps
gradcam.py      a target                             ->  Seg-Grad-CAM: where the layer's maps speak for it
occlusion.py    a target                             ->  how far its score falls where a patch hides the image
bands.py        the image without one of its bands   ->  what changes
one_image.py    all of these, confidence and errors  ->  an Explanation
folder.py       images, or the worst of a part       ->  a folder of explanations
temperature.py  a part of some data                  ->  the temperature that makes confidence believable
"""

from segtrial.explaining.folder import Job, Report, explain_jobs, part_calibration, picture_jobs, worst_jobs
from segtrial.explaining.one_image import Explanation, Wish, explain_image
from segtrial.explaining.temperature import Calibration, calibrate, require_probabilities

__all__ = [
    "Calibration",
    "Explanation",
    "Job",
    "Report",
    "Wish",
    "calibrate",
    "explain_image",
    "explain_jobs",
    "part_calibration",
    "picture_jobs",
    "require_probabilities",
    "worst_jobs",
]
