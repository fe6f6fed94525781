"""Every example of docs/serving.md, run as it stands but for the port."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.running import FakeEngine, running, served_model

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert [kind for kind, _ in EXAMPLES] == ["sh", "sh", "python", "python"]


@pytest.mark.parametrize(("kind", "code"), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_an_example_of_the_docs_works(kind: str, code: str) -> None:
    if kind == "sh" and shutil.which("curl") is None:
        pytest.skip("no curl here")
    command = ["sh", "-ec"] if kind == "sh" else [sys.executable, "-c"]
    with running(FakeEngine(), model=served_model(name="demo")) as up:
        ended = subprocess.run(
            [*command, code.replace("http://127.0.0.1:8000", up.url)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "NO_PROXY": "*"},
        )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() and '"error"' not in ended.stdout
