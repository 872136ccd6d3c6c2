from collections.abc import Callable
from pathlib import Path

import pytest

SPACE = """
kind = "bat"
name = "small"
objectives = ["accuracy", "robustness", "latency", "lut", "energy"]

[model]
layers = 3
width = 96
head_width = 16
tokens = 20

[modules]
p_dpu = [4, 8, 16]
p_quan = [8, 16]
p_vu = [8, 16]
p_ln = [4, 8]
p_pe = [32, 64]

[[method]]
name = "BMT"
copies = 2
bits = [4]
heads = [4]
intermediate = [192]
accuracy = 80.0
robustness = 40.0

[[method]]
name = "BiT"
copies = 1
bits = [1]
heads = [6]
intermediate = [384]
accuracy = 70.0
robustness = 30.0

[[method]]
name = "BinaryBERT"
copies = 2
bits = [4, 2]
heads = [6]
intermediate = [192]

[marked]
name = "ours"
method = "BMT W1A4 64/192"
attention = { p_dpu = 4, p_quan = 16, p_vu = 16, p_ln = 8 }
feed_forward = { p_dpu = 4, p_quan = 16, p_vu = 16, p_ln = 8 }
"""


@pytest.fixture
def write_hardware_space(tmp_path) -> Callable[..., Path]:
    """Writes the small space with pieces of its text replaced, and text added."""

    def write(changes: dict[str, str] | None = None, added: str = "") -> Path:
        text = SPACE
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "space.toml"
        path.write_text(text + added, encoding="utf-8")
        return path

    return write
