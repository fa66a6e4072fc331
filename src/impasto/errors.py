"""What can go wrong that is not an argument's fault; wrong arguments are plain `ValueError`s."""


class ImpastoError(Exception):
    """Base of impasto's own errors: their text says what was given, what is needed and what to do."""


class FileError(ImpastoError):
    """A file or folder that cannot be read or written; one subclass for each kind of file."""


class PictureError(FileError):
    """A picture."""


class ClipError(FileError):
    """A clip, a camera or optical flow."""


class SoundError(FileError):
    """A sound; also one that is silent or too short."""


class WeightsError(FileError):
    """Weights of VGG, or a trained model; also weights that could not be downloaded."""


class PresetError(FileError):
    """A preset, or settings that do not fit."""


class CheckpointError(FileError):
    """A checkpoint; also one that was made with other settings."""


class BudgetError(ImpastoError):
    """A picture that cannot be computed in the available memory, however it is divided."""


class ExtraError(ImpastoError):
    """An optional dependency that is not installed; says which command installs it."""


class ClusterError(ImpastoError):
    """A cluster that cannot be reached, or whose workers were lost."""
