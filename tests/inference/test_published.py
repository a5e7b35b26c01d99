"""Models that SpeechBrain published load as they are, and say what SpeechBrain's classes say with the same weights."""

from __future__ import annotations

import copy
import functools
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import speechbrain.decoders as peers
import speechbrain.decoders.scorer as peer_scorers
import torch
from published_models import SIZES, YAMLS, Published, make_folder, noises, write_tokenizer
from speechbrain.dataio.encoder import CTCTextEncoder
from speechbrain.lobes.models.transformer.TransformerASR import EncoderWrapper
from speechbrain.nnet.containers import LengthsCapableSequential
from torch import Tensor, nn

from toolkit.errors import ConfigError, ModelError, TokenizerError, ToolkitError
from toolkit.inference.adapters import LabelTokenizer, ctc_search
from toolkit.inference.checkpoints import Pretrainer
from toolkit.inference.interfaces import EncoderASR, EncoderDecoderASR, TransducerASR
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.sources import Origin
from toolkit.inference.transcriber import Transcriber

pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask"),
    pytest.mark.filterwarnings("ignore:dropout option adds dropout"),
]
WHOLE = torch.ones(1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Published]:
    """A small model of a published layout, by the name of its YAML; each is made once."""
    made: dict[str, Published] = {}

    def folder(name: str) -> Published:
        if name not in made:
            made[name] = make_folder(tmp_path_factory.mktemp(name) / "model", name, SIZES[name])
        return made[name]

    return folder


@pytest.fixture
def spoilt(published: Callable[[str], Published], tmp_path: Path) -> Published:
    """The model of the tutorial, to spoil."""
    whole = published("crdnn_rnnlm")
    return Published(Path(shutil.copytree(whole.path, tmp_path / "model")), whole.modules, whole.overrides)


def load(folder: Published, kind: type[Transcriber] = Transcriber, **options: Any) -> Transcriber:
    return kind.from_hparams(folder.path, overrides=folder.overrides, device="cpu", **options)


def rnn_peer(modules: Mapping[str, Any], scorer: str) -> nn.Module:
    """SpeechBrain 1.1's searcher of a recurrent decoder with language model and coverage penalty."""
    lm = getattr(peer_scorers, scorer)(modules["lm_model"], modules["temperature_lm"])
    weights = {"rnnlm" if "RNN" in scorer else "transformerlm": modules["lm_weight"]}
    coverage = peer_scorers.CoverageScorer(modules["output_neurons"])
    builder = peer_scorers.ScorerBuilder(weights | {"coverage": modules["coverage_penalty"]}, [lm, coverage])
    names = "bos_index eos_index min_decode_ratio max_decode_ratio beam_size eos_threshold"
    names += " using_max_attn_shift max_attn_shift temperature"
    return peers.S2SRNNBeamSearcher(
        embedding=modules["emb"],
        decoder=modules["dec"],
        linear=modules["seq_lin"],
        scorer=builder,
        **{name: modules[name] for name in names.split()},
    ).eval()


def transformer_peer(modules: Mapping[str, Any]) -> nn.Module:
    """SpeechBrain 1.1's searcher of a Transformer with CTC and language model, as the old one scored with them."""
    lm = peer_scorers.TransformerLMScorer(modules["lm_model"], 1.15)
    ctc = peer_scorers.CTCScorer(modules["ctc_lin"], 0, modules["eos_index"])
    weights = {"transformerlm": modules["lm_weight"], "ctc": modules["ctc_weight_decode"]}
    return peers.S2STransformerBeamSearcher(
        modules=[modules["Transformer"], modules["seq_lin"]],
        scorer=peer_scorers.ScorerBuilder(weights, [lm, ctc]),
        **{name: modules[name] for name in ("bos_index", "eos_index", "min_decode_ratio", "max_decode_ratio")},
        beam_size=modules["test_beam_size"],
        temperature=1.15,
        using_eos_threshold=False,
        length_normalization=True,
    ).eval()


def encoded_by(modules: Mapping[str, Any], wav: Tensor) -> Tensor:
    """What SpeechBrain's modules make of a waveform."""
    normalizer = modules.get("normalize", modules.get("normalizer"))
    parts = [modules["compute_features"], normalizer]
    if "CNN" in modules:
        modules["Transformer"].causal = False  # as SpeechBrain 0.5 understood a Transformer that does not say it
        parts += [modules["CNN"], EncoderWrapper(modules["Transformer"])]
    else:
        parts.append(modules["enc"])
    parts += [modules["proj_enc"]] if "proj_enc" in modules else []
    return LengthsCapableSequential(*parts)(wav[None], WHOLE)


PEERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "crdnn_rnnlm": lambda modules: rnn_peer(modules, "RNNLMScorer"),
    "crdnn_transformerlm": lambda modules: rnn_peer(modules, "TransformerLMScorer"),
    "transformer_transformerlm": transformer_peer,
}


@pytest.mark.parametrize("name", PEERS)
def test_same_hypotheses_as_speechbrain(published: Callable[[str], Published], name: str) -> None:
    folder = published(name)
    ours, peer = load(folder, EncoderDecoderASR), PEERS[name](folder.modules)
    found = set()
    for wav in noises():
        with torch.no_grad():
            encoded = encoded_by(folder.modules, wav)
            theirs = list(map(int, peer(encoded, WHOLE)[0][0]))
        torch.testing.assert_close(ours.encode_batch(wav[None], WHOLE), encoded)
        if len(theirs) < encoded.shape[1] - 1:  # at the limit, SpeechBrain's hypotheses need not end
            texts, tokens = ours.transcribe_batch(wav[None], WHOLE)
            assert tokens == [theirs]
            assert texts == [ours.tokenizer.decode(theirs)]
            found.add(tuple(theirs))
    assert len(found) > 2


def test_transducer_of_streaming_model_is_searched_greedily_as_by_speechbrain(
    published: Callable[[str], Published],
) -> None:
    folder = published("conformer_streaming")
    modules = folder.modules
    network = [modules[name] for name in ("emb", "dec", "proj_dec")]
    peer = peers.TransducerBeamSearcher(network, modules["Tjoint"], [modules["transducer_lin"]], 0, 1, 1)
    ours, found = load(folder, TransducerASR), set()
    for wav in noises():
        with torch.no_grad():
            (theirs,), *_ = peer(encoded_by(modules, wav))
        assert ours.transcribe_batch(wav[None], WHOLE)[1] == [theirs]
        found.add(tuple(theirs))
    assert len(found) > 2


@pytest.mark.parametrize("name", [name for name in SIZES if name != "wav2vec2_commonvoice"])
def test_neighbours_change_nothing(published: Callable[[str], Published], name: str) -> None:
    transcriber, wavs = load(published(name)), noises()
    alone = [transcriber.transcribe([wav])[0].text for wav in wavs]
    assert [one.text for one in transcriber.transcribe(wavs, batch_seconds=100.0)] == alone
    assert len(set(alone)) > 2
    assert transcriber.transcribe([torch.zeros(0), torch.zeros(10)])[0].text == ""


@pytest.mark.parametrize("name", [name for name in SIZES if name != "wav2vec2_commonvoice"])
def test_equal_lengths_are_encoded_at_once(published: Callable[[str], Published], name: str) -> None:
    """And are what each is alone: so are most segments of long audio."""
    model, wavs = load(published(name)).model, noises(5)
    equal = torch.stack([wav[:12000] * scale for wav, scale in zip(wavs, (1.0, 0.1, 3.0, 0.01, 1.0), strict=True)])
    samples, sizes = torch.tensor([12000, 12000, 9000, 12000, 0]), []
    hook = model.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        together, frames = model.encode(equal, samples)
        assert sizes == [3, 1, 1]
        hook.remove()
        for row in range(4):
            alone, _ = model.encode(equal[row : row + 1, : samples[row]], samples[row : row + 1])
            torch.testing.assert_close(together[row, : frames[row]], alone[0])
    assert frames[4] == 0


def test_ctc_output_is_there_where_its_weights_are(published: Callable[[str], Published]) -> None:
    folder = published("transformer_transformerlm")
    model = load(folder).model
    with torch.no_grad():
        encoded, frames = model.encode(noises(1)[0][None], torch.tensor([12000]))
        expected = folder.modules["ctc_lin"](encoded).log_softmax(dim=-1)
    torch.testing.assert_close(model.ctc_log_probs(encoded), expected)
    assert frames.tolist() == [encoded.shape[1]]


def test_older_layout_with_the_transformer_beside_the_encoder(
    published: Callable[[str], Published], tmp_path: Path
) -> None:
    folder = published("transformer_transformerlm")
    older = Published(Path(shutil.copytree(folder.path, tmp_path / "model")), folder.modules, folder.overrides)
    yaml = (folder.path / "hyperparams.yaml").read_text()
    yaml = yaml.replace("    transformer_encoder: !ref <Tencoder>\n", "") + "transformer_beam_search: True\n"
    (older.path / "hyperparams.yaml").write_text(yaml)
    wavs = noises(3)
    assert load(older).transcribe(wavs) == load(folder).transcribe(wavs)


def test_wav2vec2_with_ctc_from_the_cache_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    repository = tmp_path / "hub/models--facebook--tiny"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)).save_pretrained(snapshot)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    overrides = SIZES["wav2vec2_commonvoice"] | {"wav2vec2_hub": "facebook/tiny"}
    folder = make_folder(tmp_path / "model", "wav2vec2_commonvoice", overrides)
    wav2vec2 = Wav2Vec2(str(snapshot), str(tmp_path), output_norm=True, freeze=True)
    torch.nn.init.normal_(wav2vec2.model.feature_projection.projection.weight)
    torch.save(wav2vec2.state_dict(), folder.path / "wav2vec2.ckpt")
    ours, modules, found = load(folder, EncoderASR), folder.modules, set()
    for wav in noises():
        with torch.no_grad():
            log_probs = modules["ctc_lin"](modules["enc"](wav2vec2.eval()(wav[None], WHOLE))).log_softmax(dim=-1)
        torch.testing.assert_close(ours.encode_batch(wav[None], WHOLE), log_probs, atol=1e-4, rtol=1e-4)
        theirs = peers.ctc_greedy_decode(log_probs, WHOLE, blank_id=0)
        assert ours.transcribe_batch(wav[None], WHOLE)[1] == theirs
        found.add(tuple(theirs[0]))
    assert len(found) > 2
    torch.testing.assert_close(ours(wav[None], WHOLE), ours.encode_batch(wav[None], WHOLE))


def test_names_of_weights_that_were_corrected_since(published: Callable[[str], Published], tmp_path: Path) -> None:
    folder = published("transformer_transformerlm")
    older = Published(Path(shutil.copytree(folder.path, tmp_path / "model")), folder.modules, folder.overrides)
    weights = torch.load(older.path / "asr.ckpt")
    misspelt = {name.replace(".multihead_attn", ".mutihead_attn"): value for name, value in weights.items()}
    assert misspelt.keys() != weights.keys()
    torch.save(misspelt, older.path / "asr.ckpt")
    assert load(older).transcribe(noises(2)) == load(folder).transcribe(noises(2))


def test_ctc_beam_search_of_a_yaml_keeps_its_options() -> None:
    letters = ["<blank>", *"ABCDEFGH", " "]
    options = {"beam_size": 20, "beam_prune_logp": -12.0, "token_prune_min_logp": -6.0, "topk": 2}
    search = ctc_search(
        {"decoding_function": peers.CTCBeamSearcher, "test_beam_search": options},
        SimpleNamespace(pieces=lambda: letters),
    )
    assert (search.beam_size, search.beam_prune_logp, search.token_min_logp, search.topk) == (20, -12.0, -6.0, 2)
    # three paths each: 0.24 + 0.12 + 0.09 for B, 0.18 + 0.03 + 0.03 for A; two blanks are 0.18
    log_probs = torch.tensor([[[0.3, 0.3, 0.4], [0.6, 0.1, 0.3]]]).log()
    found = search(SimpleNamespace(ctc_log_probs=lambda encoded: encoded), log_probs, torch.tensor([2]))
    assert [hypothesis.tokens for hypothesis in found[0]] == [[2], [1]]


def test_blank_other_than_0_is_refused() -> None:
    function = functools.partial(peers.ctc_greedy_decode, blank_id=5)
    with pytest.raises(ConfigError, match=r"blank must be token 0 .* got 5"):
        ctc_search({"decoding_function": function}, None)


def test_labels_of_a_ctc_text_encoder(tmp_path: Path) -> None:
    """The tokenizer of SpeechBrain's recipes with letters, as its own class saves it."""
    encoder = CTCTextEncoder()
    encoder.insert_blank(index=0)
    encoder.update_from_iterable([[*"ABCDEFGHIJKLMNOPQRSTUV "]])
    encoder.save(tmp_path / "labels.txt")
    loaded = CTCTextEncoder()
    Pretrainer({"tokenizer": loaded}, {"tokenizer": "labels.txt"}).load(Origin(tmp_path))
    tokenizer = LabelTokenizer(loaded, tmp_path / "labels.txt")
    assert len(tokenizer) == 24
    tokens = [encoder.lab2ind[letter] for letter in "CAB IS A JOB"]
    assert tokenizer.decode(tokens) == "CAB IS A JOB" == "".join(loaded.decode_ndim(tokens))
    assert tokenizer.pieces()[encoder.lab2ind[" "]] == "▁"
    (tmp_path / "labels.txt").write_text("'A' = 3")
    with pytest.raises(TokenizerError, match=r"labels\.txt: not the labels"):
        Pretrainer({"tokenizer": CTCTextEncoder()}, {"tokenizer": "labels.txt"}).load(Origin(tmp_path))


def test_kinds_are_told_apart(published: Callable[[str], Published]) -> None:
    with pytest.raises(ModelError, match="TransducerASR needs a model with joint"):
        load(published("crdnn_rnnlm"), TransducerASR)
    with pytest.raises(ModelError, match="EncoderASR is of models without decoder; load it as an EncoderDecoderASR"):
        load(published("transformer_transformerlm"), EncoderASR)
    assert load(published("conformer_streaming"), EncoderDecoderASR).model.joint is not None


def test_interface_of_ones_own(published: Callable[[str], Published], tmp_path: Path) -> None:
    """The task of SpeechBrain's tutorial, on the folder of its model."""

    class MySuperTask(Pretrained):
        HPARAMS_NEEDED = ("sample_rate",)
        MODULES_NEEDED = ("encoder", "lm_model")

        def encode_file(self, path: Path) -> Tensor:
            return self.mods.encoder(self.load_audio(path)[None], torch.ones(1))

    folder, wav = published("crdnn_rnnlm"), noises(1)[0]
    soundfile.write(tmp_path / "speech.wav", wav.numpy() / 10, folder.modules["sample_rate"])
    task = MySuperTask.from_hparams(folder.path, overrides=folder.overrides, device="cpu")
    heard = task.load_audio(tmp_path / "speech.wav")
    with torch.no_grad():
        torch.testing.assert_close(task.encode_file(tmp_path / "speech.wav"), encoded_by(folder.modules, heard))
    MySuperTask.MODULES_NEEDED = ("encoder", "my_searcher")
    with pytest.raises(ConfigError, match=r"needs the modules encoder, my_searcher; missing: my_searcher"):
        MySuperTask.from_hparams(folder.path, overrides=folder.overrides, device="cpu")


def test_code_for_speechbrain_finds_what_it_knows(published: Callable[[str], Published], tmp_path: Path) -> None:
    """Calls as in SpeechBrain's documentation, and in the notebook that its model was published with."""
    folder, wav = published("crdnn_rnnlm"), noises(1)[0]
    asr = EncoderDecoderASR.from_hparams(
        str(folder.path), "hyperparams.yaml", str(tmp_path), folder.overrides, run_opts={"device": "cpu"}
    )
    texts, tokens = asr.transcribe_batch(wavs=wav[None], rel_lens=WHOLE)
    encoded = encoded_by(folder.modules, wav)
    with torch.no_grad():
        torch.testing.assert_close(asr.mods.encoder(wav[None], WHOLE), encoded)
    assert asr.hparams.compute_features(wav[None]).shape[-1] == folder.modules["n_mels"]
    assert [asr.tokenizer.decode_ids(row) for row in tokens] == texts
    assert asr.tokenizer.decode_ids(asr.tokenizer.encode_as_ids("ba ce")) == "ba ce"
    assert "".join(asr.tokenizer.encode("ba ce", out_type=str)) == "▁ba▁ce"
    assert asr.tokenizer.vocab_size() == len(copy.deepcopy(asr.tokenizer)) == 24
    soundfile.write(tmp_path / "a.wav", wav.numpy() / 10, 16000)
    assert asr.load_audio(str(tmp_path / "a.wav"), savedir=str(tmp_path)).shape == wav.shape


def test_known_words_are_aligned(published: Callable[[str], Published]) -> None:
    transcript = load(published("transformer_transformerlm")).align(noises(1)[0], "ba ce")
    assert [word.text for word in transcript.words] == ["ba", "ce"]
    assert 0 <= transcript.words[0].start < transcript.words[1].start < 0.75


@pytest.mark.slow
def test_published_sizes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", "crdnn_rnnlm", {"beam_size": 4}, gain=1.0)
    assert 450e6 < (folder.path / "asr.ckpt").stat().st_size < 520e6  # 480 MB where it was published
    assert 200e6 < (folder.path / "lm.ckpt").stat().st_size < 225e6  # 212 MB
    (transcript,) = load(folder).transcribe(noises(1))
    assert transcript.duration == 0.75


# What is missing or does not fit


def test_missing_file_is_named_with_its_key(spoilt: Published) -> None:
    (spoilt.path / "lm.ckpt").unlink()
    with pytest.raises(ModelError, match=r"pretrainer, lm: .*lm\.ckpt: no such file"):
        load(spoilt)


def test_normalizer_that_was_left_out_is_loaded(spoilt: Published) -> None:
    assert "normalizer" not in (YAMLS / "crdnn_rnnlm.yaml").read_text()
    (spoilt.path / "normalizer.ckpt").unlink()
    with pytest.raises(ModelError, match=r"pretrainer, normalizer: .*normalizer\.ckpt"):
        load(spoilt)


def test_missing_weights_are_named(spoilt: Published) -> None:
    weights = torch.load(spoilt.path / "asr.ckpt")
    first = next(iter(weights))
    torch.save({name: value for name, value in weights.items() if name != first}, spoilt.path / "asr.ckpt")
    with pytest.raises(ModelError, match=rf"asr\.ckpt: has no '{re.escape(first)}', and 0 more"):
        load(spoilt)


def test_weights_of_another_size_are_refused(spoilt: Published) -> None:
    with pytest.raises(ModelError, match=r"asr\.ckpt: does not fit .*size mismatch"):
        EncoderDecoderASR.from_hparams(spoilt.path, overrides={**spoilt.overrides, "dec_neurons": 12})


def test_tokenizer_of_another_model_is_refused(spoilt: Published) -> None:
    write_tokenizer(spoilt.path / "tokenizer.ckpt", 30)
    with pytest.raises(ModelError, match=r"tokenizer\.ckpt: 30 tokens, but the model was trained with 24"):
        load(spoilt)
    (spoilt.path / "tokenizer.ckpt").write_bytes(b"no tokenizer")
    with pytest.raises(TokenizerError, match=r"tokenizer\.ckpt: not a SentencePiece model"):
        load(spoilt)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("speechbrain.decoders.S2SRNNBeamSearchLMM", "speechbrain.decoders.S2SRNNBeamSearchLM"),
        ("speechbrain.nnet.RNN.AttentionalDecoder", "speechbrain.nnet.RNN.AttentionalRNNDecoder"),
        ("speechbrain.lobes.TransformerASR", "speechbrain.lobes.models.transformer.TransformerASR.TransformerASR"),
    ],
)
def test_unknown_class_is_named_with_the_nearest(spoilt: Published, name: str, near: str) -> None:
    yaml = spoilt.path / "hyperparams.yaml"
    line = yaml.read_text().splitlines().index("decoder: !new:speechbrain.decoders.S2SRNNBeamSearchLM") + 1
    yaml.write_text(yaml.read_text().replace("speechbrain.decoders.S2SRNNBeamSearchLM", name))
    with pytest.raises(ConfigError, match=rf"line {line}: SpeechBrain has no {name} \(did you mean '{near}'"):
        load(spoilt)


def test_statistics_that_are_none_are_refused(spoilt: Published) -> None:
    torch.save([1, 2], spoilt.path / "normalizer.ckpt")
    with pytest.raises(ModelError, match=r"normalizer\.ckpt: expected the statistics"):
        load(spoilt)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"seq_lin": {"n_neurons": "many"}}, "hyperparams.yaml: TypeError"),
        ({"output_neurons": 10**14}, "hyperparams.yaml: RuntimeError"),
        ({"pretrainer": 3}, "cannot be loaded; AttributeError"),
        ({"pretrainer": {"paths": {"asr": 5}}}, "cannot be loaded; TypeError"),
        ({"modules": {"encoder": 1}}, "modules.encoder: expected a torch.nn.Module, got 1"),
        ({"sample_rate": "a"}, "hyperparams.yaml: TypeError"),
    ],
)
def test_wrong_value_is_an_error_of_the_model(spoilt: Published, overrides: dict[str, Any], said: str) -> None:
    merged = {**spoilt.overrides, **overrides}
    with pytest.raises(ToolkitError, match=re.escape(said)):
        Transcriber.from_hparams(spoilt.path, overrides=merged, device="cpu")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("asr", {1: torch.zeros(2)}),
        ("normalizer", {"count": 1, "glob_mean": [1.0], "glob_std": [1.0]}),
        ("normalizer", {"count": 1, "glob_mean": torch.zeros(7), "glob_std": torch.ones(7)}),
    ],
)
def test_files_of_wrong_values_are_refused(spoilt: Published, file: str, content: Any) -> None:
    torch.save(content, spoilt.path / f"{file}.ckpt")
    with pytest.raises(ModelError, match=rf"{file}\.ckpt: |cannot be loaded; RuntimeError: The size of tensor"):
        load(spoilt)


@pytest.mark.parametrize(
    "lines", ["'a' => 0\n'b' => 2\n", "'a' => 0\n7 => 1\n", "[1] => 0\n", "-" * 100_000 + "1 => 0\n"]
)
def test_labels_that_are_no_texts_are_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "labels.txt").write_text(lines + "================\n'starting_index' => 0\n")

    def load_labels() -> LabelTokenizer:
        encoder = CTCTextEncoder()
        Pretrainer({"tokenizer": encoder}, {"tokenizer": "labels.txt"}).load(Origin(tmp_path))
        return LabelTokenizer(encoder, tmp_path / "labels.txt")

    with pytest.raises((TokenizerError, ModelError), match=r"labels\.txt"):
        load_labels()


def test_pickle_is_not_unpickled(spoilt: Published) -> None:
    for name in ("asr", "lm", "normalizer", "tokenizer"):
        before = (spoilt.path / f"{name}.ckpt").read_bytes()
        (spoilt.path / f"{name}.ckpt").write_bytes(pickle.dumps({"count": Path("x")}, protocol=2))
        with pytest.raises((ModelError, TokenizerError), match=rf"{name}\.ckpt"):
            load(spoilt)
        (spoilt.path / f"{name}.ckpt").write_bytes(before)
