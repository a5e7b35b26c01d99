"""Packaging of asr-recipes: the importable package ``toolkit`` and the command ``asr``."""

import re
from fnmatch import fnmatch
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SHIPPED = ("recipes", "templates", "pretrained")
# What running a recipe leaves in it: MADE of toolkit/cli/new.py, which copies recipes (tests/gates/test_new.py).
MADE = (
    "corpus",
    "data",
    "manifests",
    "results",
    "mlflow.db",
    "mlruns",
    "wandb",
    "slurm-*.out",
    "__pycache__",
    "*.part",
    ".*",
)
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "toolkit/__init__.py").read_text(encoding="utf-8")).group(1)


def shipped_files() -> list[tuple[str, list[str]]]:
    """The files of each folder of SHIPPED, which toolkit/shipped.py finds, by where they are installed."""
    files = {}
    for file in sorted(file for name in SHIPPED for file in (HERE / name).rglob("*")):
        parts = file.relative_to(HERE).parts
        if file.is_file() and not any(fnmatch(part, made) for part in parts for made in MADE):
            files.setdefault("/".join(("share/asr-recipes", *parts[:-1])), []).append("/".join(parts))
    return list(files.items())


setup(
    name="asr-recipes",
    version=VERSION,
    description="Speech recognition recipes: SpeechBrain's readability, Lhotse's data, fast decoding",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["toolkit", "toolkit.*"]),
    package_data={"toolkit.serving": ["page/*"]},
    install_requires=[
        "torch==2.11.*",
        "torchaudio==2.11.*",  # pinned with torch: a torchaudio of another build does not load beside it
        "speechbrain==1.1.*",
        "lhotse==1.33.*",
        "huggingface_hub>=0.30,<3",
        "hyperpyyaml>=1.2.2,<2",
        "omegaconf>=2.3,<3",
        "pyyaml>=6,<7",
        "ruamel.yaml>=0.17.28,<0.19",
        "safetensors>=0.5,<1",
        "sentencepiece>=0.2,<0.3",
        "datasets>=4,<6",
        "soundfile>=0.13,<1",
        "soxr>=1,<2",
        "av>=14,<19",
        "matplotlib>=3.8,<4",
        "numpy>=1.26,<3",
        "numba>=0.62,<0.69",  # below: _nrt, which ctc_compiled.py needs, is no documented option
        "tqdm>=4.66,<5",
    ],
    extras_require={
        # espeak-ng is GPL-3.0: an extra of its own, and only ever run in a process of its own.
        "demo": ["espeakng-loader>=0.2.4,<0.3"],
        "scale": ["ray>=2.50,<3"],
        "serve": [
            "fastapi>=0.120,<1",
            "uvicorn[standard]>=0.35,<1",
            "python-multipart>=0.0.20,<0.1",
            "pydantic-settings>=2.10,<3",
            "prometheus-client>=0.22,<1",
            "httpx>=0.28,<1",
        ],
        "dev": [
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6.100,<7",
            "jiwer>=4,<5",
            "kenlm>=0.3,<0.4",
            "openai>=2,<4",
            "playwright>=1.50,<2",
            "ruff>=0.14,<0.18",
            "schemathesis>=4,<5",
        ],
        "onnx": ["onnx>=1.17,<2", "onnxruntime>=1.20,<2"],
        # its dependencies are ours; its data are ONNX graphs, which onnxruntime computes
        "vad": ["silero-vad>=6,<7", "onnxruntime>=1.20,<2"],
        "hf": ["transformers>=5,<6"],
        "text": ["num2words>=0.5.14,<0.6"],
        "tensorboard": ["tensorboard>=2.16,<3"],
        "tune": ["optuna>=4.5,<6"],
        "wandb": ["wandb>=0.21,<1"],
        # without a server, it keeps figures in a database, for which the small package lacks the last two
        "mlflow": ["mlflow-skinny>=3,<4", "sqlalchemy>=2,<3", "alembic>=1.13,<2"],
    },
    data_files=shipped_files(),
    entry_points={"console_scripts": ["asr=toolkit.cli.main:main"]},
)
