"""A changed file of a data set is noticed, wherever the configuration names it; what the tools write is not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.dataio.source_files import stamp_of


@pytest.mark.parametrize(
    "changed", ["train.json", "shard_1.jsonl", "kaldi/text", "corpus/84/1.trans.txt", "blend.yaml"]
)
def test_a_changed_file_is_noticed(changed: str, tmp_path: Path) -> None:
    for name in ("train.json", "shard_0.jsonl", "shard_1.jsonl", "kaldi/text", "corpus/84/1.trans.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    (tmp_path / "blend.yaml").write_text(f"- {{type: kaldi, data_dir: {tmp_path}/kaldi}}\n")
    config = {
        "input_cfg": [
            {"type": "group", "input_cfg": str(tmp_path / "blend.yaml"), "tags": {"context": "long " * 1000}},
            {"type": "speechbrain_json", "manifest_filepath": [[str(tmp_path / "train.json"), 0.5]]},
            {"type": "lhotse", "cuts_path": f"{tmp_path}/shard__OP_0..1_CL_.jsonl"},
            {"type": "audio_folder", "audio_dir": str(tmp_path / "corpus")},
        ]
    }
    before = stamp_of(config)
    for name in ("kaldi/text.kaldi_keys.index.npz", "kaldi/shards.unfinished.json"):
        (tmp_path / name).write_text("ours")
    assert stamp_of(config) == before
    with (tmp_path / changed).open("a") as file:
        file.write("\n")
    assert stamp_of(config) != before
