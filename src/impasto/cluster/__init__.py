"""Many machines, through Ray. Needs the extra `cluster`."""

from impasto.errors import ClusterError
from impasto.extras import require_extra

require_extra("cluster", "a cluster")

from impasto.cluster.connection import Workers, connect, disconnect
from impasto.cluster.sharded import iterate, stylize

__all__ = ["ClusterError", "Workers", "connect", "disconnect", "iterate", "stylize"]
