"""What Prometheus may know of this process and of the team: counts, seconds, tokens; never words."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from storage import adapters, events, nights
from storage.answers import Answer
from storage.database import Database
from storage.teams import Team

CONTENT_TYPE = CONTENT_TYPE_LATEST

ANSWERS = Counter("nightschool_answers", "Answers given.", ["surface", "route"])
SECONDS = Histogram(
    "nightschool_answer_seconds",
    "From the question to the whole answer.",
    ["route"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
)
TOKENS = Counter("nightschool_tokens", "Tokens spent on answers.", ["route", "kind"])
FEEDBACK = Counter("nightschool_feedback", "Feedback taken in.", ["surface", "kind"])
EVENTS = Counter("nightschool_events", "Events of chat platforms.", ["surface", "outcome"])
EVENTS_WAITING = Gauge("nightschool_events_waiting", "Events kept and not worked off yet, over all teams.")
EVENTS_OLDEST = Gauge("nightschool_events_oldest_seconds", "How long the oldest event that is due has waited.")
ERRORS = Counter("nightschool_errors", "Requests and jobs that failed.", ["kind"])
NIGHTS = Gauge("nightschool_nights", "Nights so far, by how they ended (running: under way).", ["team", "state"])
NIGHT_SECONDS = Gauge("nightschool_last_night_seconds", "How long the latest ended night took.", ["team"])
NIGHT_ENDED = Gauge("nightschool_last_night_ended_timestamp", "When the latest ended night ended.", ["team"])
SERVING = Gauge("nightschool_serving_version", "Number of the adapter version at work; 0: none yet.", ["team"])
DATABASE_UP = Gauge("nightschool_database_up", "1 while the database answers.")

_NIGHT_STATES = ("running", "released", "rejected", "failed", "empty")


def answered(answer: Answer) -> None:
    """Counts an answer with its route, seconds and tokens."""
    ANSWERS.labels(answer.surface, answer.route).inc()
    SECONDS.labels(answer.route).observe(answer.latency_ms / 1000)
    TOKENS.labels(answer.route, "prompt").inc(answer.prompt_tokens)
    TOKENS.labels(answer.route, "completion").inc(answer.completion_tokens)


def feedback(surface: str, kind: str) -> None:
    """Counts one event of feedback: thumbs, emoji, correction, retraction."""
    FEEDBACK.labels(surface, kind).inc()


def event(surface: str, outcome: str, count: int = 1) -> None:
    """Counts events: `kept` (acknowledged), `done`, `later` (to be tried again), `given_up`."""
    EVENTS.labels(surface, outcome).inc(count)


def failed(error: BaseException) -> None:
    """Counts a failure under the name of its class."""
    ERRORS.labels(type(error).__name__).inc()


async def refresh_queue(database: Database) -> None:
    """Reads how much waits in the inbox of all processes."""
    async with database.system() as connection:
        count, seconds = await events.waiting(connection)
    EVENTS_WAITING.set(count)
    EVENTS_OLDEST.set(max(seconds, 0.0))


async def refresh(database: Database, team: Team) -> None:
    """Reads the team's nights and serving version anew, whichever process made them."""
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
        serving = await adapters.serving(connection, adapter.id)
        held = await nights.all(connection)
    for state in _NIGHT_STATES:
        NIGHTS.labels(team.key, state).set(sum(night.state == state for night in held))
    SERVING.labels(team.key).set(serving.number if serving else 0)
    ended = [(night.ended_at, night.started_at) for night in held if night.ended_at]
    if ended:
        end, start = max(ended)
        NIGHT_SECONDS.labels(team.key).set((end - start).total_seconds())
        NIGHT_ENDED.labels(team.key).set(end.timestamp())


def exposed() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
