"""NeMo's tutorial of multimodal data loading, its imports changed: every number that it prints."""

from __future__ import annotations

import string
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.dataset import DynamicBucketingSampler
from lhotse.serialization import save_to_jsonl
from lhotse.testing.dummies import dummy_cut, dummy_recording
from omegaconf import DictConfig, OmegaConf

from toolkit.dataio.dataloader import get_lhotse_dataloader_from_config
from toolkit.dataio.multimodal_sampling import MultimodalFixedBucketBatchSizeConstraint2D
from toolkit.dataio.prompt_fn import apply_prompt_format_fn, registered_prompt_format_fn
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.prompts.llama import Llama2PromptFormatter
from toolkit.dataio.text_adapters import (
    AudioTurn,
    CustomFieldMixin,
    Formattable,
    NeMoMultimodalConversation,
    SourceTargetTextExample,
    TextExample,
    TextTurn,
)
from toolkit.sentencepiece_tokenizer import SentencePieceTokenizer, create_spt_model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "_tutorial_train_text.txt").write_text(" ".join(string.printable) + "\n")
    tok_path, vocab_path = create_spt_model(
        data_file=folder / "_tutorial_train_text.txt",
        output_dir=folder / "_tutorial_spt",
        vocab_size=512,
        sample_size=-1,
        do_lower_case=False,
        bos=True,
        eos=True,
        pad=True,
        user_defined_symbols=["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[audio]"],
    )
    assert Path(vocab_path).read_text().splitlines()[:4] == ["<unk>", "<s>", "</s>", "<pad>"]
    return SentencePieceTokenizer(tok_path)


@pytest.fixture(scope="module")
def prompt(tokenizer: SentencePieceTokenizer) -> PromptFormatter:
    return PromptFormatter.resolve("llama2")(tokenizer)


@pytest.fixture
def cut() -> MonoCut:
    segment = SupervisionSegment("utt-0", "rec-0", 0.0, 10.0, text="Welcome to Lhotse!")
    sources = [AudioSource(type="file", channels=[0], source="/path/to/recording.wav")]
    recording = Recording("rec-0", sources, sampling_rate=16000, duration=10.0, num_samples=160000)
    return MonoCut("utt-0", 0.0, 10.0, 0, supervisions=[segment], recording=recording)


@pytest.fixture
def text_pair() -> SourceTargetTextExample:
    return SourceTargetTextExample(
        source=TextExample(text="Some machine translation example.", language="en"),
        target=TextExample(text="Algunos ejemplos de traducción automática.", language="es"),
    )


@pytest.fixture
def multimodal_conversation() -> NeMoMultimodalConversation:
    return NeMoMultimodalConversation(
        id="convo-multimodal-0",
        turns=[
            TextTurn(value="Is this a text-only conversation?", role="user"),
            TextTurn(value="No, feel free to speak to me.", role="assistant"),
            AudioTurn(cut=dummy_cut(0, duration=5.87, with_data=True), role="user", audio_locator_tag="[audio]"),
            TextTurn(value="Should I respond in voice too?", role="assistant"),
            TextTurn(value="Yes", role="user"),
            TextTurn(value="Certainly!", role="assistant"),
            AudioTurn(cut=dummy_cut(0, duration=14.62, with_data=True), role="assistant", audio_locator_tag="[audio]"),
        ],
        token_equivalent_duration=0.08,
    )


def test_cell_2_a_text_prints_as_it_does_there() -> None:
    text = TextExample("This is a single sentence, which may be used in language modeling.", language="en")
    assert str(text) == (
        "TextExample(text='This is a single sentence, which may be used in language modeling.', language='en', "
        "tokens=None, custom=None)"
    )


def test_cell_8_cut(cut: MonoCut, prompt: PromptFormatter, tokenizer: SentencePieceTokenizer) -> None:
    cut.context = "Repeat after me:"
    formatted = apply_prompt_format_fn(cut, prompt)
    assert tokenizer.ids_to_text(formatted["input_ids"]) == "[INST] Repeat after me: [/INST] Welcome to Lhotse!"
    assert tokenizer.ids_to_text(formatted["context_ids"]) == "[INST] Repeat after me: [/INST]"
    assert tokenizer.ids_to_text(formatted["answer_ids"]) == "Welcome to Lhotse!"
    assert torch.equal(formatted["mask"], torch.tensor([False] * 22 + [True] * 20))


def test_cell_8_pair(
    text_pair: SourceTargetTextExample, prompt: PromptFormatter, tokenizer: SentencePieceTokenizer
) -> None:
    formatted = apply_prompt_format_fn(text_pair, prompt)
    asked = "[INST] Some machine translation example. [/INST]"
    answered = "Algunos ejemplos de traducci ⁇ n autom ⁇ tica."
    assert tokenizer.ids_to_text(formatted["input_ids"]) == f"{asked} {answered}"
    assert tokenizer.ids_to_text(formatted["context_ids"]) == asked
    assert tokenizer.ids_to_text(formatted["answer_ids"]) == answered
    assert torch.equal(formatted["mask"], torch.tensor([False] * 39 + [True] * 44))


def test_cell_8_conversation(
    multimodal_conversation: NeMoMultimodalConversation, prompt: PromptFormatter, tokenizer: SentencePieceTokenizer
) -> None:
    formatted = apply_prompt_format_fn(multimodal_conversation, prompt)
    learned = formatted["input_ids"][formatted["mask"]]
    assert tokenizer.ids_to_text(learned) == (
        "No, feel free to speak to me. Should I respond in voice too? Certainly! [audio]"
    )
    assert int((learned == tokenizer.eos_id).sum()) == 3
    assert tokenizer.ids_to_text(formatted["answer_ids"]) == "Certainly! [audio]"


@dataclass
class TextTriplet(Formattable, CustomFieldMixin):
    text1: str
    text2: str
    text3: str


@registered_prompt_format_fn(TextTriplet)
def text_triplets_generic(example: TextTriplet, prompt: PromptFormatter):
    return prompt.encode_dialog(
        turns=[
            {"role": "user", "slots": {"message": f"{example.text1} {example.text2}"}},
            {"role": "assistant", "slots": {"message": f"{example.text3}"}},
        ]
    )


@registered_prompt_format_fn(TextTriplet, Llama2PromptFormatter)
def text_triplets_llama2(example: TextTriplet, prompt: Llama2PromptFormatter):
    return prompt.encode_dialog(
        turns=[
            {"role": "system_and_user", "slots": {"system": example.text1, "message": example.text2}},
            {"role": "assistant", "slots": {"message": example.text3}},
        ]
    )


def test_cell_9_a_data_type_of_ones_own(prompt: PromptFormatter, tokenizer: SentencePieceTokenizer) -> None:
    formatted = apply_prompt_format_fn(TextTriplet("A", "B", "C"), prompt)
    assert formatted["input_ids"].tolist() == [1, 9, 4, 9, 6, 9, 42, 9, 7, 9, 43, 9, 5, 9, 44, 2]
    assert formatted["context_ids"].tolist() == [1, 9, 4, 9, 6, 9, 42, 9, 7, 9, 43, 9, 5]
    assert formatted["answer_ids"].tolist() == [9, 44, 2]
    assert formatted["mask"].tolist() == [False] * 13 + [True] * 3
    # Another format takes the general function; and the type measures itself, though it has no field for its ids.
    plain = PromptFormatter.resolve("plain")(tokenizer)
    triplet = TextTriplet("A", "B", "C").apply_prompt_format(plain)
    assert tokenizer.ids_to_text(triplet.input_ids) == "A B C"
    assert (triplet.input_length, triplet.output_length, triplet.total_length) == (5, 3, 8)


def test_cell_10_lengths(
    text_pair: SourceTargetTextExample, multimodal_conversation: NeMoMultimodalConversation, prompt: PromptFormatter
) -> None:
    pair = text_pair.apply_prompt_format(prompt)
    assert (pair.input_length, pair.output_length, pair.total_length) == (39, 44, 83)
    assert (len(pair.context_ids), len(pair.answer_ids), len(pair.input_ids)) == (39, 44, 83)
    chat = multimodal_conversation.apply_prompt_format(prompt)
    assert (chat.input_length, chat.output_length, chat.total_length) == (191, 196, 387)
    assert (len(chat.context_ids), len(chat.answer_ids), len(chat.input_ids)) == (118, 14, 132)


def test_cell_11_bucketing(multimodal_conversation: NeMoMultimodalConversation, prompt: PromptFormatter) -> None:
    cuts = CutSet([multimodal_conversation.apply_prompt_format(prompt)]).repeat()
    sampler = DynamicBucketingSampler(
        cuts,
        constraint=MultimodalFixedBucketBatchSizeConstraint2D(
            max_seq_len_buckets=[32, 64, 128, 256, 512, 1024, 1536, 2048],
            batch_sizes=[8, 7, 6, 5, 4, 3, 2, 1],
            token_equivalent_duration=0.08,
            measure_total_length=True,
        ),
        buffer_size=10,
    )
    assert len(next(iter(sampler))) == 4


ASKED = [1, 9, 4, 9, 59, 78, 89, 78, 74, 93, 9, 74, 79, 93, 78, 91, 9, 86, 78, 9, 5]
ANSWERED = [9, 64, 78, 85, 76, 88, 86, 78, 9, 93, 88, 9, 53, 81, 88, 93, 92, 78, 10, 2]


class Identity(torch.utils.data.Dataset):
    def __getitem__(self, examples: CutSet) -> CutSet:
        return examples


def test_cells_12_to_14_joint_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: SentencePieceTokenizer
) -> None:
    monkeypatch.chdir(tmp_path)
    d = Path("_tutorial_data")
    write_tutorial_data(d)
    dloader = get_lhotse_dataloader_from_config(
        tutorial_config(d), global_rank=0, world_size=1, dataset=Identity(), tokenizer=tokenizer
    )
    batches = list(islice(dloader, 5))
    assert all(isinstance(batch, CutSet) for batch in batches)
    # By the buckets of the configuration: 17.11 s, 9 and 3 tokens, and between 256 and 512 tokens.
    assert [len(batch) for batch in batches] == [2, 4, 2, 2, 4]
    kinds = [{type(example) for example in batch} for batch in batches]
    speech, texts, chats = {MonoCut}, {SourceTargetTextExample}, {NeMoMultimodalConversation}
    assert kinds == [speech, texts, chats, speech, texts]
    cut = next(iter(batches[0]))
    assert (cut.duration, cut.context, cut.supervisions[0].text) == (17.11, "Repeat after me", "Welcome to Lhotse!")
    assert cut.shard_origin == Path("_tutorial_data/asr_shar/cuts.000000.jsonl.gz")
    assert (cut.recording.id, cut.recording.num_samples) == ("rec", 273760)
    assert cut.load_audio().shape == (1, 273760)
    assert cut.input_ids.tolist() == ASKED + ANSWERED
    assert cut.context_ids.tolist() == ASKED
    pair, chat = next(iter(batches[1])), next(iter(batches[2]))
    assert tokenizer.ids_to_text(pair.input_ids) == "[INST] A [/INST] B"
    assert 256 < chat.total_length <= 512
    assert tokenizer.ids_to_text(chat.answer_ids) == "somebody just welcomed me to a himalayan mountain"
    with pytest.raises(TypeError, match="endless"):
        len(dloader)


def write_tutorial_data(d: Path) -> None:
    (d / "asr_shar").mkdir(parents=True)
    cut = dummy_recording(0, duration=17.11, with_data=True).to_cut()
    cut.supervisions = [SupervisionSegment(cut.id, cut.id, 0.0, cut.duration, text="Welcome to Lhotse!")]
    cut.context = "Repeat after me"
    CutSet([cut.save_audio(d / "rec.flac")]).to_shar(d / "asr_shar", fields={"recording": "flac"})
    (d / "src.txt").write_text("A")
    (d / "tgt.txt").write_text("B")
    turns = [
        {"from": "user", "value": "tell me what you hear", "type": "text"},
        {"from": "user", "value": str(d / "rec.flac"), "duration": cut.duration, "type": "audio"},
        {"from": "assistant", "value": "somebody just welcomed me to a himalayan mountain", "type": "text"},
    ]
    save_to_jsonl([{"id": "convo-1", "conversations": turns}], d / "conv.jsonl")


def tutorial_config(d: Path) -> DictConfig:
    """As there, key for key."""
    simplified = {"concurrent_bucketing": False, "bucket_buffer_size": 50, "shuffle_buffer_size": 50}
    common = {"use_bucketing": True, "bucket_batch_size": [4, 3, 2, 1], "prompt_format": "llama2", **simplified}
    pair = {"type": "txt_pair", "source_paths": d / "src.txt", "target_paths": d / "tgt.txt"}
    chat = {"type": "multimodal_conversation", "manifest_filepath": d / "conv.jsonl", "audio_locator_tag": "[audio]"}
    return OmegaConf.create(
        {
            "multi_config": True,
            "sampler_fusion": "round_robin",
            "shuffle": True,
            "num_workers": 0,
            "seed": 0,
            "shard_seed": "trng",
            "asr": {
                "input_cfg": [{"type": "lhotse_shar", "shar_path": d / "asr_shar"}],
                "min_duration": 0.5,
                "max_duration": 40,
                "bucket_duration_bins": [5, 10, 20, 40],
                **common,
            },
            "nmt": {
                "input_cfg": [pair],
                "use_multimodal_sampling": True,
                "min_tokens": 1,
                "max_tokens": 32,
                "measure_total_length": False,
                "bucket_duration_bins": [[16, 16], [16, 32], [32, 16], [32, 32]],
                **common,
            },
            "chat": {
                "input_cfg": [chat],
                "use_multimodal_sampling": True,
                "min_tokens": 1,
                "max_tokens": 1024,
                "measure_total_length": True,
                "token_equivalent_duration": 0.08,
                "bucket_duration_bins": [128, 256, 512, 1024],
                **common,
            },
        }
    )
