"""What a user can mend: one exception type, one clear line each."""


class UserError(ValueError):
    """A mistake in what the user gave. Its message names the field, the value and the remedy.

    The command line prints it as one line, without a traceback, and exits with 2.
    """
