"""Errors that a user may see: each message is one sentence that says what to do."""


class FaceInsightError(Exception):
    """Base of every error that FaceInsight raises on purpose."""


class PackError(FaceInsightError):
    """A model pack is unknown, incomplete or declared wrongly."""


class ModelFileError(PackError):
    """A model file cannot be read or is not the file that the pack declares."""


class ProviderError(FaceInsightError):
    """What should run the models is not here, or does not start."""


class FetchError(FaceInsightError):
    """A model file could not be downloaded."""


class MediaError(FaceInsightError):
    """An image or a video cannot be read or written."""


class DamagedMediaError(MediaError):
    """A file breaks off; what came before may have been of use."""


class DiskFullError(MediaError):
    """There is no room for what is to be written."""


class BusyError(FaceInsightError):
    """So much is asked for at once that some have to come again."""
