"""The compiled kernels are there wherever they can be compiled: elsewhere tests of them are skipped."""

import pytest

from lutra.native.library import compiler_available
from lutra.runtime.library import library


@pytest.mark.skipif(not compiler_available(), reason="no C++ compiler")
def test_kernels_compile_where_there_is_a_compiler():
    assert library() is not None
