"""What can go wrong in storage. A docstring is the operator's message where the raiser gives no better one."""

import inspect


class NightschoolError(Exception):
    """Something went wrong that Nightschool can name; the message says what happened and what to do."""

    def __str__(self) -> str:
        return super().__str__() or inspect.cleandoc(type(self).__doc__ or "")


class StorageError(NightschoolError):
    """The storage could not do what was asked."""


class DatabaseAway(StorageError):
    """PostgreSQL cannot be reached. Check that it runs and that DATABASE_URL is right, then try again."""


class DatabaseTooOld(StorageError):
    """Nightschool needs PostgreSQL 15 or newer. Upgrade the server or unset DATABASE_URL for the embedded one."""


class DatabaseFull(StorageError):
    """PostgreSQL has no room left on its disk; nothing was written. Free some space and try again."""


class NoPgvector(StorageError):
    """The database lacks the extension pgvector. Install it and run: CREATE EXTENSION vector;"""


class NoAppRole(StorageError):
    """The role nightschool_app is missing and this user may not create or use it. As an administrator run:
    CREATE ROLE nightschool_app NOLOGIN; GRANT nightschool_app TO <the user in DATABASE_URL>;"""


class MigrationChanged(StorageError):
    """A migration that was already applied differs from the one in this release. Install an unmodified release."""


class SchemaNewer(StorageError):
    """The database was migrated by a newer Nightschool. Install that version or a later one."""


class NotFound(StorageError):
    """There is no such row for this team. Check the id (another team's rows are never shown)."""


class UnknownAnswer(NotFound):
    """There is no such answer for this team, so the feedback on it was not kept. Check the answer's id."""


class NightUnderWay(StorageError):
    """A night of this adapter is running already. Wait for its end; a killed one is taken over after 30 seconds."""


class NightLost(StorageError):
    """This night was taken over by another worker or has ended. Stop here: the other one carries it on."""


class VersionUnusable(StorageError):
    """This version was refused, erased or is not there: it cannot go to work. Choose one of `nightschool adapters`."""


class AdapterNotStored(StorageError):
    """The adapter could not be written; nothing half done is left behind. Free some disk space and try again."""


class AdapterCorrupt(StorageError):
    """The adapter's files differ from their manifest. Roll back to another version and run a night anew."""
