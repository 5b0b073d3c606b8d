"""Items -> parts: groups that must not be cut, and a val part where a folder has none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitOptions:
    """How to make the val part.

    `val_groups`: groups of the train part that become the val part, replacing the one that the layout has.
    `val_share`: share of the items (0 to 1) that val gets where the layout has no val part.
    """

    val_groups: tuple[str, ...] = ()
    val_share: float = 0.2
    seed: int = 0
