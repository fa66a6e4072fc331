"""Sound: style transfer and textures, by the statistics and the optimiser of pictures. Needs the extra `audio`."""

from impasto.errors import ExtraError

try:
    import soundfile  # noqa: F401
except ModuleNotFoundError:
    raise ExtraError("sounds need soundfile, which is not installed: pip install 'impasto[audio]'") from None

from impasto.audio.sounds import Sound, read, write
from impasto.audio.transfer import iterate, iterate_texture, stylize, texture

__all__ = ["Sound", "iterate", "iterate_texture", "read", "stylize", "texture", "write"]
