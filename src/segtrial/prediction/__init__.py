"""A network, its task and any image in, an answer out; files and folders in, pictures and tables out.

sources.py     words of a command line, lists, stdin    ->  pictures, each with the name of its answer
rasters.py     a picture or array file                  ->  its pixels as training reads them, whole or by rows
tiles.py       rows of an image of any size             ->  blended scores, strip by strip
flips.py       one image                                ->  several views, and their scores brought back
writing.py     the answer, strip by strip               ->  PNG, GeoTIFF, probabilities, polygons
collisions.py  pictures and names of their answers      ->  nobody's file is overwritten
folder.py      all of these                             ->  a folder of answers, resumable, and its tables
on_ray.py      chunks of a folder's pictures            ->  the same, by the nodes of a Ray cluster
"""

from segtrial.prediction.asking import Asker, answer
from segtrial.prediction.folder import Model, PredictionReport, predict_files
from segtrial.prediction.saved import CONFIDENCE, OVERLAY, saved_words
from segtrial.prediction.tables import AREAS, COCO, TABLE
from segtrial.prediction.tiles import Tiling, tiling

__all__ = [
    "AREAS",
    "COCO",
    "CONFIDENCE",
    "OVERLAY",
    "TABLE",
    "Asker",
    "Model",
    "PredictionReport",
    "Tiling",
    "answer",
    "predict_files",
    "saved_words",
    "tiling",
]
