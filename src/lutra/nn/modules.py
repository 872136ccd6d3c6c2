"""Containers of modules of one kind, as type checkers see them; at run time they are PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, overload

from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    class ModuleList(nn.ModuleList, Generic[Kind]):
        """`nn.ModuleList` whose members are all of one kind."""

        def __init__(self, modules: Iterable[Kind] = ()) -> None: ...
        @overload
        def __getitem__(self, index: slice) -> ModuleList[Kind]: ...
        @overload
        def __getitem__(self, index: int) -> Kind: ...
        def __getitem__(self, index: int | slice) -> Kind | ModuleList[Kind]: ...
        def __iter__(self) -> Iterator[Kind]: ...

else:
    ModuleList = nn.ModuleList
