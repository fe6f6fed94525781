"""What `lilllm generate` must not import: it would be waited for before the first token."""

import subprocess
import sys
from pathlib import Path

from tests.stages.tiny_run import write_checkpoint

SCRIPT = """
import sys
sys.argv = ["lilllm", "generate", sys.argv[1], "--prompt", "x", "--max-new-tokens", "2"]
from lilllm.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = [name for name in ("torch._dynamo", "datasets", "pyarrow", "matplotlib", "transformers")
         if name in sys.modules]
assert not heavy, heavy
"""


def test_generate_imports_nothing_heavy_but_torch(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "step-00000001")
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
