"""Manifests of a small spoken language, synthesised on the spot: digits, times, dates and short commands.

    python synthetic_prepare.py corpus manifests                     # 3950 utterances, under a minute on two cores
    python synthetic_prepare.py corpus manifests --utterances 500    # fewer to train on, the same to test on

It needs espeak-ng (pip install 'asr-recipes[demo]'), which speaks sentences of GRAMMAR in voices made of an accent of
ACCENTS and a vocal tract of VARIANTS, at many speeds and pitches, half of them in rooms, all in a little noise::

    train/00000    CALL EXTENSION FOUR TWO SEVEN         en-gb-scotland+f3, 171 words a minute
    test/00000     SET A TIMER FOR TWENTY MINUTES        en-us+belinda, 155 words a minute

Writes corpus/<split>/*.flac (16 kHz), the manifests train.json, valid.json, test.json, and text for the language model:
lm_train.txt (20,000 sentences), lm_valid.txt, lm_test.txt. No sentence and no voice of valid or test is in train, nor
are their sentences in lm_train.txt; the accents are the same. The same seed makes the same corpus. What is done is not
done again: a run that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

from tqdm import tqdm

from toolkit.dataio.prepare import Utterance, describe_audio, describe_splits, write_splits
from toolkit.dataio.script import run
from toolkit.dataio.synthesis import SpokenUtterance, draw_sentence, draw_utterance, is_synthesised, synthesise
from toolkit.files import require_writable, write_atomically

# Each kind of sentence has hundreds of members, most have thousands: training does not miss those held out.
GRAMMAR = {
    "sentence": "{number} | {call} | {time} | {date} | {timer} | {alarm} | {switch} | {set} | {task} | {meet} | {play}",
    "number": "{three} {digit} | {three} {digit} {digit} | {three} {three}",
    "call": "CALL EXTENSION {three} | DIAL {three} {digit} | MY NUMBER IS {three} {digit} | THE CODE IS {three}",
    "time": "IT IS {clock} {part} | THE TRAIN LEAVES AT {clock} {part} | WE CLOSE AT {clock} ON {day}",
    "date": "{day} THE {ordinal} OF {month} | {month} {ordinal} {year} | THE {ordinal} OF {month} {year}",
    "timer": "SET A TIMER FOR {span} | STOP THE {device} IN {span} | WAIT FOR {small} MINUTES AND {count} SECONDS",
    "alarm": "WAKE ME AT {clock} ON {day} | SET AN ALARM FOR {clock} {part} | CANCEL THE ALARM ON {day} THE {ordinal}",
    "switch": "TURN {switched} THE {room} {device} AT {clock} | TURN {switched} THE {room} {device} IN {span}",
    "set": "SET THE {room} {device} TO {count} PERCENT | SET THE {room} HEATING TO {count} DEGREES {part}",
    "task": "REMIND ME TO {chore} AT {clock} | REMIND {name} TO {chore} {part} | {chore} ON THE {ordinal} OF {month}",
    "meet": "MEET {name} ON {day} AT {clock} | CALL {name} ON {month} {ordinal} | SEND {name} {count} DOLLARS",
    "play": "PLAY THE {ordinal} {music} IN THE {room} | BOOK A TABLE FOR {small} AT {clock} | PLAY {music} {count}",
    "three": "{digit} {digit} {digit}",
    "clock": "{hour} {minute} | HALF PAST {hour} | A QUARTER {side} {hour} | {few} {side} {hour}",
    "span": "{count} MINUTES | {count} SECONDS | {small} HOURS | {small} HOURS AND {tens} MINUTES",
    "year": "NINETEEN {tens} {unit} | TWENTY {teen}",
    "count": "{teen} | {tens} | {tens} {unit} | {tens} {unit}",
    "ordinal": "{first} | TWENTY {first} | {eleventh} | {sixteenth}",
    "digit": "ZERO | ONE | TWO | THREE | FOUR | FIVE | SIX | SEVEN | EIGHT | NINE",
    "unit": "ONE | TWO | THREE | FOUR | FIVE | SIX | SEVEN | EIGHT | NINE",
    "small": "TWO | THREE | FOUR | FIVE | SIX | SEVEN | EIGHT",
    "teen": "TEN | ELEVEN | TWELVE | THIRTEEN | FOURTEEN | FIFTEEN | SIXTEEN | SEVENTEEN | EIGHTEEN | NINETEEN",
    "tens": "TWENTY | THIRTY | FORTY | FIFTY | SIXTY | SEVENTY | EIGHTY | NINETY",
    "first": "FIRST | SECOND | THIRD | FOURTH | FIFTH | SIXTH | SEVENTH | EIGHTH | NINTH",
    "eleventh": "TENTH | ELEVENTH | TWELFTH | THIRTEENTH | FOURTEENTH | FIFTEENTH",
    "sixteenth": "SIXTEENTH | SEVENTEENTH | EIGHTEENTH | NINETEENTH | TWENTIETH | THIRTIETH",
    "hour": "ONE | TWO | THREE | FOUR | FIVE | SIX | SEVEN | EIGHT | NINE | TEN | ELEVEN | TWELVE",
    "minute": "OH FIVE | TEN | FIFTEEN | TWENTY | TWENTY FIVE | THIRTY | FORTY | FORTY FIVE | FIFTY",
    "few": "FIVE | TEN | TWENTY",
    "side": "PAST | TO",
    "part": "IN THE MORNING | IN THE EVENING | TOMORROW | TODAY",
    "day": "MONDAY | TUESDAY | WEDNESDAY | THURSDAY | FRIDAY | SATURDAY | SUNDAY",
    "month": "{january} | {july}",
    "january": "JANUARY | FEBRUARY | MARCH | APRIL | MAY | JUNE",
    "july": "JULY | AUGUST | SEPTEMBER | OCTOBER | NOVEMBER | DECEMBER",
    "switched": "ON | OFF",
    "room": "KITCHEN | BEDROOM | BATHROOM | GARDEN | OFFICE | HALL",
    "device": "LIGHT | RADIO | FAN | LAMP | OVEN",
    "chore": "BUY MILK | CALL {name} | WATER THE PLANTS | PAY THE RENT | WALK THE DOG | FEED THE CAT",
    "name": "ANNA | DAVID | MARIA | OSCAR | SOPHIE | PETER | JULIA | THOMAS",
    "music": "SONG | TRACK | STATION | CHANNEL",
}

# espeak-ng's English: British (its name is en), American, New York, Scottish, Caribbean, Lancastrian, Midland, RP.
ACCENTS = "en en-us en-us-nyc en-gb-scotland en-029 en-gb-x-gbclan en-gb-x-gbcwmd en-gb-x-rp"

# Vocal tracts, all intelligible (no whisper, no robots). Of a family of near twins (m7 and Mario, steph and steph2)
# only one side has members. A voice is an accent with a variant.
VARIANTS = {
    "train": "fast m1 m2 m3 m5 m6 m8 f1 f2 f3 f4 f5 linda anika antonio pedro norbert travis grandma grandpa sandro "
    "boris paul victor Denis Diogo edward klatt2 klatt4 caleb david Andy shelby Alex iven3 Gene Tweaky john",
    "valid": "m4 Annie Jacky pablo Storm",
    "test": "Andrea belinda steph Michael quincy m7 ed mike2",
}

TEST_UTTERANCES = 300
VALID_UTTERANCES = 150
VALID_SENTENCES = 500  # of which the first are spoken
LM_SENTENCES = 20_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the corpus as the command line says."""
    args = parse(arguments)
    prepare_synthetic(args.corpus, args.manifests, utterances=args.utterances, seed=args.seed, jobs=args.jobs)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="where to write the audio")
    parser.add_argument("manifests", type=Path, help="where to write the manifests")
    parser.add_argument("--utterances", type=positive, default=3500, help="of the training set (3500)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another corpus (1)")
    parser.add_argument("--jobs", type=positive, default=2, help="programs that speak at the same time (2)")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A whole number above 0, or the ValueError of which argparse makes a message."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def prepare_synthetic(corpus: Path, manifests: Path, *, utterances: int = 3500, seed: int = 1, jobs: int = 2) -> None:
    """Speak the corpus, write its manifests and the texts of the language model, and print what they hold."""
    for folder, name in ((corpus, "CORPUS"), (manifests, "MANIFESTS")):
        require_writable(folder, name)
    sentences = draw_sentences(utterances, seed)
    plan = {split: assign_voices(split, sentences[split], seed) for split in ("train", "valid", "test")}
    spoken = [*plan["test"], *plan["valid"], *plan["train"]]  # so that the size of train leaves the others as they are
    if not is_synthesised(spoken, corpus):
        for split in plan:  # which would describe other audio
            (manifests / f"{split}.json").unlink(missing_ok=True)
        with tqdm(total=len(spoken), desc="speaking", unit="utterance") as bar:
            synthesise(spoken, corpus, jobs=jobs, progress=bar.update)
    splits = {split: {one.name: make_utterance(one, corpus) for one in plan[split]} for split in plan}
    write_splits(manifests, splits, data_root=corpus)
    for split in ("train", "valid"):  # instead of the words of these splits: many more
        write_atomically(manifests / f"lm_{split}.txt", "".join(f"{one}\n" for one in sentences[f"lm_{split}"]))
    print(describe_splits(splits))


def draw_sentences(utterances: int, seed: int) -> dict[str, list[str]]:
    """Sentences of each split; those of test and valid differ from each other and from all the rest."""
    rng = Random(seed)
    held_out: dict[str, None] = {}  # a set that keeps its order
    while len(held_out) < TEST_UTTERANCES + VALID_SENTENCES:
        held_out[draw_sentence(GRAMMAR, rng)] = None
    test, valid = list(held_out)[:TEST_UTTERANCES], list(held_out)[TEST_UTTERANCES:]
    others = (one for one in iter(lambda: draw_sentence(GRAMMAR, rng), None) if one not in held_out)
    lm_train, train = list(islice(others, LM_SENTENCES)), list(islice(others, utterances))
    return {"test": test, "valid": valid[:VALID_UTTERANCES], "train": train, "lm_train": lm_train, "lm_valid": valid}


def assign_voices(split: str, sentences: Sequence[str], seed: int) -> list[SpokenUtterance]:
    """The sentences, each given to a voice of the split."""
    rng = Random(f"{split} {seed}")
    voices = [f"{accent}+{variant}" for accent in ACCENTS.split() for variant in VARIANTS[split].split()]
    named = enumerate(sentences)
    return [draw_utterance(f"{split}/{number:05d}", words, rng.choice(voices), rng) for number, words in named]


def make_utterance(spoken: SpokenUtterance, corpus: Path) -> Utterance:
    """The manifest's entry of one utterance; its speaker is its voice."""
    return {**describe_audio(corpus / f"{spoken.name}.flac", corpus), "words": spoken.words, "speaker": spoken.voice}


if __name__ == "__main__":
    run(main)
