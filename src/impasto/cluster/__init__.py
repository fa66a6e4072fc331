"""Many machines, through Ray. Needs the extra `cluster`."""

from importlib.util import find_spec

from impasto.errors import ClusterError, ExtraError

if find_spec("ray") is None:
    raise ExtraError("a cluster needs Ray, which is not installed: pip install 'impasto[cluster]'")

from impasto.cluster.connection import Workers, connect, disconnect
from impasto.cluster.sharded import iterate, stylize

__all__ = ["ClusterError", "Workers", "connect", "disconnect", "iterate", "stylize"]
