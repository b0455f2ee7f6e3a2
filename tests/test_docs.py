"""The docs say what the code does: commands, settings, metrics, errors, targets, benches, paths and links, all compared.

`.venv/bin/python -m tests.test_docs` writes the table of settings in docs/operate.md anew.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase

from bot import metrics
from bot.cli import app
from bot.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("README.md")])
OPERATE = ROOT / "docs" / "operate.md"
ROOMS = ("storage", "connectors", "learner", "bot")
SETTINGS = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.S)
GROUP = typer.main.get_command(app)
OTHER_VARIABLES = {"NIGHTSCHOOL_TEST_CACHE"}  # of the tests
OTHER_NAMES = {
    "nightschool_app",
    "nightschool_adapters",
    "nightschool_confine",
}  # role, channel of NOTIFY, SQL function


def code(text: str) -> Iterator[str]:
    """Each line of the fenced blocks (continued lines joined), and each span between single backticks."""
    fenced = re.compile(r"^ *```\w*\n(.*?)^ *```", re.S | re.M)
    for block in fenced.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", fenced.sub("", text)))


def pages() -> Iterator[tuple[str, str]]:
    """Every page's name and text."""
    for page in PAGES:
        yield str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")


def everywhere() -> Iterator[tuple[str, str]]:
    """Every piece of code of every page, with the page's name."""
    for name, text in pages():
        for piece in code(text):
            yield name, piece


def section(title: str) -> str:
    """The part of docs/operate.md below a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", OPERATE.read_text(encoding="utf-8"), re.S | re.M)
    assert found, f"docs/operate.md has no section {title!r}"
    return found[1]


def command_lines() -> list[tuple[str, str]]:
    """What the docs tell people to type after `nightschool`, with the page's name."""
    begins = re.compile(r"^(?:ExecStart=|\$ )?(?:\w+=\S+ )*(?:[\w./-]+/)?nightschool(?= |$)")
    found = []
    for name, piece in everywhere():
        if match := begins.match(piece.strip()):
            found.append((name, re.split(r"\s(?:\||<|>|&&|#)\s?|;", piece.strip()[match.end() :])[0]))
    return found


def subcommands() -> set[str]:
    assert isinstance(GROUP, typer.core.TyperGroup)
    return set(GROUP.commands)


def test_every_command_is_documented() -> None:
    operating = (ROOT / "README.md").read_text() + OPERATE.read_text()
    spans = list(code(operating))
    missing = [name for name in subcommands() if not any(f"nightschool {name}" in piece for piece in spans)]
    assert not missing


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_every_command_line_parses(page: str, line: str) -> None:
    assert isinstance(GROUP, typer.core.TyperGroup)
    words = shlex.split(line)
    if not words or words[0] in ("-h", "--help"):
        return
    # Parsing raises for a command, an option or a value that is not; nothing is run.
    context = GROUP.make_context("nightschool", list(words))
    named = next((word for word in words if word in GROUP.commands), None)
    assert named, f"{page}: nightschool{line} names no command"
    command = GROUP.commands[named]
    rest = words[words.index(named) + 1 :]
    if isinstance(command, typer.core.TyperGroup) and rest:
        assert rest[0] in command.commands, f"{page}: nightschool{line} names no command"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest not in (["--help"], ["-h"]):
        command.make_context(named, rest, parent=context)


def settings_table() -> str:
    """The table of settings as it must stand in docs/operate.md."""
    from bot.slack.settings import SlackSettings
    from learner.settings import LearningSettings

    models = {"": Settings, "learning": LearningSettings, "slack": SlackSettings}
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for one in Settings().resolved():
        part, _, leaf = one.name.rpartition(".")
        meaning = (models[part].model_fields[leaf].description or "").replace("|", "\\|")
        rows.append(f"| `{one.name}` | {'' if one.value == '-' else f'`{one.value}`'} | {meaning} |")
    return "\n".join(rows) + "\n"


def test_every_setting_is_in_the_table_with_its_true_default() -> None:
    found = SETTINGS.search(OPERATE.read_text(encoding="utf-8"))
    assert found, "docs/operate.md has lost its marks around the table of settings"
    assert found[0] == f"{found[1]}{settings_table()}{found[2]}", "run: .venv/bin/python -m tests.test_docs"


def test_every_variable_and_toml_key_in_the_docs_is_a_setting() -> None:
    names = {one.name for one in Settings().resolved()}
    variables = {PREFIX + name.upper().replace(".", "__") for name in names} | OTHER_VARIABLES
    for page, text in pages():
        named = {name.rstrip("_") for name in re.findall(rf"\b{PREFIX}\w+", text)}
        assert named <= variables, f"{page}: {sorted(named - variables)}"
        for block in re.findall(r"^```toml\n(.*?)^```", text, re.S | re.M):
            Settings(**tomllib.loads(block))


def test_metrics_are_those_of_the_code() -> None:
    exposed = set()
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            [family] = one.describe()
            exposed.add(family.name + ("_total" if family.type == "counter" else ""))
    assert set(re.findall(r"^\| `(nightschool_\w+)", section("Metrics"), re.M)) == exposed
    for page, text in pages():
        named = set(re.findall(r"\bnightschool_[a-z_]+\b", text)) - OTHER_NAMES
        assert named <= exposed, f"{page}: {sorted(named - exposed)}"


def test_every_error_is_explained() -> None:
    bases: dict[str, set[str]] = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(b.id for b in node.bases if isinstance(b, ast.Name))
    ours = {"NightschoolError"}
    while grown := {name for name, above in bases.items() if above & ours} - ours:
        ours |= grown
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", section("Errors"), re.M))))
    assert explained == ours - {"NightschoolError", "StorageError"}


def test_every_error_of_slack_is_in_its_troubleshooting() -> None:
    tree = ast.parse((ROOT / "bot" / "slack" / "calls.py").read_text(encoding="utf-8"))
    raised = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.bases}
    page = (ROOT / "docs" / "slack.md").read_text(encoding="utf-8").partition("\n## Troubleshooting\n")[2]
    rows = " ".join(re.findall(r"^\| (.*?) \|", page, re.M))
    assert raised | {"Later", "Hopeless"} <= set(re.findall(r"`(\w+)`", rows))


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    for page, piece in everywhere():
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", piece.split("#")[0]):
            assert target in targets, f"{page}: make {target}"


def test_every_module_and_its_options_exist() -> None:
    for page, piece in everywhere():
        for module, rest in re.findall(r"python -m ((?:bench|learner|bot)\.\w+)(.*)", piece):
            path = ROOT / module.replace(".", "/")
            source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__main__.py"
            assert source.is_file(), f"{page}: python -m {module}"
            for option in re.findall(r"--[a-z-]+", rest):
                assert f'"{option}"' in source.read_text(), f"{page}: {module} has no {option}"


def test_every_path_in_the_docs_exists() -> None:
    ours = re.compile(rf"(?:{'|'.join(ROOMS)}|bench|tests|docs|examples)/[\w./*-]*")
    for page, piece in everywhere():
        for path in [piece] if ours.fullmatch(piece) else []:
            assert list(ROOT.glob(path.rstrip("/"))), f"{page}: {path}"


def test_every_link_leads_somewhere() -> None:
    for page, text in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            aim = (ROOT / page).parent / path if path else ROOT / page
            assert aim.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in anchors(aim), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_hooks_run_what_make_check_runs() -> None:
    checks = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert checks
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for line in checks[1].splitlines():
        assert line.strip().replace("$(BIN)", ".venv/bin") in hooks, line


if __name__ == "__main__":
    text = OPERATE.read_text(encoding="utf-8")
    new = SETTINGS.sub(lambda found: found[1] + settings_table() + found[2], text)
    OPERATE.write_text(new, encoding="utf-8")
