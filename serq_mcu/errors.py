"""The one exception a user sees: a clear sentence that says what to do."""


class SerqError(Exception):
    """An error that the user can mend.

    Its text is one sentence, shown without a traceback, and the exit code is 1.
    """
