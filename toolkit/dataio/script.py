"""What the command line of every preparation script has in common, and the end of every script.

A recipe's ``<dataset>_prepare.py`` ends with these lines::

    def main(arguments: Sequence[str] | None = None) -> None:
        args = parse(arguments)                       # corpus_parser(__doc__, ...) and the options of its own
        if args.download:
            fetch(ARCHIVES, args.data_folder)
        prepare_<dataset>(args.data_folder, args.manifests)


    if __name__ == "__main__":
        run(main)
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from toolkit.dataio.spelling import CASES, DIGITS, Spelling
from toolkit.errors import ConfigError, ToolkitError

logger = logging.getLogger(__name__)


def corpus_parser(story: str, *, holds: str, download: str | None = None) -> argparse.ArgumentParser:
    """The arguments DATA_FOLDER and MANIFESTS, and ``--download`` where the corpus can be fetched.

    Parameters
    ----------
    story
        The script's docstring, which ``--help`` prints.
    holds
        What tells the corpus' folder, such as ``etc/ and wav/``.
    download
        Where ``--download`` fetches the corpus, and how large it is: ``openslr.org/31 (0.5 GB)``.
    """
    parser = argparse.ArgumentParser(description=story, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_folder", type=Path, metavar="DATA_FOLDER", help=f"the folder that holds {holds}")
    parser.add_argument("manifests", type=Path, metavar="MANIFESTS", help="where to write the manifests")
    if download is not None:
        parser.add_argument("--download", action="store_true", help=f"fetch what DATA_FOLDER lacks: {download}")
    return parser


def add_digits(parser: argparse._ActionsContainer) -> None:
    """The option ``--digits``: what becomes of transcripts with digits."""
    digits = "words, where these are sure (extra [text]); leave_out: no utterance that has some (default: %(default)s)"
    parser.add_argument("--digits", default="leave_out", choices=DIGITS, help=digits)


def add_spelling(parser: argparse.ArgumentParser) -> None:
    """Options for how transcripts are written, which `spelling_of` reads."""
    group = parser.add_argument_group("how transcripts are written (a report of what that changes is printed)")
    add_digits(group)
    group.add_argument("--case", default="lower", choices=CASES, help="(default: %(default)s)")
    group.add_argument("--keep", default="'", metavar="MARKS", help='what stays inside words: "\'-" for hyphens, too')
    group.add_argument("--letters", default="", help="more letters that stay as they are: --letters é in German")
    group.add_argument(
        "--replace", nargs="+", default=(), metavar="A=B", help="--replace ё=е: letters written as others"
    )


def spelling_of(language: str, args: argparse.Namespace) -> Spelling:
    """How a language's transcripts are written, as the options of `add_spelling` say.

    Raises
    ------
    ConfigError
        An option has an impossible value.
    """
    for pair in args.replace:
        if "=" not in pair:
            raise ConfigError(f"--replace {pair!r}: expected A=B, such as ё=е")
    replace = dict(pair.split("=", 1) for pair in args.replace)
    return Spelling(language, args.case, args.keep, digits=args.digits, letters=args.letters, replace=replace)


def run(main: Callable[[], None]) -> None:
    """Run a preparation's main function, with messages on the console, as `run_script` does."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_script(main)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function; an error that the input caused is one sentence, not a traceback.

    Exits with 2 after such an error and with 130 after Ctrl-C.
    """
    try:
        main()
    except ToolkitError as error:
        logger.debug("ended by", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception:
        logger.debug("crashed", exc_info=True)  # into log.txt of a run; the interpreter shows it on the console
        raise
