"""The one exception a user sees: a clear sentence with the remedy."""


class SerqError(Exception):
    """An error that the user can mend.

    Its text is one sentence, shown without a traceback, and the exit code is 1.
    """
