"""Many photos in many styles, over this machine's cores or a cluster's."""

from impasto.batch.items import Item, items
from impasto.batch.manifest import Manifest
from impasto.batch.run import Outcome, run

__all__ = ["Item", "Manifest", "Outcome", "items", "run"]
