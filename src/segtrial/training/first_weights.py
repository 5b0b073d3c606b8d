"""Recipe -> the weights that a run starts from, and the words that say where they come from."""

from pathlib import Path

from torch import Tensor, nn

from segtrial import modelfile, pretrained
from segtrial.errors import RunError
from segtrial.recipe import Recipe
from segtrial.training.fine_tuning import empty_core, encoder_of, find_encoder
from segtrial.training.learner import Learner


def origin(recipe: Recipe) -> str:
    """Where the weights of a new run come from, in words."""
    rest = f"drawn from seed {recipe.seed}"
    if recipe.start:
        return f"Weights start from {recipe.start} where names and shapes agree; the rest is {rest}."
    if recipe.encoder.weights != "none":
        return f"Weights of the encoder start from {recipe.encoder.weights}; the rest is {rest}."
    frozen = " What is frozen stays as it is drawn." if recipe.encoder.freeze != "none" else ""
    ours = f"`--from MODEL` starts from a model of yours; {_imagenet(recipe)}."
    return f"Weights start from none: all are random, {rest}.{frozen} {ours}"


def _imagenet(recipe: Recipe) -> str:
    """What `encoder.weights=imagenet` needs."""
    encoder = find_encoder(empty_core(recipe.model))
    if encoder is None:
        return "`--set encoder.weights=imagenet` needs a network with an encoder, such as unet:encoder=resnet34"
    file = pretrained.hub_file(encoder)
    if file is None:
        return "there are no ImageNet weights for its encoder"
    where = f"from {file.url}; needs the internet, or that file"
    return f"`--set encoder.weights=imagenet` takes those of {file.path.stem} for the encoder ({where})"


def started_from(recipe: Recipe) -> modelfile.Loaded:
    """The model that a run starts from. Raises ModelFileError for anything but a model file or a finished run."""
    path = Path(recipe.start or "")
    return modelfile.load(path / "model.safetensors" if path.is_dir() else path)


def encoder_weights(recipe: Recipe, channels: int) -> pretrained.Weights | None:
    """What the encoder of a run starts from, if the recipe says so. Raises as `pretrained.read` does."""
    if recipe.encoder.weights == "none":
        return None
    encoder = encoder_of(recipe, empty_core(recipe.model, channels=channels))
    return pretrained.read(recipe.encoder.weights, encoder, channels)


def take_over(learner: Learner) -> str | None:
    """Copy the weights that the recipe starts from into a learner at step 0; says how many, None if there are none.

    Raises RunError if a file is not the one that the plan was made with.
    """
    if learner.plan.start:
        return _take_over_model(learner)
    if learner.plan.encoder_weights:
        return _take_over_encoder(learner)
    return None


def fitting_start(recipe: Recipe, classes: int, channels: int) -> modelfile.Loaded:
    """The model that a run starts from. Raises RunError if less than half of it fits the recipe's network."""
    given, core = started_from(recipe), empty_core(recipe.model, classes, channels)
    found, taken = given.network.core.state_dict(), _shared(given, core)
    if len(taken) < len(found) / 2:  # a bias or two always fit by chance
        name = given.header.architecture
        found_words = f"a {name}, of whose {len(found)} tensors {len(taken)} fit {recipe.model}"
        raise RunError(recipe.start or "", found_words, f"Train a {name}, with the options it was made with")
    return given


def _shared(given: modelfile.Loaded, core: nn.Module) -> dict[str, Tensor]:
    """The tensors of `given` that `core` has by name and shape."""
    wanted, found = core.state_dict(), given.network.core.state_dict()
    return {name: value for name, value in found.items() if name in wanted and wanted[name].shape == value.shape}


def _take_over_model(learner: Learner) -> str:
    """Another class list leaves the scoring layers as they were drawn; encoder and decoder are taken over."""
    given = started_from(learner.recipe)
    place = learner.recipe.start or "start"
    _require_same(given.digest, learner.plan.start, place)
    taken = _shared(given, learner.network.core)
    for network in (learner.network, learner.shadow):
        network.core.load_state_dict(taken, strict=False)
    return f"Took over {len(taken)} of {len(learner.network.core.state_dict())} tensors from {place}."


def _take_over_encoder(learner: Learner) -> str:
    given = encoder_weights(learner.recipe, learner.plan.in_channels)
    assert given is not None
    _require_same(given.digest, learner.plan.encoder_weights, learner.recipe.encoder.weights)
    for network in (learner.network, learner.shadow):
        encoder_of(learner.recipe, network.core).load_state_dict(given.tensors)
    return given.note


def _require_same(digest: str, planned: str | None, place: str) -> None:
    if digest != planned:
        raise RunError(place, "another file than when this run began", "Restore it, or train into a new --out")
