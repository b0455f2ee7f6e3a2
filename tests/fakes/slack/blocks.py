"""Which blocks and views Slack takes, after the pages under https://docs.slack.dev/reference/block-kit/.

`check_blocks` and `check_view` return what is wrong, worded as Slack does: a reason with a JSON pointer. An empty list
means that Slack would take it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.slack.objects import Json

NEWER = {"markdown", "context_actions", "table"}
"""Block types that an older server does not know (`mode="old"`)."""

MARKDOWN = 12_000
BLOCKS_TEXT = 13_200
"""All text of a message's blocks together; measured by developers (slackapi/bolt-js issue 2509), not documented."""

STATEFUL = {
    "plain_text_input": "value",
    "email_text_input": "value",
    "url_text_input": "value",
    "number_input": "value",
    "static_select": "selected_option",
    "radio_buttons": "selected_option",
    "overflow": "selected_option",
    "checkboxes": "selected_options",
    "multi_static_select": "selected_options",
    "users_select": "selected_user",
    "multi_users_select": "selected_users",
    "conversations_select": "selected_conversation",
    "multi_conversations_select": "selected_conversations",
    "channels_select": "selected_channel",
    "multi_channels_select": "selected_channels",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
}
"""Elements that hold a value, and the field in which a payload carries it."""

OPTIONS = {
    "static_select": 100,
    "multi_static_select": 100,
    "radio_buttons": 10,
    "checkboxes": 10,
    "overflow": 5,
}
INTERACTIVE = {"button", *STATEFUL} - {"plain_text_input", "email_text_input", "url_text_input", "number_input"}
BUTTONS = {"feedback_buttons", "icon_button"}


class Check:
    """Collects what is wrong with a surface."""

    def __init__(self, surface: str, without: set[str]) -> None:
        self.surface, self.without = surface, without
        self.errors: list[str] = []

    def say(self, reason: str, pointer: str) -> None:
        """Note one error."""
        self.errors.append(f"{reason} [json-pointer:{pointer}]")

    def text(
        self, value: Any, pointer: str, most: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn"), least: int = 1
    ) -> None:
        """A text object of one of `kinds`, with `least` to `most` characters."""
        if not isinstance(value, dict):
            self.say("must provide an object", pointer)
            return
        if value.get("type") not in kinds:
            self.say(f"unsupported type: {value.get('type')}", f"{pointer}/type")
        allowed = {"type", "text", "emoji"} if value.get("type") == "plain_text" else {"type", "text", "verbatim"}
        for extra in sorted(set(value) - allowed):
            self.say(f"additional property: {extra}", f"{pointer}/{extra}")
        self.string(value, "text", pointer, most, required=True, least=least)

    def string(
        self, holder: Json, key: str, pointer: str, most: int, *, required: bool = False, least: int = 0
    ) -> None:
        """A string field of `holder` with `least` to `most` characters."""
        value = holder.get(key)
        if value is None:
            if required:
                self.say(f"missing required field: {key}", pointer)
            return
        if not isinstance(value, str):
            self.say("must provide a string", f"{pointer}/{key}")
        elif len(value) > most:
            self.say(f"must be less than {most + 1} characters", f"{pointer}/{key}")
        elif len(value) < least:
            self.say(f"must be more than {least - 1} characters", f"{pointer}/{key}")

    def items(self, holder: Json, key: str, pointer: str, most: int, least: int = 1) -> list[Any]:
        """A list field with `least` to `most` items; empty where there is none that can be looked at."""
        value = holder.get(key)
        if value is None:
            self.say(f"missing required field: {key}", pointer)
            return []
        if not isinstance(value, list):
            self.say("must provide an array", f"{pointer}/{key}")
            return []
        if len(value) > most:
            self.say(f"no more than {most} items allowed", f"{pointer}/{key}")
        elif len(value) < least:
            self.say(f"no fewer than {least} items allowed", f"{pointer}/{key}")
        return value

    # Elements

    def element(self, element: Any, pointer: str, kinds: set[str]) -> None:
        """An interactive element of one of `kinds`."""
        if not isinstance(element, dict):
            self.say("must provide an object", pointer)
            return
        kind = element.get("type")
        if kind not in kinds:
            self.say(f"unsupported type: {kind}", f"{pointer}/type")
            return
        self.string(element, "action_id", pointer, 255, least=1)
        if "confirm" in element:
            self.confirm(element["confirm"], f"{pointer}/confirm")
        if "placeholder" in element:
            self.text(element["placeholder"], f"{pointer}/placeholder", 150, ("plain_text",))
        if kind == "button":
            self.text(element.get("text"), f"{pointer}/text", 75, ("plain_text",))
            self.string(element, "value", pointer, 2000)
            self.string(element, "url", pointer, 3000)
            self.string(element, "accessibility_label", pointer, 75)
            if element.get("style") not in (None, "primary", "danger"):
                self.say("must be one of: primary, danger", f"{pointer}/style")
        elif kind == "icon_button":
            self.text(element.get("text"), f"{pointer}/text", 75, ("plain_text",))
            self.string(element, "icon", pointer, 75, required=True)
            self.string(element, "value", pointer, 2000)
            self.string(element, "accessibility_label", pointer, 75)
        elif kind == "feedback_buttons":
            for side in ("positive_button", "negative_button"):
                self.feedback(element.get(side), side, pointer)
        elif kind in OPTIONS:
            self.options(element, pointer, OPTIONS[kind])
        elif kind == "plain_text_input":
            self.string(element, "initial_value", pointer, 3000)
            for key in ("min_length", "max_length"):
                if key in element and not 0 <= int(element[key]) <= 3000:
                    self.say("must be between 0 and 3000", f"{pointer}/{key}")

    def feedback(self, button: Any, side: str, pointer: str) -> None:
        """One of the two buttons of feedback_buttons."""
        if not isinstance(button, dict):
            self.say(f"missing required field: {side}", pointer)
            return
        self.text(button.get("text"), f"{pointer}/{side}/text", 75, ("plain_text",))
        self.string(button, "value", f"{pointer}/{side}", 2000, required=True)
        self.string(button, "accessibility_label", f"{pointer}/{side}", 75)

    def options(self, element: Json, pointer: str, most: int) -> None:
        """The options (or option groups) of a select, radio buttons, checkboxes or an overflow menu."""
        if "option_groups" in element:
            for index, group in enumerate(self.items(element, "option_groups", pointer, 100)):
                at = f"{pointer}/option_groups/{index}"
                self.text(group.get("label"), f"{at}/label", 75, ("plain_text",))
                self.options(group, at, 100)
            return
        for index, option in enumerate(self.items(element, "options", pointer, most)):
            at = f"{pointer}/options/{index}"
            if not isinstance(option, dict):
                self.say("must provide an object", at)
                continue
            rich = element.get("type") in ("radio_buttons", "checkboxes")
            self.text(option.get("text"), f"{at}/text", 75, ("plain_text", "mrkdwn") if rich else ("plain_text",))
            self.string(option, "value", at, 150, required=True)
            if "description" in option:
                self.text(option["description"], f"{at}/description", 75)
            for extra in sorted(set(option) - {"text", "value", "description", "url"}):
                self.say(f"additional property: {extra}", f"{at}/{extra}")
        initial = element.get("initial_option")
        if initial is not None and initial not in element.get("options", []):
            self.say("initial_option must match one of the options", f"{pointer}/initial_option")

    def confirm(self, confirm: Any, pointer: str) -> None:
        """A confirmation dialog."""
        if not isinstance(confirm, dict):
            self.say("must provide an object", pointer)
            return
        self.text(confirm.get("title"), f"{pointer}/title", 100, ("plain_text",))
        self.text(confirm.get("text"), f"{pointer}/text", 300)
        self.text(confirm.get("confirm"), f"{pointer}/confirm", 30, ("plain_text",))
        self.text(confirm.get("deny"), f"{pointer}/deny", 30, ("plain_text",))

    # Blocks

    def block(self, block: Any, pointer: str) -> None:
        """One block."""
        if not isinstance(block, dict):
            self.say("must provide an object", pointer)
            return
        kind = block.get("type")
        checks: dict[str, Callable[[Json, str], None]] = {
            "section": self.section,
            "header": lambda block, at: self.text(block.get("text"), f"{at}/text", 150, ("plain_text",)),
            "markdown": lambda block, at: self.string(block, "text", at, MARKDOWN, required=True, least=1),
            "divider": lambda block, at: None,
            "context": self.context,
            "actions": self.actions,
            "context_actions": self.context_actions,
            "input": self.input,
            "rich_text": lambda block, at: self.ignore(self.items(block, "elements", at, 1000, 0)),
            "table": self.table,
            "image": self.image,
        }
        if not isinstance(kind, str) or kind not in checks or kind in self.without:
            self.say(f"unsupported type: {kind}", f"{pointer}/type")
            return
        if self.surface != "message" and kind in ("markdown", "context_actions", "table"):
            self.say(f"unsupported type: {kind}", f"{pointer}/type")
            return
        self.string(block, "block_id", pointer, 255)
        checks[kind](block, pointer)
        seen: set[str] = set()
        for element in elements_of(block):
            action_id = element.get("action_id")
            if action_id and action_id in seen:
                self.say(f"`action_id` {action_id} already exists for this block", pointer)
            seen.add(action_id or "")

    def ignore(self, items: list[Any]) -> None:
        """Take items that are not looked into."""

    def section(self, block: Json, pointer: str) -> None:
        """A section needs text or fields, and may have one element beside it."""
        if block.get("text") is None and block.get("fields") is None:
            self.say("must define either `text` or `fields`", pointer)
        if block.get("text") is not None:
            self.text(block["text"], f"{pointer}/text", 3000)
        if block.get("fields") is not None:
            for index, value in enumerate(self.items(block, "fields", pointer, 10)):
                self.text(value, f"{pointer}/fields/{index}", 2000)
        if "accessory" in block:
            self.element(block["accessory"], f"{pointer}/accessory", INTERACTIVE | {"image"})

    def context(self, block: Json, pointer: str) -> None:
        """Small texts and images."""
        for index, element in enumerate(self.items(block, "elements", pointer, 10)):
            at = f"{pointer}/elements/{index}"
            if isinstance(element, dict) and element.get("type") == "image":
                self.image(element, at)
            else:
                self.text(element, at, 3000)

    def actions(self, block: Json, pointer: str) -> None:
        """A row of interactive elements."""
        for index, element in enumerate(self.items(block, "elements", pointer, 25)):
            self.element(element, f"{pointer}/elements/{index}", INTERACTIVE)

    def context_actions(self, block: Json, pointer: str) -> None:
        """Feedback and icon buttons."""
        for index, element in enumerate(self.items(block, "elements", pointer, 5)):
            self.element(element, f"{pointer}/elements/{index}", BUTTONS)

    def input(self, block: Json, pointer: str) -> None:
        """A labelled field of a form."""
        self.text(block.get("label"), f"{pointer}/label", 2000, ("plain_text",))
        if "hint" in block:
            self.text(block["hint"], f"{pointer}/hint", 2000, ("plain_text",))
        if block.get("element") is None:
            self.say("missing required field: element", pointer)
        else:
            self.element(block["element"], f"{pointer}/element", set(STATEFUL) - {"overflow"})

    def table(self, block: Json, pointer: str) -> None:
        """Rows of cells."""
        for index, row in enumerate(self.items(block, "rows", pointer, 100)):
            if not isinstance(row, list) or len(row) > 20:
                self.say("no more than 20 items allowed", f"{pointer}/rows/{index}")

    def image(self, block: Json, pointer: str) -> None:
        """A picture by its address."""
        self.string(block, "image_url", pointer, 3000, required=True)
        self.string(block, "alt_text", pointer, 2000, required=True)

    def all(self, blocks: Any, pointer: str, most: int) -> None:
        """A surface's blocks together."""
        if not isinstance(blocks, list):
            self.say("must provide an array", pointer)
            return
        if len(blocks) > most:
            self.say(f"no more than {most} items allowed", pointer)
        seen: set[str] = set()
        for index, block in enumerate(blocks):
            self.block(block, f"{pointer}/{index}")
            block_id = block.get("block_id") if isinstance(block, dict) else None
            if block_id and block_id in seen:
                self.say(f"`block_id` {block_id} already exists", f"{pointer}/{index}/block_id")
            seen.add(block_id or "")
        markdown = [block for block in blocks if isinstance(block, dict) and block.get("type") == "markdown"]
        if len(markdown) > 1 and sum(len(str(block.get("text", ""))) for block in markdown) > MARKDOWN:
            self.say(f"markdown text must be less than {MARKDOWN + 1} characters in total", pointer)


def check_blocks(blocks: Any, old: bool = False) -> list[str]:
    """What is wrong with a message's blocks."""
    check = Check("message", NEWER if old else set())
    check.all(blocks, "/blocks", 50)
    return check.errors


def check_view(view: Any, old: bool = False) -> list[str]:
    """What is wrong with a modal or Home view."""
    check = Check("view", NEWER if old else set())
    if not isinstance(view, dict):
        return ["must provide an object [json-pointer:/view]"]
    kind = view.get("type")
    if kind not in ("modal", "home"):
        check.say("missing required field: type" if kind is None else f"unsupported type: {kind}", "/view")
    if kind == "modal":
        if view.get("title") is None:
            check.say("missing required field: title", "/view")
        for key in ("title", "submit", "close"):
            if view.get(key) is not None:
                check.text(view[key], f"/view/{key}", 24, ("plain_text",))
    if view.get("blocks") is None:
        check.say("missing required field: blocks", "/view")
    else:
        check.all(view["blocks"], "/view/blocks", 100)
        forms = any(isinstance(block, dict) and block.get("type") == "input" for block in view["blocks"])
        if kind == "modal" and forms and not view.get("submit"):
            check.say("missing required field: submit", "/view")
    check.string(view, "private_metadata", "/view", 3000)
    check.string(view, "callback_id", "/view", 255)
    check.string(view, "external_id", "/view", 255)
    return check.errors


def elements_of(block: Json) -> Iterator[Json]:
    """The interactive elements of a block."""
    for holder in (block.get("accessory"), block.get("element"), *(block.get("elements") or [])):
        if isinstance(holder, dict) and (holder.get("type") in INTERACTIVE | BUTTONS or holder.get("type") in STATEFUL):
            yield holder


def text_length(node: Any) -> int:
    """The characters of all texts in blocks."""
    if isinstance(node, list):
        return sum(text_length(item) for item in node)
    if isinstance(node, dict):
        return sum(
            len(value) if key == "text" and isinstance(value, str) else text_length(value)
            for key, value in node.items()
        )
    return 0
