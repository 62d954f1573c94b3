"""Pictures below a folder, found by the names that lists use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from sla_bench.data.base import Split
from sla_bench.data.folder_lists import normalized
from sla_bench.data.part_names import part_of


class PictureIndex:
    """Finds pictures by the way in which a list names them.

    Args:
        images: all pictures below a folder.
        base: that folder.
    """

    def __init__(self, images: Iterable[Path], base: Path) -> None:
        self._by_key: dict[str, list[tuple[tuple[str, ...], Path]]] = {}
        for image in images:
            parts = tuple(normalized(part) for part in image.relative_to(base).parts)
            for name in dict.fromkeys((parts[-1], PurePosixPath(parts[-1]).stem)):
                self._by_key.setdefault(name.casefold(), []).append(((*parts[:-1], name), image))

    def find(self, named: str, part: Split | None = None) -> list[Path]:
        """Pictures that a path or name can mean; more than one where it is ambiguous.

        Args:
            named: path below the folder or above it, or a name, with or without extension.
            part: of the list; decides between folders of parts.
        """
        wanted = tuple(p for p in normalized(named).replace("\\", "/").split("/") if p not in ("", "."))
        if not wanted:
            return []
        fitting = []
        for parts, image in self._by_key.get(wanted[-1].casefold(), ()):
            common = min(len(parts), len(wanted))
            if [p.casefold() for p in parts[-common:]] == [p.casefold() for p in wanted[-common:]]:
                fitting.append((parts, image))
        preferences: tuple[Callable[[tuple[str, ...]], bool], ...] = (
            lambda parts: parts[-len(wanted) :] == wanted,
            lambda parts: part is not None and any(part_of(p) == part for p in parts[:-1]),
            lambda parts: parts == wanted,
        )
        for better in preferences:
            if len(fitting) > 1:
                fitting = [one for one in fitting if better(one[0])] or fitting
        return list(dict.fromkeys(image for _, image in fitting))
