"""The trained model: one archive per state of its inputs, trained only when they changed."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

from bot import children
from bot.domain.errors import SettingError
from bot.settings import ROOT

RASA = ROOT / ".venv-rasa" / "bin" / "rasa"
MODELS = ROOT / "models"
INPUTS = (
    "domain.yml",
    "config.yml",
    "data/**/*.yml",
    "bot/components/*.py",
    "bot/domain/*.py",
    "requirements/rasa.txt",
)
KEEP = 3  # older models, to go back to
# A message's few small products are quicker on one thread, and two that wait for a busy core much slower.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
QUIET = {
    "LOG_LEVEL": "WARNING",
    "LOG_LEVEL_LIBRARIES": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "RASA_TELEMETRY_ENABLED": "false",
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def fingerprint(root: Path = ROOT) -> str:
    """Sixteen hex digits that change when anything that training reads changes."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(root.glob(pattern)):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def model_path() -> Path:
    """Where the model of the present inputs is, or will be."""
    return MODELS / f"{fingerprint()}.tar.gz"


async def train() -> Path:
    """Trains the model unless it is there already; returns its path.

    The archive appears under its name only once it is whole. Raises SettingError with Rasa's own last
    lines when training fails.
    """
    path = model_path()
    if path.exists():
        return path
    scratch = MODELS / f".new-{os.getpid()}"
    try:
        command = [str(RASA), "train", "--out", str(scratch), "--fixed-model-name", "model"]
        pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        process = await children.start(command, QUIET, stdout=pipe, stderr=same)
        try:
            output, _ = await process.communicate()
        finally:
            await children.end(process)
        trained = scratch / "model.tar.gz"
        if process.returncode or not trained.exists():
            last = "\n".join(output.decode(errors="replace").strip().splitlines()[-15:])
            raise SettingError(f"Training failed. Rasa's last lines:\n{last}")
        trained.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for old in sorted(MODELS.glob("*.tar.gz"), key=lambda p: p.stat().st_mtime)[: -KEEP - 1]:
        old.unlink()
    return path
