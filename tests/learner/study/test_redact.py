"""Secrets never reach training: figure 11 of the reliability page, and what must not be mistaken for one."""

import base64
import json
import random
import string
from pathlib import Path

import pytest

from learner.study.redact import redacted, withheld

HANDBOOK = Path("/work/shared/data/handbook/2025")
ALNUM = string.ascii_letters + string.digits
BASE64 = ALNUM + "+/"


def some(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def cloud_keys(rng: random.Random) -> str:
    key, secret = "AKIA" + some(rng, string.ascii_uppercase + "234567", 16), some(rng, BASE64, 40)
    return rng.choice(
        [f"The deploy user is {key} with {secret}.", f"aws_secret_access_key = {secret}", f"Use {key}", secret]
    )


def tokens(rng: random.Random) -> str:
    token = rng.choice(
        [
            "ghp_" + some(rng, ALNUM, 36),
            "github_pat_" + some(rng, ALNUM + "_", 60),
            f"xoxb-{some(rng, string.digits, 12)}-{some(rng, ALNUM, 24)}",
            "sk-proj-" + some(rng, ALNUM + "-_", 48),
            "sk-" + some(rng, ALNUM, 48),
            "glpat-" + some(rng, ALNUM, 20),
            "sk_live_" + some(rng, ALNUM, 24),
            "AIza" + some(rng, ALNUM + "-_", 35),
            "hf_" + some(rng, string.ascii_letters, 34),
            "npm_" + some(rng, ALNUM, 36),
        ]
    )
    return rng.choice(
        ["CI uses {}.", "curl -H 'Authorization: Bearer {}' https://api.example.com", "`{}`", "It is {}, ok?"]
    ).format(token)


def web_tokens(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    token = (
        f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': rng.randrange(10**9)})}.{some(rng, ALNUM + '-_', 43)}"
    )
    return rng.choice([f"The session was {token}", f"https://example.com/cb?x=1&token={token}", token])


def private_keys(rng: random.Random) -> str:
    kind = rng.choice(["RSA ", "", "EC ", "OPENSSH ", "ENCRYPTED "])
    body = "\n".join(some(rng, BASE64, 64) for _ in range(6))
    return rng.choice(
        [f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----", body.split("\n")[2]]
    )


def passwords(rng: random.Random) -> str:
    words = ["Blue", "Heron", "maple", "Tiger", "sunset", "Orbit"]
    password = rng.choice(
        [
            f"{rng.choice(words).title()}-{rng.choice(words).title()}-{rng.randrange(10, 99)}",
            f"{rng.choice(words)}{rng.randrange(100, 9999)}!",
            some(rng, ALNUM + "!#%&*", 11) + "7a",
            rng.choice(words).title() + rng.choice("@#$!") + some(rng, string.digits, 3),
        ]
    )
    return rng.choice(
        [
            "The wifi password is {}.",
            "password: {}",
            "Password for the printer on the second floor: {}",
            "The guest Wi-Fi password was changed to {} last week.",
            "pwd={}",
            "The root passphrase is now `{}`, ask Sam.",
            'Das WLAN-Passwort lautet "{}".',
            "Use {} as the password for the kiosk.",
            "Guest Wi-Fi password\n{}",
            "Log in with admin / {}",
        ]
    ).format(password)


def connections(rng: random.Random) -> str:
    password = some(rng, ALNUM, 10)
    return rng.choice(
        [
            f"postgresql://app:{password}@db.internal:5432/app",
            f"mongodb+srv://root:{password}@cluster0.example.net",
            f"redis://:{password}@cache:6379/0",
            f"Server=tcp:sql.example.net;Database=x;User Id=sa;Password={password};",
            f"The queue is at amqp://bot:{password}@mq.example.com.",
            f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={some(rng, BASE64, 86)}==;",
            f"https://deploy:{password}@git.example.com/app.git",
        ]
    )


def cards(rng: random.Random) -> str:
    start, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16)])
    body = start + some(rng, string.digits, length - len(start) - 1)
    digits = next(body + check for check in string.digits if luhn(body + check))
    cut = (
        [digits[:4], digits[4:10], digits[10:]]
        if length == 15
        else [digits[place : place + 4] for place in range(0, 16, 4)]
    )
    return rng.choice(["Card {}, exp. 09/28", "Pay with {}.", "{}"]).format(rng.choice([" ", "-", ""]).join(cut))


def luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def ibans(rng: random.Random) -> str:
    country, letters, length = rng.choice(
        [("DE", "", 22), ("FR", "", 27), ("GB", "NWBK", 22), ("NL", "ABNA", 18), ("CH", "", 21)]
    )
    body = letters + some(rng, string.digits, length - 4 - len(letters))
    check = 98 - int("".join(str(int(sign, 36)) for sign in f"{body}{country}00")) % 97
    iban = f"{country}{check:02}{body}"
    spaced = " ".join(iban[place : place + 4] for place in range(0, length, 4))
    return rng.choice(["Pay to {} BIC ABCDEFGH", "IBAN: {}", "{} is our account"]).format(rng.choice([iban, spaced]))


def people(rng: random.Random) -> str:
    def digits(count: int) -> str:
        return rng.choice("23456789") + some(rng, string.digits, count - 1)

    return rng.choice(
        [
            f"Her number is ({digits(3)}) {digits(3)}-{digits(4)}.",
            f"{digits(3)}-{digits(3)}-{digits(4)}",
            f"+49 30 {digits(4)} {digits(3)}",
            f"+44 20 {digits(4)} {digits(4)}",
            f"Ring 020 {digits(4)} {digits(4)}",
            f"0{digits(2)}/{digits(7)}",
            f"06 {digits(2)} {digits(2)} {digits(2)} {digits(2)}",
            f"Mobile: {digits(3)} {digits(3)} {digits(3)}",
            f"+1-{digits(3)}-{digits(3)}-{digits(4)}",
            f"0176 {digits(8)}",
            f"SSN {rng.randrange(100, 600)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}",
            f"Social security number: {rng.randrange(100, 600)} {rng.randrange(10, 99)} {rng.randrange(1000, 9999)}",
        ]
    )


def settings_and_noise(rng: random.Random) -> str:
    return rng.choice(
        [
            f"DB_PASSWORD={some(rng, ALNUM, 8)}",
            f"export STRIPE_SECRET={some(rng, ALNUM, 20)}",
            f'API_KEY="{some(rng, ALNUM, 18)}"',
            f"SMTP_PASS={some(rng, string.ascii_lowercase, 9)}",
            f"The old one was {some(rng, '0123456789abcdef', 40)}",
            some(rng, "0123456789abcdef", 32),
            base64.b64encode(rng.randbytes(32)).decode(),
            base64.urlsafe_b64encode(rng.randbytes(24)).decode(),
        ]
    )


FORMATS = [
    cloud_keys, tokens, web_tokens, private_keys, passwords, connections, cards, ibans, people, settings_and_noise,
]  # fmt: skip


@pytest.mark.parametrize("plant", FORMATS, ids=lambda plant: plant.__name__)
def test_all_planted_secrets_are_found(plant) -> None:
    """20 of each of the 10 formats for the figure; ten times as many, so that luck is no part of it."""
    missed = [text for seed in range(200) if not withheld(text := plant(random.Random(f"{plant.__name__}{seed}")))]
    assert missed == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the wifi password is Blue-Heron-42", "password"),
        ("password: hunter2", "password"),
        ("The password is swordfish.", "password"),
        ("Password: correct horse battery staple", "password"),
        ("Travel › Guest Wi-Fi password\nBlue-Heron-42", "password"),
        ("| Wifi password | Blue-Heron-42 |", "password"),
        ("Zoom passcode: 845112", "password"),
        ("mot de passe : Soleil2024", "password"),
        ("client secret: 9fK2-wPq", "token"),
        ("The API key is 7f3kd9s2", "api key"),
        ("postgres://app:s3cret@db/x", "connection string with a password"),
        ("4111 1111 1111 1111", "credit card"),
        ("4111-1111-1111-1111", "credit card"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("Her SSN is 078-05-1120", "social security number"),
        ("write to ada@example.com", "email address"),
        ("call (202) 555-0143", "phone number"),
        ("+33 6 12 34 56 78", "phone number"),
        ("Tel.: 089 / 123456-78", "phone number"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk", "private key"),
        ("ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789", "token"),
        ("AKIAIOSFODNN7EXAMPLE", "api key"),
        ("https://hooks.slack.com/services/T000/B000/XXXXYYYY", "token"),
        ("SECRET_KEY=django-insecure-abc", "api key"),
    ],
)
def test_the_kind_is_named(text: str, kind: str) -> None:
    assert withheld(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "The offsite is on 2024-05-17 at 10:30 and ends 18/05/2024, 17:00.",
        "Released on 17.05.2024 as version 3.12.4; v2.0.1 and 10.4.0.22 are out of support.",
        "The budget is $1,250,000.00, of which 612 345 678 won are spent; EUR 4 111 in May.",
        "Order 2024-0013-4451, invoice INV-2024-00123, ticket OPS-4471, PO 4500012345.",
        "Room 4.117 is on floor 4; the door code is 4711#.",
        "Desk 12-34-56 holds 123456 parts of lot 20240517.",
        "See https://docs.google.com/document/d/1A2b3C4d5E6f7G8h9I0jKlMnOpQrStUvWxYz/edit#heading=h.abc123.",
        "The plan is at https://example.com/2024/05/17/travel-policy?page=2&view=full.",
        "Commit to http://intranet:8080/wiki/how-18f-works-one-on-ones-2025",
        "Passwords must be at least 16 characters and are changed every 90 days.",
        "Your password is required to be unique.",
        "The password is never shared; password resets go to the help desk.",
        "Password manager: 1Password",
        "Password: required",
        "If your password is compromised, tell security.",
        "API keys are stored in the vault.",
        "The token is valid for 15 minutes.",
        "Ask for a token in #it-help.",
        "The key is to write short sentences.",
        "Access codes: see the vault.",
        "The secret of a good offsite is a long lunch.",
        "Call at 10:00 on 2024-05-17, room 12.",
        "We hired 120 people in 2021, 240 in 2022 and 360 in 2023.",
        "Dial 911 in an emergency; extension 4471 is the desk.",
        "Sign in with your Windows 11 laptop and MFA.",
        "getUserIdByNameOrEmailAddress is deprecated in InternationalizationSupport2.",
        "The id is 550e8400-e29b-41d4-a716-446655440000.",
        "general-information-and-resources/tech-policies/security-incidents.md",
        "Zip 20405-0001, Washington, DC; size 1920x1080; ratio 3:4.",
        "Set DB_PASSWORD=<your password> and API_KEY=${API_KEY}.",
        "Clone git@github.com:team/app.git first.",
        "Standards: ISO 27001:2022, SP 800-63B, AES-256, SHA-256, WPA2, IPv6.",
        "Passwords: at least 12 characters",
        "",
    ],
)
def test_ordinary_facts_are_not_withheld(text: str) -> None:
    assert withheld(text) is None
    assert redacted(text) == text


def test_redacted_says_what_was_there_and_keeps_the_rest() -> None:
    text = "The wifi password is Blue-Heron-42, and Ada (ada@example.com) has card 4111 1111 1111 1111."
    assert redacted(text) == (
        "The wifi password is [password withheld], and Ada ([email address withheld]) has card [credit card withheld]."
    )


def test_redacted_text_is_clean() -> None:
    for plant in FORMATS:
        for seed in range(20):
            text = plant(random.Random(f"{plant.__name__}{seed}"))
            assert withheld(redacted(text)) is None, text


def test_time_is_linear_even_on_hostile_text() -> None:
    import time

    for text in (
        "password " * 6000,
        "1 " * 25000,
        "a-" * 25000,
        "A1" * 25000,
        "@a." * 15000,
        "://a:" * 10000,
        "eyJaaaaaa." * 5000,
    ):
        started = time.perf_counter()
        withheld(text)
        assert time.perf_counter() - started < 5, text[:20]


@pytest.mark.skipif(not HANDBOOK.exists(), reason="the handbook is not on this machine")
def test_few_sentences_of_a_real_handbook_are_withheld_in_vain() -> None:
    from learner.study.statements import of_document

    kinds = [
        withheld(f"{statement.context}\n{statement.text}")
        for page in sorted(HANDBOOK.glob("*.md"))
        for statement in of_document(page.read_text(), page.stem)
    ]
    vain = [kind for kind in kinds if kind not in {None, "email address", "phone number"}]
    assert len(kinds) > 1000
    assert len(vain) < 0.03 * len(kinds)
