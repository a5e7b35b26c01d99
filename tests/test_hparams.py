"""Hyperparameter files as documents: keys, references, overrides, and what a stranger's file may not do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import nn

from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument, differing, reference

YAML = """\
# A recogniser that is not one
seed: 1   # of everything
output_folder: results/ctc
sizes: {inner: 2, outer: 3}
width: 4
model: !new:torch.nn.Linear
  in_features: !ref <width>
  out_features: !ref <sizes[outer]>   # the second
  bias: false
test_search: !name:torch.nn.Flatten
  start_dim: !ref <width>
save_to: !ref <output_folder>/save
valid_data:
  manifest_filepath: !ref <save_to>/valid.json
  batch_duration: 10
  deeper: {one: 1, two: 2}
"""


@pytest.fixture
def document(tmp_path: Path) -> HparamsDocument:
    return written(tmp_path, YAML)


def written(folder: Path, text: str) -> HparamsDocument:
    path = folder / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return HparamsDocument(path)


# Reading


@pytest.mark.parametrize("text", ["", "- 1\n", "words\n", "1: 2\n"])
def test_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: expected `key: value` lines"):
        written(tmp_path, text)


@pytest.mark.parametrize("text", ["a: [1\n", "a: 'x\n", "a: 1\na: 2\n", "a: 1\n b: 2\n", "a: *b\n"])
def test_damaged_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: not valid YAML: .*line \d"):
        written(tmp_path, text)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            HparamsDocument(path)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        HparamsDocument(tmp_path / "binary.yaml")


# Keys


def test_keys_that_are_read_or_referred_to_pass(document: HparamsDocument) -> None:
    document.check_keys()


def test_key_that_nothing_reads_is_named_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    misspelt = written(tmp_path, YAML.replace("valid_data:", "valid_dat:"))
    with pytest.raises(ConfigError, match=r"train\.yaml, line 13: .*'valid_dat' \(did you mean 'valid_data'\?\)"):
        misspelt.check_keys()
    dead = written(tmp_path, YAML.replace("<sizes[outer]>", "<width>"))
    with pytest.raises(ConfigError, match=r"line 4: nothing reads the key 'sizes'"):
        dead.check_keys()


def test_hidden_keys_are_nobodys_business(tmp_path: Path) -> None:
    written(tmp_path, f"{YAML}__note: x\n").check_keys()


def test_reference_to_a_missing_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`!ref <widht>` refers to no key \(did you mean 'width'\?\)"):
        written(tmp_path, YAML.replace("in_features: !ref <width>", "in_features: !ref <widht>")).check_keys()


def test_references_inside_text_and_lists_and_nested_mappings_count(tmp_path: Path) -> None:
    text = "a: 1\nb: 2\nc: 3\nd: 4\nmodel: [{x: !ref <a> * <b>, y: [!copy <c>]}, !apply:len [!ref <d>]]\n"
    document = written(tmp_path, text)
    assert document.references("model") == {"a", "b", "c", "d"}
    document.check_keys()


# Overrides


def test_override_replaces_a_value(document: HparamsDocument) -> None:
    document.override({"seed": 7, "sizes": {"outer": 6}})
    assert document.data["seed"] == 7
    assert document.build()["model"].out_features == 6


def test_override_with_a_mapping_replaces_only_what_it_names(document: HparamsDocument) -> None:
    document.override({"valid_data": {"batch_duration": 20, "deeper": {"two": 3}}, "model": {"bias": True}})
    built = document.build()
    assert built["valid_data"] == {
        "manifest_filepath": "results/ctc/save/valid.json",
        "batch_duration": 20,
        "deeper": {"one": 1, "two": 3},
    }
    assert isinstance(built["model"], nn.Linear)
    assert built["model"].bias is not None


def test_override_gives_arguments_to_a_class_that_had_none(tmp_path: Path) -> None:
    document = written(tmp_path, "search: !new:torch.nn.Flatten\n")
    document.override({"search": {"start_dim": 2}})
    assert document.build()["search"].start_dim == 2


def test_override_of_an_unknown_key_names_the_nearest(document: HparamsDocument) -> None:
    with pytest.raises(ConfigError, match=r"no key 'widht' to override \(did you mean 'width'\?\)"):
        document.override({"widht": 1})


def test_override_with_a_reference_keeps_the_reference(document: HparamsDocument) -> None:
    document.override({"width": 9})
    document.data["seed"] = reference("<width>")
    assert "seed: !ref <width>" in document.text()
    assert document.build()["seed"] == 9


# Parts of a document


def test_needed_by_follows_references(document: HparamsDocument) -> None:
    assert document.needed_by(["model"]) == {"model", "width", "sizes"}
    assert document.needed_by(["valid_data"]) == {"valid_data", "save_to", "output_folder"}
    assert document.needed_by(["seed", "not there"]) == {"seed"}


def test_needed_by_ends_where_references_run_in_a_circle(tmp_path: Path) -> None:
    assert written(tmp_path, "a: !ref <b>\nb: !ref <a>\nc: 1\n").needed_by(["a"]) == {"a", "b"}


def test_keep_drops_all_else(document: HparamsDocument) -> None:
    document.keep(document.needed_by(["model"]))
    assert list(document.data) == ["sizes", "width", "model"]
    assert list(document.build()) == ["sizes", "width", "model"]


def test_text_is_the_file_with_its_comments_tags_and_references(document: HparamsDocument) -> None:
    assert document.text() == YAML


def test_text_keeps_everything_around_an_override(document: HparamsDocument) -> None:
    document.override({"width": 8})
    assert document.text() == YAML.replace("width: 4", "width: 8")


def differences(folder: Path, before: str, now: str) -> list[str]:
    trees = [written(folder, text).data for text in (before, now)]
    return [text for key in trees[0] for text in differing(trees[0][key], trees[1].get(key), key)]


@pytest.mark.parametrize(
    ("right", "other", "difference"),
    [
        ("in_features: !ref <width>", "in_features: 5", "model.in_features was !ref <width>, now 5"),
        ("  bias: false\n", "", "model.bias was false, now nothing"),
        ("one: 1", "one: [1, 2]", "valid_data.deeper.one was 1, now [1, 2]"),
        (
            "!new:torch.nn.Linear",
            "!new:torch.nn.Bilinear",
            "model was !new:torch.nn.Linear .*, now !new:torch.nn.B",
        ),
    ],
)
def test_only_what_differs_is_shown(tmp_path: Path, right: str, other: str, difference: str) -> None:
    [found] = differences(tmp_path, YAML, YAML.replace(right, other))
    assert re.match(difference.replace("[", r"\["), found)


def test_comments_and_notation_are_no_difference(tmp_path: Path) -> None:
    other = YAML.replace("bias: false\n", "bias: false  # none\n\n# Search\n").replace("width: 4", "width: 0x4")
    assert differences(tmp_path, YAML, other) == []


# Building


def test_build_makes_the_objects(document: HparamsDocument) -> None:
    built = document.build()
    assert (built["model"].in_features, built["model"].out_features) == (4, 3)
    assert built["save_to"] == "results/ctc/save"
    assert built["test_search"]().start_dim == 4


@pytest.mark.parametrize(
    "value",
    [
        "!new:torch.nn.Liner {in_features: 1, out_features: 1}",
        "!new:torch.nn.Linear {in_feature: 1, out_features: 1}",
        "!new:torch.nn.functional.relu",
        "!new:no_such_package.Linear",
        "!ref <nowhere>",
        "!PLACEHOLDER",
        "!unknown 3",
    ],
)
def test_document_that_cannot_be_built_names_its_file(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: "):
        written(tmp_path, f"model: {value}\n").build()


# What a stranger's file may not do; attacks on a whole model folder are in tests/inference/test_transcriber.py


@pytest.mark.parametrize(
    "value",
    [
        "!new:torch.nn.Linear {in_features: 1, out_features: 1}",
        "!name:torch.nn.ReLU",
        "!new:lhotse.dataset.SpecAugment {p: 0.5}",
        "!new:toolkit.decoders.ctc.CTCGreedySearcher",
        "!apply:len [abc]",
        "(1, 2)",
        "!tuple (3, 4)",
        "!ref <other>",
        "!copy <other>",
        "!ref <layer.in_features>",
        "{text: 'Hello!', numbers: [1, 2.5, true, null], brackets: (see above)}",
    ],
)
def test_safe_tags_pass(tmp_path: Path, value: str) -> None:
    layer = "layer: !new:torch.nn.Linear {in_features: 1, out_features: 1}\n"
    document = written(tmp_path, f"other: [1, 2]\n{layer}model: {value}\n")
    document.check_safe()
    assert document.build()["model"] is not None


@pytest.mark.parametrize(
    "value",
    [
        "!apply:os.getcwd",
        "!new:subprocess.Popen [[ls]]",
        "!name:os.system",
        "!module:os",
        "!include:other.yaml",
        "!applyref:os.getcwd []",
        "!apply:torch.nn.init.zeros_ [1]",
        "!name:torch.nn.modules.module.torch.hub.load",
        "!new:toolkit.hparams.Path [x]",
        "!!python/name:os.system",
        "!!python/object/apply:os.getcwd []",
        "(!!python/object/apply:os.getcwd [])",
        "[1, {a: !apply:os.getcwd }]",
        "!ref <other.__class__>",
    ],
)
def test_unsafe_tags_are_refused_and_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"train\.yaml, line 2: the tag `.+` is not one that a model may use"):
        written(tmp_path, f"other: abc\nmodel: {value}\n").check_safe()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("toolkit.models.recogniser.CTCModle", "toolkit.models.recogniser.CTCModel"),
        ("toolkit.models.recognizer.CTCModel", "toolkit.models.recogniser"),
        ("torchaudio.transforms.MelSpec", "torchaudio.transforms.MelScale"),
        ("torch.nn.Lienar", "torch.nn.Linear"),
    ],
)
def test_class_that_does_not_exist_is_not_called_forbidden(tmp_path: Path, name: str, near: str) -> None:
    document = written(tmp_path, f"size: 4\nmodel:\n  part: !new:{name}\n")
    with pytest.raises(ConfigError, match=rf"line 3: there is no {name} \(did you mean '{near}'"):
        document.check_safe()


def test_comments_anywhere_leave_the_document_as_it_is(tmp_path):
    """ruamel.yaml moves a comment between a tag and its first entry to where it breaks the file."""
    path = tmp_path / "hparams.yaml"
    path.write_text(
        "size: 4  # of everything\n"
        "\n"
        "model: !new:torch.nn.Sequential   # two layers\n"
        "  # the first\n"
        "  - !new:torch.nn.Linear    # a line\n"
        "    # its sizes\n"
        "    in_features: !ref <size>\n"
        "    out_features: 3 # three\n"
        "  # the second\n"
        "  - !new:torch.nn.Linear\n"
        "    in_features: 3\n"
        "    out_features: 2\n"
    )
    document = HparamsDocument(path)
    layers = document.build()["model"]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(4, 3), (3, 2)]
    assert "# of everything" in document.text()
