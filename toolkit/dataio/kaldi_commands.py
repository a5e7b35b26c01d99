"""Commands of a ``wav.scp`` that do no more than decode one file: that file is read in their place.

::

    sph2pipe -f wav -p -c 1 audio/rec-1.sph |
    flac -c -d -s audio/rec-1.flac |
    sox audio/rec-1.mp3 -r 16000 -t wav - |
    ffmpeg -i audio/rec-1.m4a -ar 16000 -ac 1 -f wav - |
    cat audio/rec-1.wav |

No command is ever run: data would be a program. Other rates than the file's are made where the audio is read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

# What a shell would give a meaning to.
_SPECIAL = re.compile(r"[|;&<>$`(){}*?\n]")


@dataclass(frozen=True)
class _Program:
    """Options without a value, as a pattern; those with one; and of these, which choose or mix channels."""

    flags: str
    values: frozenset[str]
    channel: str = ""


_PROGRAMS = {
    "cat": _Program("", frozenset()),
    "flac": _Program("-[cds]+|--(?:stdout|decode|silent|totally-silent)", frozenset()),
    "sph2pipe": _Program("-p", frozenset({"-f", "-c"}), channel="-c"),
    "sox": _Program("-V[0-9]?|-q|-G", frozenset({"-t", "-r", "-b", "-e", "-c"}), channel="-c"),
    "ffmpeg": _Program(
        "-nostdin|-hide_banner|-y|-vn",
        frozenset({"-i", "-f", "-ar", "-ac", "-ab", "-v", "-loglevel", "-acodec", "-codec:a"}),
        channel="-ac",
    ),
}
_STDOUT = ("-", "pipe:1", "/dev/stdout")
# Without a header, a file does not say what it holds, and the command does.
_HEADERLESS = {"raw", "s16", "sw", "ul", "al", "s16le"}


@dataclass(frozen=True)
class Decoded:
    """The file that a command decodes, and whether it chooses one of its channels, or mixes them."""

    path: str
    chooses_channel: bool


def decoded_file(command: str) -> Decoded | None:
    """What a command, which ends in ``|``, decodes; None where it does more than that, or is not known."""
    command = command.strip().removesuffix("|")
    if _SPECIAL.search(command):
        return None
    try:
        name, *words = shlex.split(command)
    except ValueError:  # none, or a quotation that does not end
        return None
    program = _PROGRAMS.get(name.rpartition("/")[2])
    options = None if program is None else list(_options(program, words))
    if options is None or None in options:
        return None
    files = [value for option, value in options if option in ("", "-i")]
    if len(files) != 1 or any(option == "-t" and value in _HEADERLESS for option, value in options):
        return None
    return Decoded(files[0], any(option and option == program.channel for option, _ in options))


def _options(program: _Program, words: list[str]) -> Iterator[tuple[str, str] | None]:
    """Options with their values, and files as those of no option; None for what is not known."""
    rest = iter(words)
    for word in rest:
        if word in program.values:
            yield word, next(rest, "")
        elif word.startswith("-") and word not in _STDOUT:
            if not re.fullmatch(program.flags, word):
                yield None
        elif word not in _STDOUT:
            yield "", word
