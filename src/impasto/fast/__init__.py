"""Feed-forward style transfer: a photo repainted by one pass of a network, and how such networks are trained.

picture = impasto.fast.stylize("photo.jpg", "starry-night")
"""

from impasto.fast.models import Model, load, save
from impasto.fast.stylizer import iterate, stylize

__all__ = ["Model", "iterate", "load", "save", "stylize"]
