"""The one exception a user sees: a clear sentence that says what to do."""


class SerqError(Exception):
    """Something the user can mend; its text is one sentence, shown without a traceback, and the exit code
    is 1.
    """
