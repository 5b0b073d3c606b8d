"""Names and options: what there is, what text means, and what is said of text that means nothing."""

import json
import re
from typing import Literal

import pytest
import torch

from segtrial import models
from segtrial.errors import RecipeError, UnknownName
from segtrial.models._options import Option, check, options_of


def sample_build(
    num_classes: int,
    in_channels: int = 3,
    *,
    width: int = 8,
    rate: float = 0.5,
    deep: bool = False,
    kind: Literal["a", "b"] = "a",
    stride: Literal[8, 16] = 8,
    top: int | None = None,
) -> None: ...


SAMPLE = options_of(sample_build)


def test_options_are_the_keyword_only_parameters():
    expected = {
        "width": Option(int, 8),
        "rate": Option(float, 0.5),
        "deep": Option(bool, False),
        "kind": Option(str, "a", ("a", "b")),
        "stride": Option(int, 8, (8, 16)),
        "top": Option(int, None, optional=True),
    }
    assert expected == SAMPLE


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("width", "12", 12),
        ("width", " 12 ", 12),
        ("rate", "1e-3", 0.001),
        ("rate", "1", 1),
        ("deep", "true", True),
        ("deep", "False", False),
        ("kind", "b", "b"),
        ("stride", "16", 16),
        ("top", "3", 3),
        ("top", "none", None),
    ],
)
def test_text_is_read_as_the_options_type(option, text, value):
    read = SAMPLE[option].read("here", text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("option", "text", "fix"),
    [
        ("width", "1.5", "Give a number of type int"),
        ("width", "true", "Give a number of type int"),
        ("rate", "nan", "Give a number of type float"),
        ("rate", "inf", "Give a number of type float"),
        ("deep", "yes", "Choose one of: true, false"),
        ("deep", "1", "Choose one of: true, false"),
        ("kind", "c", "Choose one of: a, b"),
        ("stride", "32", "Choose one of: 8, 16"),
        ("top", "x", "Give a number of type int, or none"),
        ("width", "none", "Give a number of type int"),
        ("width", "", "Give a number of type int"),
    ],
)
def test_wrong_text_is_answered_with_the_place_and_the_fix(option, text, fix):
    with pytest.raises(RecipeError, match=re.escape(f"here: {text!r}. {fix}")):
        SAMPLE[option].read("here", text)


@pytest.mark.parametrize(
    "values", [{"width": True}, {"width": 1.0}, {"deep": 1}, {"kind": "c"}, {"rate": "1"}], ids=str
)
def test_wrong_values_are_refused(values):
    name = next(iter(values))
    with pytest.raises(RecipeError, match=f"model x, option {name}: {values[name]!r}"):
        check("model x", values, SAMPLE)


def test_right_values_pass():
    check("model x", {"width": 3, "rate": 1, "deep": True, "kind": "b", "stride": 16, "top": None}, SAMPLE)


def test_every_file_without_underscore_is_a_name():
    assert {"fcn", "segnet", "unet"} <= set(models.names())
    assert not [name for name in models.names() if name.startswith("_")]
    assert models.names() == sorted(models.names())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("unet", ("unet", {})),
        ("unet:", ("unet", {})),
        ("unet:encoder=resnet34,skips=false", ("unet", {"encoder": "resnet34", "skips": False})),
        (" unet : skips = true ", ("unet", {"skips": True})),
        ("unet:encoder=none", ("unet", {"encoder": "none"})),
        ("segnet:batchnorm=false", ("segnet", {"batchnorm": False})),
    ],
)
def test_parse(spec, expected):
    assert models.parse(spec) == expected


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("unett", UnknownName, r"model 'unett': no model has this name\. Did you mean 'unet'\? There are: .*fcn.*unet"),
        ("", UnknownName, r"model '': no model has this name\. There are:"),
        ("_blocks", UnknownName, "no model has this name"),
        ("unet:encodr=none", UnknownName, r"option of model unet 'encodr'.*Did you mean 'encoder'\?"),
        ("unet:encoder=resnt34", RecipeError, r"option encoder: 'resnt34'\. Did you mean 'resnet34'\? .*resnet18"),
        ("unet:skips", RecipeError, r"option skips: no value\. Write name:option=value"),
        ("unet:skips=true,skips=false", RecipeError, "option skips: given twice"),
        ("unet:skips=maybe", RecipeError, r"option skips: 'maybe'\. Choose one of: true, false"),
    ],
)
def test_parse_explains_what_it_cannot_read(spec, error, message):
    with pytest.raises(error, match=message):
        models.parse(spec)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fcn", 0), r"model fcn: 0 outputs\. Choose 1 to 4096"),
        (("fcn", 4097), "4097 outputs"),
        (("fcn", 2, 0), "0 channels"),
    ],
)
def test_build_refuses_impossible_numbers(arguments, message):
    with pytest.raises(RecipeError, match=message):
        models.build(*arguments)


def test_build_refuses_wrong_options():
    with pytest.raises(UnknownName, match=r"option of model fcn 'skips'.*There are: .*encoder"):
        models.build("fcn", 2, skips=True)
    with pytest.raises(RecipeError, match="model fcn, option encoder: 'alexnet'"):
        models.build("fcn", 2, encoder="alexnet")
    with pytest.raises(UnknownName, match=r"model 'segnt'.*Did you mean 'segnet'"):
        models.build("segnt", 2)


@pytest.mark.parametrize("name", models.names())
def test_description_is_complete_and_plain(name):
    told = models.describe(name)
    assert told == json.loads(json.dumps(told))
    assert told["name"] == name
    assert "->" in told["caption"]
    assert "\n" not in told["caption"] + told["paper"]
    assert re.search(r"\d{4}\. https://", told["paper"]), "a year and an address"
    assert [option["name"] for option in told["options"]] == list(models.options(name))
    with torch.device("meta"):
        assert told["parameters"] == sum(p.numel() for p in models.build(name, 11).parameters())


def test_description_of_the_plain_net():
    told = models.describe("unet")
    assert told["parameters"] == 31_044_171  # 31,043,586 with 2 classes, and 9 x (64 + 1) more
    assert told["options"][0]["name"] == "encoder"
    assert told["options"][0]["default"] == told["options"][0]["chosen"] == "none"
    assert told["options"][0]["choices"][0] == "none"


def test_description_of_chosen_options():
    told = models.describe("unet:batchnorm=false", classes=2)
    assert told["parameters"] == 31_031_810
    assert {option["name"]: option["chosen"] for option in told["options"]}["batchnorm"] is False


def test_text_after_a_prefix_is_an_option():
    assert models.parse("unet:encoder=timm/resnet10t")[1] == {"encoder": "timm/resnet10t"}
    with pytest.raises(RecipeError, match="timm/NAME"):
        models.parse("unet:encoder=timm/")
    with pytest.raises(RecipeError, match=r"Did you mean .resnet"):
        models.parse("unet:encoder=resnet35")


@pytest.mark.parametrize("spec", ["upernet:width=0", "compact:width=-3", "unet:width=100000000", "upernet:width=5000"])
def test_a_number_out_of_all_proportion_is_refused(spec):
    name, options = models.parse(spec)
    with pytest.raises(RecipeError, match=f"model {name}, option width: .*Choose 1 to 4096"):
        models.build(name, 2, **options)
