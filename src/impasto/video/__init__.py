"""Clips repainted so that nothing flickers. Needs the extra `video`: PyAV for files, OpenCV for optical flow."""

from impasto.errors import ExtraError

try:
    import av  # noqa: F401
    import cv2  # noqa: F401
except ModuleNotFoundError as error:
    raise ExtraError(f"clips need {error.name}, which is not installed: pip install 'impasto[video]'") from None

from impasto.video.clips import Clip, open_clip
from impasto.video.stylizer import Shot, iterate

__all__ = ["Clip", "Shot", "iterate", "open_clip"]
