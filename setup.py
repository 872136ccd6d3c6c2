"""Compiles the C++ kernels into the wheel where there is a compiler, so that its users need none.

Everything else about the package is in pyproject.toml.
"""

import runpy
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "src"
sys.path.insert(0, str(SOURCE))

from lutra.errors import ToolError  # noqa: E402
from lutra.native import library as native  # noqa: E402


class BuildWithKernels(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "lutra" / "native" / native.PREBUILT.name
        for file in ("kernels/cpu/library.py", "runtime/library.py"):
            for name, (sources, flags) in runpy.run_path(str(SOURCE / "lutra" / file))["LIBRARIES"].items():
                try:
                    native.prebuild(name, sources, flags, folder)
                except ToolError as error:
                    print(f"the wheel is built without {name}, its users compile it: {error}")


class WithBinaries(Distribution):
    def has_ext_modules(self) -> bool:
        return True


class WheelOfThisPlatform(bdist_wheel):
    """The libraries know nothing of Python, only of the machine."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(distclass=WithBinaries, cmdclass={"build_py": BuildWithKernels, "bdist_wheel": WheelOfThisPlatform})
