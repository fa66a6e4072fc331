"""Video style transfer without flicker. Needs the extra `video`: PyAV for files, OpenCV for optical flow."""

from impasto.extras import require_extra

require_extra("video", "video")

from impasto.video.clips import Clip, open_clip
from impasto.video.stylizer import StylizedFrame, iterate, stylize

__all__ = ["Clip", "StylizedFrame", "iterate", "open_clip", "stylize"]
