"""The command ``asr``: what it prints, where, and its exit status."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit import __version__
from toolkit.cli import new
from toolkit.cli.data import COMMANDS as DATA_COMMANDS
from toolkit.cli.main import COMMANDS, main
from toolkit.collection import collection
from toolkit.dataio.transcripts import read_transcripts
from toolkit.inference.archive_outputs import LinesFile
from toolkit.inference.transcriber import Transcriber
from toolkit.shipped import shipped

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder with three recordings, one of them deeper, and a file that is none."""
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for place, name in enumerate(["b.wav", "a.flac", "deeper/c.ogg"]):
        loudness = np.repeat(rng.uniform(0, 0.3, size=12 + 9 * place), 800)
        soundfile.write(folder / name, loudness * rng.standard_normal(len(loudness)), 16000)
    (folder / "notes.txt").write_text("not audio")
    return folder


@pytest.fixture
def lines(run_folder: Path, recordings: Path) -> list[str]:
    """What transcribing the folder should print."""
    files = [recordings / name for name in ("a.flac", "b.wav", "deeper/c.ogg")]
    found = Transcriber.from_hparams(run_folder, device="cpu").transcribe_files(files)
    return [f"{transcript.file}\t{transcript.text}" for transcript in found]


def run_module(*arguments: str, code: str = "from toolkit.__main__ import main; raise SystemExit(main())") -> str:
    """What a fresh interpreter prints for these arguments."""
    command = [sys.executable, "-c", code, *arguments] if code else [sys.executable, "-m", "toolkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


# asr


def test_help_shows_commands_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "  asr transcribe digits/results/ctc speech.wav" in shown
    for name, meaning in COMMANDS.items():
        assert name in shown
        assert meaning in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"\n    asr {command} " in capsys.readouterr().out


def test_commands_are_the_modules_of_the_package() -> None:
    modules = {file.stem.replace("_", "-") for file in Path(new.__file__).parent.glob("*.py")}
    parts = {"stream", "transcripts", "search-space"}  # of transcribe and tune
    assert modules - {"--init--", "main", *parts} == set(COMMANDS)
    tools = {file.stem.replace("_", "-") for file in (Path(new.__file__).parent / "data_tools").glob("*.py")}
    assert tools - {"--init--", "arguments"} == set(DATA_COMMANDS)


@pytest.mark.parametrize("command", DATA_COMMANDS)
def test_help_of_a_data_tool_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["data", command, "--help"])
    assert f"\n    asr data {command} " in capsys.readouterr().out


def test_an_unknown_data_tool_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "chek", "m.json"]) == 2
    assert capsys.readouterr().err.startswith("error: asr data has no command 'chek' (did you mean 'check'?)")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"asr-recipes {__version__}\n"


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcibe", "run", "a.wav"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: asr has no command 'transcibe' (did you mean 'transcribe'?)")
    assert shown.out == ""


def test_module_is_the_command() -> None:
    assert run_module("--version", code="") == f"asr-recipes {__version__}\n"


@pytest.mark.parametrize(("command", "shown"), [("transcribe", "--resume"), ("data batch-size", "--memory SIZE")])
def test_help_comes_without_loading_torch(command: str, shown: str) -> None:
    code = f"""if True:
        import sys
        from toolkit.cli.main import main
        try:
            main([*{command.split()}, "--help"])
        except SystemExit:
            raise SystemExit(" ".join({{"torch", "lhotse", "speechbrain"}} & set(sys.modules)) or 0)
    """
    assert shown in run_module(code=code)


# asr transcribe


def test_transcribe_prints_a_line_a_file(
    run_folder: Path, recordings: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(run_folder), str(recordings), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == lines
    assert shown.err == ""  # no progress bar where there is no terminal
    assert len({line.partition("\t")[2] for line in lines}) == 3


def test_transcribe_reports_what_it_cannot_read_and_does_the_rest(
    run_folder: Path, recordings: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(recordings / name) for name in ("notes.txt", "a.flac", "missing.wav", "b.wav")]
    assert main(["transcribe", str(run_folder), *files, "--batch-seconds", "0.5"]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines() == lines[:2]
    first, second = shown.err.splitlines()
    assert first.startswith(f"error: {files[0]}: not audio")
    assert second == f"error: {files[2]}: no such audio file"


def test_transcribe_writes_text(run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    assert main(["transcribe", str(run_folder), str(recordings), "--output", str(output)]) == 0
    assert output.read_text().splitlines() == lines
    assert not list(tmp_path.glob("*.part"))


def test_transcribe_writes_json_lines(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"
    assert main(["transcribe", str(run_folder), str(recordings), "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [f"{one['file']}\t{one['text']}" for one in found] == lines
    assert [one["duration"] for one in found] == pytest.approx([1.05, 0.6, 1.5])
    assert capsys.readouterr().out == ""


def test_transcribe_shows_progress_on_a_terminal(
    run_folder: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["transcribe", str(run_folder), str(recordings)]) == 0
    assert "0/3" in terminal.getvalue()


def test_transcribe_killed_goes_on_with_resume(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.txt"
    command = ["transcribe", str(run_folder), str(recordings), "--output", str(output), "--batch-seconds", "0.1"]
    code = f"""if True:
        import os
        from toolkit.cli.main import main
        from toolkit.inference.archive_outputs import LinesFile
        write = LinesFile.write
        def killed(self, *what):
            write(self, *what)
            self.stream.write("half a li")
            self.stream.flush()
            os.kill(os.getpid(), 9)
        LinesFile.write = killed
        main({command})
    """
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -9
    assert not output.exists()
    assert main(command) == 2
    assert "out.txt.part: of a run that was stopped; go on with it by --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert output.read_text().splitlines() == lines
    assert "2 recordings" in (shown := capsys.readouterr().err)
    assert "1 were done before" in shown
    assert main([*command, "--resume"]) == 0
    assert "0 recordings" in capsys.readouterr().err
    assert output.read_text().splitlines() == lines
    assert not list(tmp_path.glob("*.part"))


def test_transcribe_resumed_shows_what_is_done_from_the_beginning(
    run_folder: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["transcribe", str(run_folder), "--output", str(tmp_path / "out.txt"), "--resume"]
    assert main([*command, str(recordings / "b.wav")]) == 0
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main([*command, str(recordings)]) == 0
    assert "1/3" in terminal.getvalue()
    assert "0/3" not in terminal.getvalue()


def test_transcribe_does_not_go_on_with_another_model(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, output = shutil.copytree(run_folder, tmp_path / "other"), tmp_path / "out.txt"
    files = [str(recordings / name) for name in ("a.flac", "b.wav")]
    assert main(["transcribe", str(run_folder), files[0], "--output", str(output)]) == 0
    resume = [*files, "--output", str(output), "--resume"]
    assert main(["transcribe", str(other), *resume]) == 2
    message = capsys.readouterr().err
    assert f"1 transcripts are of {run_folder.resolve()} as of" in message
    assert f"would be of {other.resolve()} as of" in message
    assert output.read_text().splitlines() == lines[:1]
    assert not list(tmp_path.glob("*.part"))
    assert main(["transcribe", str(run_folder), *resume]) == 0
    assert output.read_text().splitlines() == lines[:2]
    assert main(["transcribe", str(run_folder), *resume, "--channel", "0"]) == 2
    assert "would be of" in (message := capsys.readouterr().err)
    assert "with --channel 0" in message
    assert main(["transcribe", str(other), *resume[:-1]]) == 0  # all anew


def test_transcribe_goes_on_in_a_folder_though_there_is_more_to_do(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = ["transcribe", str(run_folder), "--output", str(output), "--format", "srt", "--resume"]
    assert main([*command, f"{recordings}/deeper/*.ogg"]) == 0
    assert main([*command, f"{recordings}/deeper/*.ogg", f"{recordings}/*.*"]) == 1  # notes.txt
    assert "1 were done before" in capsys.readouterr().err
    assert files_of(output) == {".model.json", "a.srt", "b.srt", "c.srt"}


def test_transcribe_writes_a_ctm_of_many_files(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.ctm"
    command = ["transcribe", str(run_folder), str(recordings)]
    assert main([*command, "--output", str(output)]) == 0
    assert main([*command, "--format", "ctm"]) == 0
    assert capsys.readouterr().out == output.read_text()
    found = {name: one.text for name, one in read_transcripts(output).items()}
    assert found == {Path(line.partition("\t")[0]).stem: line.partition("\t")[2] for line in lines}


def test_transcribe_finds_as_many_texts_as_asked_for(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beam = shutil.copytree(run_folder, tmp_path / "beam")
    yaml = (beam / "hyperparams.yaml").read_text()
    assert "CTCGreedySearcher" in yaml
    (beam / "hyperparams.yaml").write_text(yaml.replace("CTCGreedySearcher", "CTCPrefixSearcher"))
    command = ["transcribe", str(beam), str(recordings), "--nbest", "3"]
    assert main([*command, "--format", "jsonl"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len({alternative["text"] for alternative in one["nbest"]}) for one in found] == [3, 3, 3]
    assert [one["nbest"][0]["text"] for one in found] == [one["text"] for one in found]
    assert main(command) == 2
    assert "--nbest: txt has one text of a recording; use --format json or jsonl" in capsys.readouterr().err
    assert main(["transcribe", str(run_folder), *command[2:], "--format", "jsonl"]) == 2
    assert "nbest=3: expected 1 to 1, as the model's CTCGreedySearcher" in capsys.readouterr().err


def test_transcribe_of_nothing_that_can_be_read_fails_as_a_whole(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, output = str(recordings / "notes.txt"), tmp_path / "out.txt"
    command = ["transcribe", "--output", str(output), str(run_folder), broken]
    output.write_text("of an earlier run")
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"error: {broken}: not audio")
    assert output.read_text() == "of an earlier run"
    assert main([*command, str(recordings / "a.flac")]) == 1
    assert main([*command, str(recordings / "a.flac"), "--resume"]) == 1  # the other was done before


def test_transcribe_stopped_keeps_what_is_done(
    run_folder: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LinesFile.write

    def stopped(self: LinesFile, *what: object) -> None:
        write(self, *what)
        raise KeyboardInterrupt

    monkeypatch.setattr(LinesFile, "write", stopped)
    output = tmp_path / "out.txt"
    assert main(["transcribe", str(run_folder), str(recordings), "--output", str(output)]) == 130
    assert not output.exists()
    assert len((tmp_path / "out.txt.part").read_text().splitlines()) == 1


def test_transcribe_of_many_files_as_subtitles_is_a_folder(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["transcribe", str(run_folder), str(recordings), "--format", "srt"]
    assert main(command) == 2
    assert "srt is a file a recording, and there are 3" in capsys.readouterr().err
    assert main([*command, "--output", str(tmp_path / "subtitles")]) == 0
    assert files_of(tmp_path / "subtitles") == {".model.json", "a.srt", "b.srt", "deeper/c.srt"}
    assert " --> " in (tmp_path / "subtitles/deeper/c.srt").read_text()
    one = tmp_path / "one.srt"
    assert main(["transcribe", str(run_folder), str(recordings / "a.flac"), "--output", str(one)]) == 0
    assert one.read_text() == (tmp_path / "subtitles/a.srt").read_text()


def test_transcribe_prints_in_the_order_of_the_files_whatever_their_lengths(
    run_folder: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [line.partition("\t")[0] for line in lines[::-1]]
    assert main(["transcribe", str(run_folder), *files, "--batch-seconds", "0.1"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[::-1]


@pytest.mark.slow
def test_transcribe_by_torchrun_is_one_file_that_can_be_gone_on_with(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.txt"
    (tmp_path / "out.txt.part").write_text(f"{lines[1]}\n{lines[0][:9]}")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "toolkit", "transcribe"]
    options = ["--engine", "torchrun", "--output", str(output), "--resume", "--device", "cpu"]
    done = subprocess.run(
        [*torchrun, str(run_folder), str(recordings), *options], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text().splitlines() == lines
    assert not list(tmp_path.glob("*.part"))


def test_transcribe_without_torchrun_says_how(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--engine", "torchrun", "--output", str(tmp_path / "out.txt")]
    assert main(["transcribe", str(run_folder), str(recordings), *options]) == 2
    assert "start it so: torchrun --nproc-per-node 2 -m toolkit transcribe" in capsys.readouterr().err


def test_transcribe_ends_quietly_when_nobody_reads_on(run_folder: Path, recordings: Path) -> None:
    script = f"{sys.executable} -m toolkit transcribe {run_folder} {recordings} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{empty}", "a.wav"], "no hyperparams.yaml here"),
        (["{run}", "{empty}"], "no audio in this folder; looked for"),
        (["{run}", "a.wav", "--device", "gpu"], "device 'gpu': no such device"),
        (["{run}", "a.wav", "--output", "/dev/null/folder.txt"], "--output: /dev/null is not a folder"),
        (["{run}", "a.wav", "--output", "out.doc"], "--output out.doc: expected a file that ends in .txt,"),
        (["{run}", "a.wav", "--format", "word"], "--format word: expected"),
        (["{run}", "a.wav", "--output", "out.txt", "--format", "srt"], "out.txt is not srt, which --format says"),
    ],
)
def test_transcribe_says_what_is_wrong(
    run_folder: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"run": run_folder, "empty": tmp_path}
    assert main(["transcribe", *(argument.format(**names) for argument in arguments)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("options", [["--workers", "0"], ["--batch-seconds", "0"], ["--batch-seconds", "many"]])
def test_transcribe_refuses_odd_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["transcribe", "run", "a.wav", *options])
    assert f"{options[0]}: {options[1]!r}: expected" in capsys.readouterr().err.replace("argument ", "")


@pytest.mark.parametrize("options", [["--resume"], ["--engine", "torchrun"]])
def test_transcribe_with_nothing_to_keep_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["transcribe", "run", "a.wav", *options])
    assert f"{' '.join(options)} needs --output" in capsys.readouterr().err


# asr new


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template that somebody has run."""
    folder = tmp_path / "templates/asr"
    kept = ["train.py", "README.md", "hparams/ctc.yaml"]
    (tmp_path / "recipes").mkdir()
    made = [
        "data/corpus.tar.gz",
        "results/ctc/log.txt",
        "corpus/a.flac",
        "manifests/train.json",
        "__pycache__/train.pyc",
        ".cache/x",
        "a.part",
    ]
    for name in [*kept, *made]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.setattr("toolkit.collection.shipped", lambda name: tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return folder


def files_of(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("templates")
def test_new_copies_the_recipe_and_nothing_that_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "digits"]) == 0
    assert files_of(tmp_path / "digits") == {"train.py", "README.md", "hparams/ctc.yaml"}
    assert (tmp_path / "digits/train.py").read_text() == "train.py"
    assert "digits/README.md" in capsys.readouterr().out


@pytest.mark.usefixtures("templates")
def test_new_refuses_an_existing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits").mkdir()
    assert main(["new", "digits"]) == 2
    assert capsys.readouterr().err == "error: digits exists already; choose another name, or remove it\n"
    assert files_of(tmp_path / "digits") == set()


@pytest.mark.usefixtures("templates")
def test_new_leaves_nothing_behind_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["new", "digits"]) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["recipes", "templates"]


@pytest.mark.usefixtures("templates")
def test_new_in_a_missing_folder_is_made_with_it(tmp_path: Path) -> None:
    assert main(["new", "my/recipes/digits"]) == 0
    assert (tmp_path / "my/recipes/digits/train.py").is_file()


@pytest.mark.usefixtures("templates")
def test_new_from_an_unknown_template_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "digits", "--from", "asrr"]) == 2
    assert "no recipe or template 'asrr' (did you mean 'asr'?); there is asr" in capsys.readouterr().err


def test_new_names_what_is_beside_a_recipe_where_it_is(templates: Path, tmp_path: Path) -> None:
    other = tmp_path / "recipes/Mix"
    shutil.copytree(templates, other)
    commands = "python ../../templates/asr/train.py hparams/ctc.yaml --data ../nowhere/b.json; cd ../Mix; see a/../b"
    (other / "README.md").write_text(f"{commands}\n[here](../../templates/asr/README.md).\n")
    assert main(["new", "elsewhere/deep/er/mine", "--from", "Mix"]) == 0
    assert (tmp_path / "elsewhere/deep/er/mine/README.md").read_text() == (
        f"python {templates}/train.py hparams/ctc.yaml --data ../nowhere/b.json; cd {other}; see a/../b\n"
        f"[here]({templates}/README.md).\n"
    )
    assert main(["new", "recipes/Mine", "--from", "Mix"]) == 0
    assert (tmp_path / "recipes/Mine/README.md").read_bytes() == (other / "README.md").read_bytes()


def test_new_from_the_real_template_is_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "digits"]) == 0
    copied = files_of(tmp_path / "digits")
    scripts = {file.name for file in (TEMPLATES / "asr").glob("*.py")}
    assert scripts <= copied
    assert scripts
    for name in copied:
        assert (tmp_path / "digits" / name).read_bytes() == (TEMPLATES / "asr" / name).read_bytes()
    assert not {name.partition("/")[0] for name in copied} & {"corpus", "manifests", "results"}


def test_templates_of_an_installed_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "share/asr-recipes/templates"
    (installed / "asr").mkdir(parents=True)
    (tmp_path / "site-packages/templates").mkdir(parents=True)  # of another package
    monkeypatch.setattr("toolkit.shipped.__file__", os.fspath(tmp_path / "site-packages/toolkit/shipped.py"))
    monkeypatch.setattr("sysconfig.get_path", lambda *_: os.fspath(tmp_path))
    assert shipped("templates") == installed
    (installed / "asr").rmdir()
    assert main(["new", "digits"]) == 2


# asr list


def test_list_has_a_line_for_each_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["recipe", "languages", "train.py", "data"]
    assert [line.split()[0] for line in lines] == [recipe.name for recipe in collection()]
    (an4,) = [line for line in lines if line.startswith("AN4 ")]
    assert an4.split()[1:4] == ["English", "conformer", "ctc"]
    assert an4.endswith("AN4, Carnegie Mellon's census database: 948 + 130 spoken names, numbers and commands, 16 kHz.")


def test_list_of_a_recipe_has_its_experiments_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "AN4"]) == 0
    shown = capsys.readouterr().out
    assert "\npython an4_prepare.py /data/an4 manifests\n" in shown
    places = [shown.index(f"\nhparams/{name}.yaml\n    ") for name in ("tokenizer", "lm", "ctc")]
    assert places == sorted(places)
    assert "    Convolution + bidirectional LSTM, CTC on characters, prefix beam search" in shown
    assert sum(f"\nhparams/{path.name}\n" in shown for path in (ROOT / "recipes/AN4/hparams").iterdir()) == 13


def test_list_of_an_unknown_recipe_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "AN5"]) == 2
    assert "error: there is no recipe or template 'AN5' (did you mean 'AN4'?); there is" in capsys.readouterr().err


# asr export


def test_export_makes_a_folder_that_transcribes(
    run_folder: Path, recordings: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "models/mine")
    assert main(["export", str(run_folder), out]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{out}: 0.0 MB, from {run_folder}\nlog-probabilities differ by 0 at most")
    assert shown.err == ""
    assert main(["transcribe", out, str(recordings), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    facts = json.loads((tmp_path / "models/mine/provenance.json").read_text())
    assert facts["exported"]["command"] == f"asr export {run_folder} {out}"


def test_export_prints_error_rates_before_and_after(
    run_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"wav": str(recordings / "b.wav"), "length": 0.6, "words": "A B"}
    (tmp_path / "test.json").write_text(json.dumps({"b": entry}))
    arguments = [str(run_folder), str(tmp_path / "out"), "--quantize", "int8", "--test", str(tmp_path / "test.json")]
    assert main(["export", *arguments]) == 0
    before, after = capsys.readouterr().out.splitlines()[2:]
    assert before.startswith("before: WER ")
    assert after.startswith("after : WER ")
    assert main(["export", *arguments]) == 2
    assert "out: exists already; name another place, or replace it with --force" in capsys.readouterr().err
    assert main(["export", *arguments, "--force"]) == 0


def test_export_takes_one_form_at_a_time(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(run_folder), str(tmp_path / "out"), "--onnx", "--quantize", "int8"])
