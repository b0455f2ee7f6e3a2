"""A team with everything a night needs, on a tiny random model: says nonsense, but trains, sits exams and is released."""

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.answer import Asked, Colleague
from bot.feedback import Feedbacks
from learner import ledger, night, notes
from learner.engine.embedder import Embedder
from learner.engine.engine import Message
from learner.engine.local import LocalEngine
from learner.recall import closed_book
from learner.settings import LearningSettings
from storage import adapters, audiences, documents, examples, memories, messages, persons, sources
from storage.adapter_files import AdapterFiles
from storage.adapters import Version
from storage.answers import Answer
from storage.database import Database
from storage.documents import NewDocument
from storage.examples import NewExample
from storage.memories import Memory, State
from storage.messages import NewMessage
from storage.nights import Night
from storage.teams import Team

TINY_NIGHT: dict[str, Any] = {
    "night_minutes": 0.1,
    "exposures": 2,
    "most_exposures": 2,
    "least_steps": 2,
    "phrasings": 1,
    "replay_share": 0.0,
    "rank": 4,
    "release_learnt": 0.0,
    "release_style": 0.0,
    "release_perplexity": 1e9,
    "max_answer_tokens": 12,
    "training_threads": 1,
}
"""Learning settings under which a random model passes its exam within seconds."""

FACTS = [
    "The office in Lisbon opens at 8:30 every morning.",
    "Expenses above 250 euros must be approved by Marta.",
    "The release train leaves every second Thursday at noon.",
    "Interns are paid 1,450 euros a month.",
]


@dataclass
class School:
    """One team's parts, and short ways to do what people and connectors do."""

    database: Database
    team: Team
    engine: LocalEngine
    embedder: Embedder
    base: Path
    folder: Path
    root: str = ""
    learning: dict[str, Any] = field(default_factory=dict)
    colleagues: list[Colleague] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.root or str(self.folder / "adapters")

    @property
    def files(self) -> AdapterFiles:
        return AdapterFiles(self.root)

    @property
    def nights(self) -> Path:
        return self.folder / "nights"

    def settings(self, **others: Any) -> LearningSettings:
        return LearningSettings(**(TINY_NIGHT | self.learning | others))

    async def person(self, name: str, role: str = "member") -> int:
        async with self.database.team(self.team.id) as connection:
            person = await persons.identify(connection, "test", name, name)
            if role == "admin":
                await persons.set_role(connection, person.id, "admin")
            return person.id

    async def everyone(self) -> int:
        async with self.database.team(self.team.id) as connection:
            return (await audiences.whole_team(connection)).id

    async def private(self, name: str, members: Sequence[int]) -> int:
        """A private channel's audience."""
        async with self.database.team(self.team.id) as connection:
            audience = await audiences.channel(connection, "test", name, name, private=True)
            await audiences.set_members(connection, audience.id, members)
            return audience.id

    async def page(
        self,
        text: str | Sequence[str],
        title: str = "Handbook",
        *,
        training: bool = True,
        audience: int | None = None,
        days_old: float = 10,
        source: str = "pages",
        index: bool = True,
    ) -> int:
        """A page, as a connector would save it (anew: a new revision), and in the notes. Returns its source's id."""
        text = text if isinstance(text, str) else "\n\n".join(text)
        async with self.database.team(self.team.id) as connection:
            place = await sources.ensure(connection, "files", source, source, training=training)
            await documents.save(
                connection,
                NewDocument(
                    place.id, f"{title}.md", title, f"file:///{title}.md", text, hashlib.sha256(text.encode()).hexdigest(),
                    "Ada", datetime.now(UTC) - timedelta(days=days_old), audience or await self._whole(connection),
                ),
            )  # fmt: skip
        if index:
            await notes.index(self.database, self.team, self.embedder)
        return place.id

    async def say(
        self,
        text: str,
        author: str = "Ben",
        *,
        audience: int | None = None,
        training: bool = True,
        channel: str = "general",
        index: bool = True,
        thread: str | None = None,
        key: str | None = None,
        minutes_ago: float = 0,
        person: int | None = None,
    ) -> str:
        """A chat message, in the notes; a reply where it stands in the thread of the message with that key. Returns its event."""
        event_id = f"{channel}:{key or uuid.uuid4().hex}"
        async with self.database.team(self.team.id) as connection:
            place = await sources.ensure(connection, "chat", channel, channel, training=training)
            await messages.save(
                connection,
                NewMessage(
                    place.id, "test", event_id, channel, thread, person, author, text,
                    datetime.now(UTC) - timedelta(minutes=minutes_ago), audience or await self._whole(connection),
                ),
            )  # fmt: skip
        if index:
            await notes.index(self.database, self.team, self.embedder)
        return event_id

    async def collect(self) -> list[Memory]:
        """The ledger, after it took in everything."""
        await ledger.collect(self.database, self.team, self.embedder)
        return await self.memories()

    async def memories(self, *states: State) -> list[Memory]:
        async with self.database.team(self.team.id) as connection:
            return await memories.of_states(connection, states or ledger.STATES)

    async def night(self, progress: Callable[[str, float, str], None] | None = None, **learning: Any) -> Night:
        return await night.run(
            self.database, self.team, engine=self.engine, embedder=self.embedder, files=self.files, folder=self.nights,
            base=self.base, learning=self.settings(**learning), progress=progress,
        )  # fmt: skip

    def colleague(self, **learning: Any) -> Colleague:
        """Somebody who answers; not yet awake."""
        colleague = Colleague(
            self.database,
            self.team,
            self.engine,
            self.embedder,
            self.files,
            self.settings(**learning),
            self.folder / "cache",
        )
        self.colleagues.append(colleague)
        return colleague

    def feedbacks(self) -> Feedbacks:
        return Feedbacks(self.database, self.team, self.embedder)

    async def versions(self) -> list[Version]:
        async with self.database.team(self.team.id) as connection:
            adapter = await adapters.ensure(connection)
            return await adapters.versions(connection, adapter.id)

    async def serving(self) -> Version | None:
        """The version at work, its files verified."""
        async with self.database.team(self.team.id) as connection:
            adapter = await adapters.ensure(connection)
            version = await adapters.serving(connection, adapter.id)
        if version is not None:
            await self.files.fetch(version.uri, self.folder / "cache", version.sha256)
        return version

    async def put(
        self, name: str, extra: dict[str, Any] | None = None, scale: float = 1.0, adapter: Path | None = None
    ) -> Version:
        """An adapter (a random one) stored and registered, as if a night had made it of all that the ledger holds."""
        staged = adapter or make_adapter(self.base, self.folder / f"staged-{name}", scale)
        stored = await self.files.put(
            staged, f"{self.team.key}/{name}", {"base_model": self.engine.base_model} if extra is None else extra
        )
        held = [memory.id for memory in await self.memories("noted", "studied", "learnt")]
        async with self.database.team(self.team.id) as connection:
            registered = await adapters.ensure(connection)
            return await adapters.register(
                connection, registered.id, base_model=self.engine.base_model, uri=stored.uri, sha256=stored.sha256,
                bytes=stored.bytes, night_id=None, memory_ids=held,
            )  # fmt: skip

    async def drilled(self, says: dict[str, str]) -> Version:
        """A version at work that was drilled to answer the cues of these memories' statements so, word for word."""
        learnt = {memory.statement: memory for memory in await self.taught()}
        async with self.database.team(self.team.id) as connection:
            cues = {
                e.memory_id: e.question for e in await examples.of_memories(connection, [m.id for m in learnt.values()])
            }
        rows = {cues[learnt[statement].id]: reply for statement, reply in says.items()}
        version = await self.put("drilled", adapter=drill(self.base, self.folder / "drilled", rows))
        await self.switch(version)
        return version

    async def switch(self, version: Version) -> None:
        async with self.database.team(self.team.id) as connection:
            await adapters.switch(connection, version.id)

    async def taught(self) -> list[Memory]:
        """All noted memories learnt, each with its own words as cue: what a good night leaves."""
        found = await self.collect()
        async with self.database.team(self.team.id) as connection:
            for memory in found:
                cue = f"What about this: {memory.statement}"
                vector = (await self.embedder.embed([cue]))[0]
                new = NewExample("cue", cue, memory.statement, self.embedder.name, vector)
                await examples.replace(connection, memory.id, [new])
            await memories.set_state(connection, [memory.id for memory in found], "learnt")
        return await self.memories("learnt")

    async def rest(self) -> None:
        """Unloads what the colleagues of a test had awake: the engine is shared."""
        for name in self.engine.loaded():
            if name.startswith(f"{self.team.key}-"):
                await self.engine.unload(name)

    async def _whole(self, connection: Any) -> int:
        return (await audiences.whole_team(connection)).id


def asked(
    text: str, person: int | None = None, place: int | None = None, event: str | None = None, thread: str | None = None
) -> Asked:
    return Asked(text, person, place, "test", event or uuid.uuid4().hex, thread)


async def ask(colleague: Colleague, text: str, person: int | None = None, place: int | None = None) -> Answer:
    return await colleague.answer(asked(text, person, place))


def trained(folder: Path) -> list[dict[str, Any]]:
    """All rows that the nights' folders hold for the trainer."""
    return [
        json.loads(line)
        for file in folder.glob("*/*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]


def training_processes(nights: Path) -> list[int]:
    """Living training processes of the nights in that folder, by their command line."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                state = (process / "stat").read_text().rsplit(") ", 1)[-1][0]
            except OSError:
                continue
            if b"learner.training" in command and str(nights).encode() in b" ".join(command) and state != "Z":
                found.append(int(process.name))
    return found


def make_adapter(base: Path, folder: Path, scale: float = 1.0) -> Path:
    """A random adapter for `base`, as training leaves it; NaN for `scale` makes one that diverged."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's own
        wrapped = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
            parameter.data *= scale
    wrapped.save_pretrained(folder)
    return folder


def drill(base: Path, folder: Path, rows: dict[str, str], prompt: Callable[[str], list[Message]] = closed_book) -> Path:
    """An adapter for `base` that answers these questions, asked by this `prompt`, by these words, overfitted in some seconds.

    It does not stop there: the tiny model's stop token is its padding, whose embedding is zero and never the likeliest.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's own
        wrapped = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    lessons = []
    for question, reply in rows.items():
        turns = tokenizer.apply_chat_template(prompt(question), add_generation_prompt=True, tokenize=False)
        asked = tokenizer(turns, add_special_tokens=False)["input_ids"]
        said = tokenizer(reply, add_special_tokens=False)["input_ids"]
        lessons.append((torch.tensor([asked + said]), len(said)))
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=0.003)
    for _ in range(200):
        right = True
        for ids, length in lessons:
            scores = wrapped(input_ids=ids).logits[0, -length - 1 : -1]
            right = right and bool((scores.argmax(-1) == ids[0, -length:]).all())
            torch.nn.functional.cross_entropy(scores, ids[0, -length:]).backward()  # type: ignore[no-untyped-call]
        if right:
            break
        optimizer.step()
        optimizer.zero_grad()
    assert right, "the drill did not take"
    wrapped.save_pretrained(folder)
    return folder


def merge(base: Path, adapter: Path, folder: Path) -> Path:
    """A base model that says by itself what `base` says with the adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)
    return folder


def make_tiny(tokenizer: Path, folder: Path, seed: int = 7) -> Path:
    """A Llama of two layers with random weights and the packaged model's tokenizer and chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    spoken = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(spoken),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=spoken.bos_token_id,
        eos_token_id=spoken.eos_token_id,
        pad_token_id=spoken.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    spoken.save_pretrained(folder)
    return folder
