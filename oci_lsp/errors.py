"""Errors meant for the user's eyes: each says what happened and what to do next."""


class OciError(Exception):
    """Base of every error that is shown to the user as it stands.

    Args:
        message: what happened, one sentence, no trailing full stop needed.
        advice: what the user can do next; empty when the message says it.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message


class SettingsError(OciError):
    """A setting given on the command line does not exist or has a wrong value."""


class TargetError(OciError):
    """There is no function or comment where the user pointed."""


class TestsError(OciError):
    """The test that the user named cannot be used (malformed id, no such file)."""

    __test__ = False  # pytest would collect the name


class RejectedReplyError(OciError):
    """A model's reply cannot be spliced into the file.

    The message is for the user's eyes; the model is told the advice as well.
    """

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class SandboxError(OciError):
    """No sandbox can be had, or it failed to start a kernel."""


class InterpreterError(OciError):
    """The project's Python cannot be used (missing, broken, no pytest)."""


class EngineError(OciError):
    """The engine cannot be reached, failed, or refused the request."""


class ModelError(EngineError):
    """The model does not exist, does not fit this machine, or could not be fetched."""


class ConsentError(OciError):
    """Something needs the user's yes (a download, reduced isolation) and none was given."""


class HistoryError(OciError):
    """There is no such transcript, or it cannot be read, replayed or deleted."""
