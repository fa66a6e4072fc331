"""What can go wrong that is not an argument's fault (those are plain `ValueError`s)."""


class ImpastoError(Exception):
    """Base of impasto's own errors: their text says what was given, what is needed and what to do."""


class PictureError(ImpastoError):
    """A picture file that cannot be read or written."""


class WeightsError(ImpastoError):
    """Weights that are missing, damaged, of the wrong kind, or could not be fetched."""


class PresetError(ImpastoError):
    """A preset file that cannot be read, or does not fit."""


class BudgetError(ImpastoError):
    """A picture that cannot be computed in the memory there is, however it is divided."""


class CheckpointError(ImpastoError):
    """A checkpoint that is damaged, or was made with other settings."""


class ExtraError(ImpastoError):
    """An extra that is not installed; says which command installs it."""


class SoundError(ImpastoError):
    """A sound that cannot be read, or with which nothing can be done."""


class ClusterError(ImpastoError):
    """A cluster that cannot be reached, or whose workers were lost."""
