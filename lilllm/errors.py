"""Every error that lilllm raises on purpose, and the exit code that each one means.

    LilllmError            1   a bug, or something internal
    ├── ConfigError        2   a wrong setting, argument or combination of them
    ├── DataError          3   data that is missing, unreadable or of the wrong kind
    ├── CheckpointError    4   a model folder that is missing, damaged or foreign
    ├── RunError           5   a run that cannot go on: non-finite loss, no memory, no device
    └── Interrupted      130   stopped by a signal, after saving

Foreign exceptions are translated where they enter the package; only `cli/` renders them.
"""


class LilllmError(Exception):
    """A failure told to the user in two lines: what is wrong, and what to do next.

    Args:
        message: what is wrong, naming the file, key or line and its value.
        hint: the next command or change that helps; empty when there is none.
    """

    exit_code = 1
    told_elsewhere = False
    """Whether another process of the same run has the same error and shows it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(LilllmError):
    """A wrong key, value, argument or combination of them."""

    exit_code = 2


class DataError(LilllmError):
    """Text, rows or shards that are missing, unreadable or of the wrong kind."""

    exit_code = 3


class CheckpointError(LilllmError):
    """A checkpoint or tokenizer folder that is missing, damaged or not understood."""

    exit_code = 4


class RunError(LilllmError):
    """A run that cannot go on: non-finite loss, out of memory, a full disk, no such device."""

    exit_code = 5


class Interrupted(LilllmError):
    """A run stopped by a signal after its state was saved."""

    exit_code = 130
