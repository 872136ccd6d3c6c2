"""`ip.json` beside an IP core: what the folder holds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lutra.names import Name
from lutra.runs.schemas.values import Hash, Message, Versioned

PackagePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(?:[./][A-Za-z0-9_]+)*$", max_length=300)]
"""A file within the folder: no way out of it."""


class PackageManifest(Versioned):
    """The file."""

    name: Name
    build_hash: Hash
    frozen_hash: Hash
    lutra: Message
    blocks: list[Name]
    files: dict[PackagePath, Hash]
    """SHA-256 of every other file."""
