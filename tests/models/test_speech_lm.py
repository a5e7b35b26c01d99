"""A speech language model reads audio where its mark stands, and answers alone as it answers in a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toolkit.decoders.attention import AttentionSearcher
from toolkit.models.features import LogMel
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.models.speech_language import PromptedDecoder, SpeechLM
from toolkit.models.state import select

V = 11
AUDIO = V
# Texts, audio with text around it, two recordings, audio at the end of a prompt: 0 begins and ends an answer.
CONVERSATIONS = [
    [3, 1, AUDIO, 0, 5, 2, 6, 0],
    [4, 4, 2, 0, 4, 4, 2, 0],
    [1, AUDIO, 7, AUDIO, 0, 9, 0],
    [AUDIO, 0, 3, 0],
]
SAMPLES = [8000, 3000, 5000, 1]


class Digits:
    """Numbers as tokens; that of the mark of audio is 11."""

    def __len__(self) -> int:
        return V

    def text_to_ids(self, text: str) -> list[int]:
        return [int(number) for number in text.split()]


@pytest.fixture
def model() -> SpeechLM:
    torch.manual_seed(0)
    encoder = CRDNN(20, cnn_channels=(4, 4), rnn_neurons=8, rnn_layers=1, dnn_blocks=0)
    decoder = PromptedDecoder(V, 16, layers=2, heads=2, hidden=32)
    options = {"tokenizer": Digits(), "prompt": "3 1 11"}
    model = SpeechLM(LogMel(n_mels=20), encoder, decoder=decoder, **options).eval()
    encoded, _ = super(SpeechLM, model).encode(torch.randn(1, 16000), torch.tensor([16000]))
    blanks = CTCModel.ctc_log_probs(model, encoded)[..., 0].exp()
    model.most_blank = blanks.median().item()  # half of the frames are blanks
    return model


@pytest.fixture
def wavs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(samples, generator=generator) for samples in SAMPLES]


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def batch(conversations: list[list[int]], wavs: list[Tensor]) -> tuple[Tensor, ...]:
    """The arguments of the model: ids, counts, which are learned, waveforms, samples."""
    ids, counts = padded([torch.tensor(ids) for ids in conversations])
    began = (ids == 0).cumsum(1) - (ids == 0).long() > 0
    learned = began & (torch.arange(ids.size(1)) < counts[:, None])
    return ids, counts, learned, *(padded(wavs) if wavs else (torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64)))


def test_the_frames_of_a_letter_become_one_and_blanks_none(model: SpeechLM):
    """Letter 3 in two frames, a blank, letter 3 again, letter 5 in three frames; and, in the padding, letter 7."""
    model.ctc_output = torch.nn.Identity()
    frames = 4 * torch.nn.functional.one_hot(torch.tensor([[3, 3, 0, 3, 5, 5, 5, 7], [0, 0, 0, 0, 0, 0, 0, 7]]), V)
    encoded = frames + 0.1 * torch.randn(frames.shape)
    model.most_blank = 0.5
    letters, counts = model.letters(encoded, torch.tensor([7, 7]))
    assert counts.tolist() == [3, 0]
    expected = torch.stack([encoded[0, :2].mean(0), encoded[0, 3], encoded[0, 4:7].mean(0)])
    torch.testing.assert_close(letters[0], expected)


def test_audio_is_spelled_in_the_embeddings_of_its_letters(model: SpeechLM, wavs: list[Tensor]):
    heard, counts = model.hear(*padded(wavs))
    letters, _ = model.letters(*super(SpeechLM, model).encode(*padded(wavs)))
    assert counts.max() > 0
    shares = model.ctc_output(letters)[..., 1:].softmax(-1)
    spelled = torch.einsum("atv,vd->atd", shares, model.decoder.embedding.weight[1:])
    torch.testing.assert_close(heard, spelled + model.projection(letters))


def test_audio_stands_in_place_of_its_mark(model: SpeechLM, wavs: list[Tensor]):
    ids, counts, _, *audio = batch(CONVERSATIONS, wavs)
    heard, frames = model.hear(*audio)
    values, lengths, places = model.embed(ids, counts, heard, frames)
    recordings = (recording[:count] for recording, count in zip(heard, frames.tolist(), strict=True))
    for row, conversation in enumerate(CONVERSATIONS):
        parts = [
            next(recordings) if token == AUDIO else model.decoder.embedding.weight[[token]] for token in conversation
        ]
        torch.testing.assert_close(values[row, : lengths[row]], torch.cat(parts))
        ends = torch.tensor([len(part) for part in parts]).cumsum(0) - 1
        assert places[row, : counts[row]].tolist() == ends.tolist()


def test_a_batch_of_different_lengths_equals_single_conversations(model: SpeechLM, wavs: list[Tensor]):
    together = model(*batch(CONVERSATIONS, wavs))
    remaining = list(wavs)
    for row, conversation in enumerate(CONVERSATIONS):
        own = [remaining.pop(0) for _ in range(conversation.count(AUDIO))]
        alone = model(*batch([conversation], own))
        torch.testing.assert_close(together[row, : alone.size(1)], alone[0], atol=1e-5, rtol=1e-4)


def test_an_answer_steps_as_it_was_trained(model: SpeechLM, wavs: list[Tensor]):
    """Also when hypotheses change places half-way, as they do in a beam."""
    prompts, answer = [[3, 1, AUDIO], [4, 4, 0, 7, 0, 1, 1, 9], [3, 1, AUDIO]], [0, 5, 2, 6, 8]
    ids, counts, learned, *audio = batch([prompt + answer for prompt in prompts], wavs[:2])
    learned[1, 5:9] = False  # it answers 7, is asked again, and answers
    expected = model(ids, counts, learned, *audio).log_softmax(-1)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    memory, lengths, _ = model.embed(ids, lengths, *model.hear(*audio))
    state, order = model.decoder.start(memory, lengths), torch.arange(3)
    for step, token in enumerate(answer[:-1]):
        log_probs, state = model.decoder.step(torch.full((3,), token), state)
        for row, source in enumerate(order.tolist()):
            torch.testing.assert_close(
                log_probs[row], expected[source, len(prompts[source]) + step], atol=1e-5, rtol=1e-4
            )
        if step == 1:
            order = torch.tensor([2, 0, 1])
            state = select(state, order, order)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_recording_is_transcribed_alone_as_in_a_batch(model: SpeechLM, wavs: list[Tensor], beam_size: int):
    search = AttentionSearcher(beam_size=beam_size)
    together = search(model, *model.encode(*padded(wavs)))
    for wav, expected in zip(wavs, together, strict=True):
        (found,) = search(model, *model.encode(*padded([wav])))
        assert found[0].tokens == expected[0].tokens
        assert found[0].score == pytest.approx(expected[0].score, abs=1e-4)


def test_nothing_is_written_where_nothing_is_said(model: SpeechLM, wavs: list[Tensor]):
    with torch.no_grad():
        model.ctc_output.bias[0] = 100.0  # all frames are blanks
    ids, counts, _, *audio = batch([[3, 1, AUDIO], [4, 4, 2]], wavs[:1])
    silence, text = AttentionSearcher()(model, *model.ask(ids, counts, *audio))
    assert silence[0].tokens == []
    assert text[0].tokens != []
    assert AttentionSearcher()(model, *model.encode(*audio))[0][0].tokens == []


def test_what_is_asked_may_be_blotted_out_in_training_but_not_the_answer(model: SpeechLM, wavs: list[Tensor]):
    model.decoder.eval()
    model.blindness = 1.0
    arguments = batch(CONVERSATIONS[:2], wavs[:1])
    model.training = True
    blind = model(*arguments)
    changed = arguments[0].clone()
    changed[1, :3] = 9
    torch.testing.assert_close(model(changed, *arguments[1:])[1, 3:], blind[1, 3:])
    changed[1, 4] = 9
    assert not torch.allclose(model(changed, *arguments[1:])[1, 5], blind[1, 5])
