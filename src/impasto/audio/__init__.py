"""Sound: style transfer and textures, by the statistics and the optimiser of pictures. Needs the extra `audio`."""

from impasto.extras import require_extra

require_extra("audio", "sound")

from impasto.audio.sounds import Sound, read, write
from impasto.audio.transfer import iterate, iterate_texture, stylize, texture

__all__ = ["Sound", "iterate", "iterate_texture", "read", "stylize", "texture", "write"]
