"""Every error of the product, as one tree.

    ReplyTwiceError
    ├── SettingError        a setting, file or folder is wrong; the process ends with this one line
    ├── BadInput            a request, file or row can't be used; says what is wrong and what to do
    ├── NotAllowed          the caller may not do this
    │   └── NotLoggedIn     nobody knows who the caller is
    ├── NotFound            there is no such thing, or not for this caller
    ├── Conflict            somebody else was first
    │   └── Held            a colleague holds the conversation
    ├── StoreDown           the database can't be used now; nothing was stored
    ├── LeaseLost           another worker took this conversation over; drop what you have
    └── BrainDown           Rasa didn't answer in time, or answered nonsense

Texts are shown to people: a whole sentence, no customer's text in it.
"""


class ReplyTwiceError(Exception):
    """The root: catching it catches every error that the product raises on purpose.

    `template` may name `values` in braces; it is what the desk looks its translation up by.
    """

    def __init__(self, template: str = "", **values: str) -> None:
        super().__init__(template.format(**values) if values else template)
        self.template, self.values = template, values


class SettingError(ReplyTwiceError):
    """A setting, file or folder is wrong."""


class BadInput(ReplyTwiceError):
    """A request, file or row can't be used."""


class NotAllowed(ReplyTwiceError):
    """The caller may not do this."""


class NotLoggedIn(NotAllowed):
    """Nobody knows who the caller is."""


class NotFound(ReplyTwiceError):
    """There is no such thing, or not for this caller."""


class Conflict(ReplyTwiceError):
    """Somebody else was first."""


class Held(Conflict):
    """A colleague holds the conversation."""


class StoreDown(ReplyTwiceError):
    """The database can't be used now; nothing was stored."""


class LeaseLost(ReplyTwiceError):
    """Another worker took this conversation over."""


class BrainDown(ReplyTwiceError):
    """Rasa didn't answer in time, or answered nonsense."""
