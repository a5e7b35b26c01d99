"""YAMLs of SpeechBrain 0.5 in today's names: what is built of them does what the old classes did."""

from __future__ import annotations

import pydoc
from pathlib import Path
from typing import Any

import pytest
import torch
from published_models import SIZES, YAMLS, make_folder, noises

from toolkit.cli.main import main
from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.translation import RULES, translate

pytestmark = [
    pytest.mark.filterwarnings("ignore:dropout option adds dropout"),
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask"),
]

SEARCHER = "toolkit.decoders.s2s.S2SRNNBeamSearcher"


def built(tmp_path: Path, yaml: str) -> tuple[Any, list[str]]:
    """What the key ``it`` of an old YAML builds, and what was changed of it."""
    (tmp_path / "old.yaml").write_text(yaml)
    document = HparamsDocument(tmp_path / "old.yaml")
    changes = [str(change) for change in translate(document)]
    document.check_safe()
    return document.build()["it"], changes


@pytest.mark.parametrize("name", [path.stem for path in YAMLS.glob("*.yaml")])
def test_published_yaml_is_translated_once(tmp_path: Path, name: str) -> None:
    document = HparamsDocument(YAMLS / f"{name}.yaml")
    assert translate(document)
    document.check_safe()
    (tmp_path / "new.yaml").write_text(document.text())
    again = HparamsDocument(tmp_path / "new.yaml")
    assert translate(again) == []
    assert again.text() == document.text()


@pytest.mark.parametrize("name", sorted({rule.name for rule in RULES.values() if isinstance(rule.name, str)}))
def test_every_rule_leads_to_a_class(name: str) -> None:
    """Those of SpeechBrain's integrations where the package is installed that they need."""
    for part, package in {"huggingface": "transformers", "numba": "numba"}.items():
        if f".{part}." in name:
            pytest.importorskip(package)
    assert isinstance(pydoc.locate(name), type)


def test_beam_search_has_scorers_with_their_weights(tmp_path: Path) -> None:
    yaml = (YAMLS / "transformer_transformerlm.yaml").read_text().replace("\ndecoder: ", "\nit: ")
    (tmp_path / "old.yaml").write_text(yaml.replace("<decoder>", "<it>"))
    document = HparamsDocument(tmp_path / "old.yaml")
    document.override({**SIZES["transformer_transformerlm"], "lm_weight": 0.25})
    translate(document)
    search = document.build()["it"].search
    assert search.scorers.weights == {"lm": 0.25, "ctc": 0.4}
    assert [scorer.name for scorer in search.scorers.full_scorers] == ["lm", "ctc"]  # 0.5 asked both of all tokens
    assert search.scorers.full_scorers[0].temperature == 1.15
    assert (search.bos_index, search.eos_index, search.beam_size) == (1, 2, 4)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "TransformerASR"),
        ("causal: True", "TransformerASR"),
        ("attention_type: RelPosMHAXL", "OldTransformerASR"),
        ("encoder_module: conformer", "OldTransformerASR"),
        ("encoder_module: conformer\n  causal: False", "TransformerASR"),
    ],
)
def test_causal_is_what_it_was(tmp_path: Path, options: str, name: str) -> None:
    """Left out, it never kept attention from the frames to come; the convolutions of a Conformer it did."""
    sizes = "tgt_vocab: 9, input_size: 8, d_model: 8, nhead: 2, num_encoder_layers: 1, num_decoder_layers: 0, d_ffn: 8"
    sizes += ", normalize_before: True"
    yaml = "it: !new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR\n  "
    model, changes = built(tmp_path, yaml + sizes.replace(", ", "\n  ") + f"\n  {options}\n")
    assert type(model).__name__ == name
    assert any("attention" in change for change in changes) == ("causal" not in options)
    frames = torch.randn(1, 20, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model.eval().encode(frames, torch.ones(1))
        frames[:, -1] += 1.0
        after = model.encode(frames, torch.ones(1))
    assert torch.equal(before[:, 0], after[:, 0]) == ("True" in options)
    if name == "OldTransformerASR" and "conformer" in options:
        assert model.encoder.layers[0].convolution_module.causal


def test_time_domain_augmentation_changes_speed_frequencies_and_chunks(tmp_path: Path) -> None:
    options = "speeds: [110]\n  sample_rate: 8000\n  drop_chunk_count_low: 2\n  drop_chunk_noise_factor: 0.5\n"
    yaml = f"it: !new:speechbrain.lobes.augment.TimeDomainSpecAugment\n  perturb_prob: 0.5\n  {options}"
    augment, changes = built(tmp_path, yaml)
    assert [type(one).__name__ for one in augment.augmentations.values()] == ["SpeedPerturb", "DropFreq", "DropChunk"]
    *_, chunk = augment.augmentations.values()
    assert (chunk.drop_count_low, chunk.drop_length_high, chunk.noise_factor) == (2, 2000, 0.5)
    wavs, _ = augment(torch.randn(2, 8800), torch.ones(2))
    assert wavs.shape == (2, 8000)
    assert any("perturb_prob is dropped" in change for change in changes)


def test_spec_augment_masks_frequencies_and_time(tmp_path: Path) -> None:
    yaml = "it: !new:speechbrain.lobes.augment.SpecAugment\n  time_warp: False\n  freq_mask_width: (3, 5)\n"
    augment, _ = built(tmp_path, f"{yaml}  n_time_mask: 1\n  time_mask_width: 40\n")
    frequencies, times = augment.augmentations.values()
    assert (frequencies.dim, frequencies.drop_length_low, frequencies.drop_length_high) == (2, 3, 5)
    assert (times.dim, times.drop_length_high, times.drop_count_low, times.drop_count_high) == (1, 40, 1, 1)
    spectrogram, _ = augment(torch.ones(1, 60, 30), torch.ones(1))
    assert (spectrogram[0] == 0).all(dim=0).any()  # a frequency that is gone throughout


def test_environment_is_reverberation_and_noise(tmp_path: Path) -> None:
    options = "reverb_csv: reverb.csv\n  noise_csv: noise.csv\n  noise_snr_low: 5\n  babble_speaker_count: 3\n"
    augment, changes = built(tmp_path, f"it: !new:speechbrain.lobes.augment.EnvCorrupt\n  {options}")
    reverb, noise = augment.augmentations.values()
    assert (reverb.csv_file, noise.csv_file, noise.snr_low) == ("reverb.csv", "noise.csv", 5)
    assert any("babble_speaker_count is dropped" in change for change in changes)


def test_drop_freq_has_its_new_arguments(tmp_path: Path) -> None:
    yaml = "it: !new:speechbrain.processing.speech_augmentation.DropFreq\n  drop_count_high: 7\n  drop_prob: 0.5\n"
    drop, changes = built(tmp_path, f"{yaml}  drop_width: 0.1\n")
    assert (drop.drop_freq_count_high, drop.drop_freq_width) == (7, 0.1)
    assert "line 1, it: drop_count_high is now drop_freq_count_high" in changes


def test_aliased_augmentation_is_translated_once_for_both(tmp_path: Path) -> None:
    old = "x: &x !new:speechbrain.lobes.augment.TimeDomainSpecAugment {sample_rate: 8000}\nit: *x\n"
    augment, changes = built(tmp_path, old)
    assert [type(one).__name__ for one in augment.augmentations.values()] == ["SpeedPerturb", "DropFreq", "DropChunk"]
    assert len([change for change in changes if "TimeDomainSpecAugment ->" in change]) == 1
    assert changes[0].startswith("line 1, x: ")


def test_alias_of_a_class_without_arguments_becomes_what_it_became(tmp_path: Path) -> None:
    augment, _ = built(tmp_path, "x: &x !new:speechbrain.lobes.augment.SpecAugment\nit: [*x]\n")
    assert type(augment[0]).__name__ == "Augmenter"


def test_what_exists_by_its_name_is_not_renamed(tmp_path: Path) -> None:
    names = ["speechbrain.decoders.scorer.KenLMScorer", "speechbrain.decoders.seq2seq.S2SBaseSearcher"]
    (tmp_path / "old.yaml").write_text("".join(f"a{place}: !name:{name}\n" for place, name in enumerate(names)))
    assert translate(HparamsDocument(tmp_path / "old.yaml")) == []


def test_merged_arguments_are_translated(tmp_path: Path) -> None:
    yaml = "options: &o\n  drop_count_high: 7\n  drop_prob: 0.5\n  drop_width: 0.2\n"
    yaml += "it: !new:speechbrain.processing.speech_augmentation.DropFreq\n  <<: *o\n  drop_width: 0.1\n"
    drop, changes = built(tmp_path, yaml)
    assert (drop.drop_freq_count_high, drop.drop_freq_width) == (7, 0.1)
    assert any("drop_count_high is now drop_freq_count_high" in change for change in changes)


def test_two_searchers_of_one_list_of_modules_keep_it(tmp_path: Path) -> None:
    yaml = "lin: !new:torch.nn.Linear [4, 5]\nmodel: !new:torch.nn.Linear [4, 4]\n"
    yaml += "one: !new:speechbrain.decoders.S2STransformerGreedySearch\n  modules: &m [!ref <model>, !ref <lin>, 3]\n"
    yaml += "other: !new:speechbrain.decoders.S2STransformerGreedySearch\n  modules: *m\n"
    (tmp_path / "old.yaml").write_text(yaml)
    document = HparamsDocument(tmp_path / "old.yaml")
    translate(document)
    assert [len(document.data[key]["modules"]) for key in ("one", "other")] == [2, 2]


@pytest.mark.parametrize(
    "node",
    [
        "!new:speechbrain.lobes.augment.SpecAugment [False]",
        "!new:speechbrain.decoders.S2SRNNBeamSearchLM [1, 2, 3, 4]",
        "!new:speechbrain.processing.speech_augmentation.DropFreq [0.1]",
    ],
)
def test_arguments_without_names_are_not_lost(tmp_path: Path, node: str) -> None:
    with pytest.raises(ConfigError, match=r"old\.yaml, line 2: the arguments of speechbrain\..* give them by name"):
        built(tmp_path, f"a: 1\nit: {node}\n")


# asr convert-hparams


def test_converted_yaml_is_the_same_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "model", "crdnn_rnnlm", SIZES["crdnn_rnnlm"])
    old = folder.path / "hyperparams.yaml"
    assert main(["convert-hparams", str(old)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{old}, line 127, decoder: speechbrain.decoders.S2SRNNBeamSearchLM -> {SEARCHER}"
    assert last == f"{folder.path / 'hyperparams.converted.yaml'}: {len(lines)} changes"
    options = {"overrides": folder.overrides, "device": "cpu"}
    before = Transcriber.from_hparams(folder.path, **options).transcribe(noises(3))
    assert (
        Transcriber.from_hparams(folder.path, "hyperparams.converted.yaml", **options).transcribe(noises(3)) == before
    )
    assert old.read_text() == (YAMLS / "crdnn_rnnlm.yaml").read_text()


def test_unknown_class_stops_the_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.yaml").write_text("a: 1\nb: !new:speechbrain.decoders.S2SRNNBeamSearchML\n")
    assert main(["convert-hparams", str(tmp_path / "old.yaml"), "--output", str(tmp_path / "new.yaml")]) == 2
    assert "line 2: SpeechBrain has no speechbrain.decoders.S2SRNNBeamSearchML (did" in capsys.readouterr().err
    assert not (tmp_path / "new.yaml").exists()


def test_old_file_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.yaml"
    old.write_text("a: 1\n")
    assert main(["convert-hparams", str(old), "--output", str(old)]) == 2
    assert "is the old file, which stays" in capsys.readouterr().err
    assert main(["convert-hparams", str(old)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'old.converted.yaml'}: no changes\n"
    with pytest.raises(ConfigError, match="cannot be read"):
        HparamsDocument(tmp_path / "missing.yaml")
