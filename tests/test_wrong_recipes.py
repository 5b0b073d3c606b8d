"""Wrong recipes: each is answered by the place, the value and the fix, in one or two plain sentences."""

import re

import pytest

from segtrial import api
from segtrial.errors import UserError
from segtrial.recipe import from_tree, read

PHASE = "share: 1, batch: 4, crop: 1, scale: [1, 1]"

WRONG = {  # what a file says -> what must stand in the message, in this order
    # keys that are none, at every level
    "epoch: 3": ["unknown key 'epoch'", "'epochs'"],
    "learning_rate: 0.01": ["unknown key 'learning_rate'", "'optimizer.lr'"],
    "batch_size: 8": ["unknown key 'batch_size'", "'phases[].batch'"],
    "weight_decay: 0.1": ["unknown key 'weight_decay'", "'optimizer.weight_decay'"],
    "xyzzy: 1": ["unknown key 'xyzzy'", "Known here: task, model"],
    "optimizer: {learning_rate: 0.1}": ["unknown key 'optimizer.learning_rate'", "'optimizer.lr'"],
    "optimizer: {decay: 0.1}": ["unknown key 'optimizer.decay'", "'optimizer.weight_decay'"],
    "schedule: {warm_up: 0.1}": ["unknown key 'schedule.warm_up'", "'schedule.warmup'"],
    "split: {val_group: [a]}": ["unknown key 'split.val_group'", "'split.val_groups'"],
    "augment: {flip: 0.5}": ["unknown key 'augment.flip'", "'augment.flip_horizontal'"],
    "augment: {zoom: 2}": ["unknown key 'augment.zoom'", "Known in augment: flip_horizontal"],
    "encoder: {weight: none}": ["unknown key 'encoder.weight'", "'encoder.weights'"],
    "loss: {gamma: 2}": ["unknown key 'loss.gamma'", "Known in loss: name, class_weights"],
    "phases: [{share: 1, batchh: 4}]": ["unknown key 'phases[0].batchh'", "'phases[0].batch'"],
    # something else where a part or a list belongs
    "optimizer: sgd": ["optimizer='sgd'", "optimizer.name=sgd", "name, lr"],
    "optimizer:": ["optimizer is empty", "name, lr", "leave the line out"],
    "augment: [0.5]": ["augment=[0.5]", "Write its fields below it: flip_horizontal"],
    "schedule: 3": ["schedule=3", "Write its fields below it: name, warmup"],
    "phases: {share: 1}": ["phases={'share': 1}", "Write a list"],
    "phases: [4]": ["phases[0]=4", "share, batch, crop, scale"],
    "phases: []": ["the shares of phases add up to 0", "Make them add up to 1"],
    "split: {val_groups: 0006R0}": ["split.val_groups='0006R0' is no list", "Write [0006R0]"],
    "model: {name: unet}": ["model={'name': 'unet'} is no text", "Write text"],
    # what is not given, and too much of it
    "phases: [{share: 1, crop: 1, scale: [1, 1]}]": ["phases[0].batch is not given", "share, batch, crop, scale"],
    "phases: [{share: 1, batch: 4, crop: 1, scale: [1]}]": ["phases[0].scale[1] is not given", "Give one more"],
    "phases: [{share: 1, batch: 4, crop: 1, scale: [1, 1, 2]}]": ["phases[0].scale=[1, 1, 2]", "Leave some out"],
    # values of another kind
    "seed: '3'": ["seed='3' is no whole number", "without quotes, such as 3"],
    "seed: 1.5": ["seed=1.5 is no whole number", "without a point"],
    "steps: 1e3": ["steps=1000.0 is no whole number", "Write 1000"],
    "steps: 010": ["steps='010' is no whole number", "such as 3"],
    "minutes: 1:30": ["minutes='1:30' is no number", "such as 0.5"],
    "ema: high": ["ema='high' is no number", "such as 0.5"],
    "epochs: .nan": ["epochs=nan is no finite number", "such as 0.5"],
    "optimizer: {lr: .inf}": ["optimizer.lr=inf is no finite number", "such as 0.5"],
    "deterministic: yes": ["deterministic='yes'", "Write true or false"],
    "sync_batchnorm: 1": ["sync_batchnorm=1", "Write true or false"],
    "data: 7": ["data=7 is no text", "in quotes"],
    "data: ~": ["data=null is no text", "leave the line out"],
    # values out of range, and off the list
    "seed: -1": ["seed=-1 is too small", "Give at least 0"],
    "ema: 1": ["ema=1 is too large", "Give less than 1"],
    "clip: 0": ["clip=0 is too small", "Give more than 0"],
    "workers: 65": ["workers=65 is too large", "Give at most 64"],
    "crop_pixels: 100": ["crop_pixels=100 is too small", "Give at least 1024"],
    "task: segmantation": ["task='segmantation' is no choice", "'segmentation'", "binary, multilabel"],
    "optimizer: {name: sdg}": ["optimizer.name='sdg' is no choice", "'sgd'", "adam, adamw"],
    "keep: true": ["keep=true is no choice", "ema, last, best"],
    "encoder: {freeze: 0}": ["encoder.freeze=0 is no choice", "a number of stages from 1"],
    "preset: quik": ["preset='quik' is no preset", "'quick'", "balanced, thorough"],
    # what contradicts
    "split: {fold: 1}": ["split: fold 1 of no folds", "Give split.folds too, 2 or more"],
    "split: {folds: 3, fold: 3}": ["split: fold 3 of 3 folds", "They count from 0 to 2"],
    "split: {gap: 5}": ["split: gap is given with split.method=layout", "split.method=time"],
    "epochs: 1\nminutes: 2": ["epochs and minutes are given together", "Keep one"],
    "ema: 0": ["keep=ema needs ema > 0", "Use keep=last"],
    f"phases: [{{{PHASE}}}, {{{PHASE}}}]": ["the shares of phases add up to 2", "Make them add up to 1"],
    "phases: [{share: 1, batch: 4, crop: 1, scale: [2, 1]}]": ["phases[0]", "[2.0, 1.0]", "Write [lowest, highest]"],
    "encoder: {thaw_epoch: 2}": ["encoder", "thaw_epoch is given and nothing is frozen", "Set encoder.freeze"],
    "start: a\nencoder: {weights: b}": ["start (--from) and encoder.weights", "Keep one"],
    "schedule: {marks: [0.8, 0.5]}": ["schedule.marks=[0.8, 0.5]", "Marks must rise"],
    "task: classification\naugment: {cutmix: 0.5}": ["augment.cutmix mixes masks", "classification", "Set it to 0"],
    # what only networks, losses and places know
    "model: unett": ["'unett'", "'unet'", "fcn"],
    "model: unet:encodr=resnet18": ["unet", "'encodr'", "'encoder'"],
    "model: unet:skips=maybe": ["unet", "skips", "'maybe'", "true, false"],
    "model: unet:skips": ["unet:skips", "no value", "option=value"],
    "model: unet:width=99999": ["unet", "width", "99999", "Choose"],
    "loss: {name: crossentropy}": ["'crossentropy'", "'cross_entropy'", "focal"],
    "loss: {name: 'focal:gama=2'}": ["focal", "'gama'", "'gamma'"],
    "loss: {name: dice, label_smoothing: 0.1}": [
        "loss.label_smoothing",
        "0.1 without cross_entropy",
        "add cross_entropy",
    ],
    "model: fcn:encoder=resnet18\nencoder: {freeze: 9}": [
        "encoder.freeze",
        "9",
        "has 5 stages",
        "Choose 1 to 5, or all",
    ],
    "device: gpu": ["'gpu'", "auto, cpu, cuda"],
    "data: nowhere/photos": ["nowhere/photos: there is no such", "toytown"],
    "data: toytown:scene=3": ["'scene'", "'scenes'"],
    "start: nowhere/model.safetensors": ["nowhere/model.safetensors"],
    # what is no recipe at all
    "": ["is empty", "model: unet"],
    "- 1": ["holds [1]", "model: unet"],
    "just words": ["holds 'just words'", "model: unet"],
    "seed: 1\nseed: 2": ["line 1: repeated key seed", "Correct that line"],
    "a: [1": ["not plain YAML", "line 1", "Correct that line"],
    "model: !!python/name:os.system x": ["not plain YAML", "python/name:os.system", "Correct that line"],
    "a: &a 1\nb: *a": ["alias *a", "Correct that line"],
}

JARGON = re.compile(
    r"input should|type=|pydantic|extra inputs|value error|field required|Traceback|NoneType|dict\b|<class"
)


def refusal(path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        api.check(from_tree(read(path), str(path)))
    return str(refused.value)


def test_there_are_more_than_forty():
    assert len(WRONG) > 40


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_recipe_is_answered_usefully(text, tmp_path):
    said = refusal(tmp_path / "mine.yaml", text)
    rest = said
    for words in WRONG[text]:
        assert words in rest, said
        rest = rest[rest.index(words) + len(words) :]
    assert not JARGON.search(said), said
    sentences = [one for one in re.split(r"(?<=[.?])\s+(?=[A-Z])", said) if not one.startswith("Did you mean")]
    assert len(sentences) <= 2, said
    assert len(said) < 700 + len(str(tmp_path)), said


def test_of_several_faults_the_unknown_key_is_said_first(tmp_path):
    """It explains the others: a misspelt key is also one that is not given."""
    said = refusal(tmp_path / "mine.yaml", "phases: [{share: 1, batchh: 4, crop: 1, scale: [1, 1]}]\nseed: x")
    assert "unknown key 'phases[0].batchh'" in said


@pytest.mark.parametrize(
    ("value", "found"),
    [({1, 2}, "seed={1, 2} is of type set"), (3j, "seed=3j is of type complex"), (b"3", "seed=b'3' is of type bytes")],
    ids=["set", "complex", "bytes"],
)
def test_what_no_file_can_hold_is_named_by_its_key(value, found):
    for tree, prefix in (({"seed": value}, ""), ({"phases": [{"seed": value}]}, "phases[0].")):
        with pytest.raises(UserError) as refused:
            from_tree(tree)
        assert f"recipe: {prefix}{found}. Write plain text" in str(refused.value)
