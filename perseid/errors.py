"""The one exception that means "the user can mend this": it names the file, the key and what was expected."""


class UserError(ValueError):
    """Bad input. The command line prints it as one line and exits with status 2; nothing is lost."""

    def __init__(self, where: object, key: str, expected: str) -> None:
        self.where, self.key, self.expected = str(where), key, expected
        super().__init__(f"{where}: {key}: {expected}" if key else f"{where}: {expected}")
