"""Secrets and personal data in a text: found, so that it never reaches training, or hidden where it is shown.

Patterns for what has a form of its own (keys, cards, accounts), a check sum where there is one (Luhn, IBAN's mod 97),
words around it for what has none (passwords), and entropy for the rest. Recall comes first: a sentence withheld in vain
is still found in the notes, a secret once trained is only gone after the next night. Judge a statement together with
its context (`f"{context}\\n{statement}"`): a heading "Guest Wi-Fi password" tells what the line below it is.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

PRIVATE_KEY = "private key"
CONNECTION = "connection string with a password"
API_KEY = "api key"
TOKEN = "token"
PASSWORD = "password"
CARD = "credit card"
IBAN = "iban"
SSN = "social security number"
EMAIL = "email address"
PHONE = "phone number"
ENTROPY = "high-entropy string"

Span = tuple[int, int, str]

# Looked for in this order; where two overlap, the earlier names it. A group named `s` is the secret itself.
_FORMS: tuple[tuple[str, str], ...] = (
    (PRIVATE_KEY, r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z0-9 ]*-----|.*)"),
    (PRIVATE_KEY, r"PuTTY-User-Key-File-\d:.*|\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    (CONNECTION, r"\b[a-zA-Z][\w+.-]{0,30}://[^\s:/@\"'<>]{0,200}:(?P<s>[^\s/\"'<>]{1,400})@(?=[\w\[])"),
    (CONNECTION, r"(?i)\b(?:AccountKey|SharedAccessKey|SharedAccessSignature)=(?P<s>[^;\s\"']{8,})"),
    (
        CONNECTION,
        r"(?i)\b(?:server|host|data source|uid|user id|user|dbname)=[^;\n]{0,100};.{0,300}?\b(?:password|"
        r"pwd)=(?P<s>[^;\s\"']+)",
    ),
    (CONNECTION, r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+(?P<s>\S+)"),
    (API_KEY, r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    (TOKEN, r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{20,}|\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[\w-]{16,}"),
    (TOKEN, r"\bx(?:ox[a-z]|app)-[\w.-]{8,}|https://hooks\.slack\.com/(?:services|workflows)/\S+"),
    (TOKEN, r"https://[\w.-]+\.webhook\.office\.com/\S+|https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\S+"),
    (API_KEY, r"\bsk-[\w-]{16,}|\b(?:[srp]k|whsec)_(?:(?:live|test)_)?[A-Za-z0-9]{16,}|\bxai-\w{20,}|\bgsk_\w{20,}"),
    (
        API_KEY,
        r"\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}|\bGOCSPX-[\w-]{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bkey-[0-9a-f]{32}\b",
    ),
    (API_KEY, r"\b(?:SK|AC)[0-9a-f]{32}\b|\bdapi[0-9a-f]{32}\b|\bNRAK-[A-Z0-9]{20,}|\bPMAK-[\w-]{20,}|\brzp_\w{14,}"),
    (
        TOKEN,
        r"\b(?:npm|hf|dop_v1|doo_v1|shp(?:at|ss|ca|pa)|sbp|ntn|lin_api|figd|glsa|glc|sntrys|pul|rdme|"
        r"ATATT3\w*)_?[A-Za-z0-9_=-]{24,}",
    ),
    (
        TOKEN,
        r"\bpypi-[\w-]{24,}|\bhvs\.[\w-]{20,}|\bs\.[A-Za-z0-9]{24}\b|\bdp\.(?:pt|st)\.\w{20,}|"
        r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{32,}",
    ),
    (TOKEN, r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*){0,3}|\b\d{8,10}:AA[\w-]{33}"),
    (TOKEN, r"(?i)\b(?:bearer|basic)\s+(?P<s>[A-Za-z0-9+/._~-]{16,}={0,2})"),
    (
        TOKEN,
        r"(?i)[?&;](?:access_|auth_|refresh_|id_|api_?)?(?:token|key|sig|signature|secret|password|pwd|"
        r"apikey)=(?P<s>[^&\s#\"'<>)]{6,})",
    ),
    (EMAIL, r"(?<![\w.+/-])(?!git@)[A-Za-z0-9][\w.+%'-]*@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,24}\b"),
)
_FORM_PATTERNS = [(kind, re.compile(pattern, re.S)) for kind, pattern in _FORMS]

_WORD = (
    r"pass[ -]?(?:word|wort|phrase|code|wd|key)s?|pass(?=\s*[:=])|pwd?(?=\s*[:=])|p/w|pw|kennwort|wachtwoord|"
    r"lösenord|adgangskode|mot de passe|contraseña|senha|hasło|пароль|密码|パスワード"
    r"|(?:wi-?fi|wlan|network|pre-?shared|shared|psk)[ -]key|psk|wi-?fi\b[^\n.]{0,40}\bkey(?=\s*[:=])"
    r"|(?:card|sim|bank|voicemail|security)[ -](?:pin|code)|cv[vc]2?|credentials?|log-?in(?=\s*[:=])"
)
_KEY_WORD = (
    r"(?:(?:api|access|secret|client|signing|encryption|private|auth|license|licence|product|"
    r"subscription|master|recovery)[ _-]?){1,3}(?:key|secret|token|code)s?(?:[ _-]?id)?|secrets?|tokens?|webhook"
)
# `Password manager:`, `password reset is`: about passwords, not one.
_ABOUT = (
    r"(?![ -](?:manag|requir|polic|reset|length|expir|rule|chang|generat|hint|field|protect|vault|hash|less|strength|"
    r"complex|histor|rotat|stor|screen|prompt|box|form|attempt|guid|tip|safe|page|section|best|keeper|sharing)\w*)"
)
_LINK = (
    r"(?:[:=：]|=>|->|→|\b(?:is|was|are|lautet|ist|est|es|é|jest)\b"
    r"(?:\s+(?:now|currently|still|just|always|simply|(?:re)?set to|changed to|rotated to))?:?"
    r"|\b(?:set|changed|reset|updated|rotated) to\b:?)"
)
_QUOTES = "\"'`*“”‘’«»„"
_SAID = re.compile(
    rf"(?i)(?<![a-zа-я])(?:(?P<p>{_WORD})|(?P<k>{_KEY_WORD}))(?![a-z]){_ABOUT}(?P<between>[^\n:=.]{{0,60}}?)"
    rf"[{_QUOTES}]*\s*{_LINK}[ \t]*(?P<q>[{_QUOTES}]*)(?P<s>[^\s{_QUOTES}][^\s\"`“”]*)(?P<rest>[^\n]*)"
)
# The label is a heading or a cell of its own, the secret what stands alone after it.
_BELOW = re.compile(
    rf"(?i)(?<![a-z])(?:(?P<p>{_WORD})|(?P<k>{_KEY_WORD}))[ \t{_QUOTES}|:]*"
    rf"(?:\n\s*|\|\s*)(?P<s>[^\s|{_QUOTES}]+)[ \t{_QUOTES}|.]*(?:$|\n|\|)"
)
_BESIDE = re.compile(
    rf"(?i)(?<![a-z])(?:(?P<p>{_WORD})|(?P<k>{_KEY_WORD}))\s+(?:to\s+|of\s+)?[{_QUOTES}]*(?P<s>[^\s{_QUOTES}]{{4,80}})"
)
_AFTER = re.compile(
    rf"(?i)(?<![^\s{_QUOTES}])(?P<s>[^\s{_QUOTES}]{{4,80}})[{_QUOTES}]*\s+"
    rf"(?:as|is|for)\s+(?:the|our|your|a|its|their)?\s*(?:[\w-]+\s+){{0,4}}?(?P<p>{_WORD})(?![a-z]){_ABOUT}"
)
_LOGIN = re.compile(
    r"(?i)\b(?:log(?:ged)?[ -]?in|sign[ -]?in|credentials?|account)\b[^\n]{0,30}?\b[\w.@-]+\s*(?:/|\||:|"
    r"with)\s*(?P<s>[^\s,;]{5,})"
)
_ENV = re.compile(
    r"(?m)^[ \t>$`-]*(?:export\s+|set\s+|ENV\s+)?[\"']?(?P<name>[A-Za-z][A-Za-z0-9_.-]*)[\"']?"
    r"[ \t]*[=:][ \t]*[\"']?(?P<s>[^\s\"'`#]+)"
)
_ENV_NAME = re.compile(
    r"(?i)pass(?!age|enger|ive|ion)|pwd|secret|token|api[_.-]?key|(?:^|[_.-])key$|private|credential|auth(?!or)|"
    r"salt|dsn|webhook"
)

_BLANK = "\ue000"  # for private use: no text has it
_PLACEHOLDER = re.compile(
    rf"(?i)^(?:{_BLANK}.*|"
    r"[<\[{(].*|\$.*|%.*%|[*x.•_-]{3,}|your[_-].*|.*_here|null|none|true|false|yes|no|n/a|tbd|todo|redacted|"
    r"\[?withheld.*|"
    r"https?:.*|/.*|#\w+|:\w+:|1password.*|lastpass|bitwarden|keepass\w*|os\.\w.*|process\.env.*|env[.(].*)$"
)
_ORDINARY = re.compile(
    r"(?i)^(?:\d+(?:st|nd|rd|th|x|k|m|h|s|d|%|min|am|pm)|(?:\d+|[a-z]+)(?:-\d+)?-(?:character|char|day|digit|"
    r"month|year|week|hour|minute|factor|bit|step|word|time)s?|"
    r"[\d.,]+(?:-[\d.,]+)?|v?\d+(?:\.\d+)+|\d{4}-\d\d-\d\d.*|\d{1,2}[:.]\d\d.*|2fa|mfa|sso|sp\d.*|fips.*|"
    r"aes-?\d+|sha-?\d+|wpa\d?|rfc\d+|utf-?\d+|oauth2?|q[1-4]|fy\d+|"
    r"[a-z]+/[a-z]+|[a-z]+(?:[-'’][a-z]+)*)$"
)
# A plain word is a password only where nothing else can be meant.
_PLAIN_NOT = re.compile(
    r"(?i)^(?:.*(?:ed|ing|ly|able|ible|ive|ous|ary)|required|wrong|long|short|unique|secure|strong|weak|secret|"
    r"important|optional|different|correct|right|"
    r"yours?|mine|ours?|theirs|it|this|that|them|there|here|the|an?|not|only|same|ok|fine|safe|private|public|"
    r"confidential|known|unknown|new|old|lost|"
    r"stolen|gone|enough|valid|invalid|temporary|default|case-sensitive|sensitive|personal|what|which|who|how|"
    r"when|where|why|to|in|on|at|by|for|and|or|"
    r"with|from|never|always|must|should|please|ask|see|also|all|both|any|each|every|one|two|dead|forbidden|"
    r"written|hidden|broken|empty|blank|email|"
    r"e-mail|slack|vault|below|above|characters?|online|offline|easy|hard|bad|good|free|just|kept|sent|set|"
    r"reset|given|hash|sms|people|us|you|me)$"
)
_NO_PHRASE = re.compile(
    r"(?i)^(?:the|an?|is|are|be|to|in|on|at|by|for|and|or|with|from|as|of|not|no|never|always|must|should|may|"
    r"can|will|please|ask|see|use|"
    r"your|our|their|its|it|this|that|any|each|all|only|if|when|what|who|how|has|have|you|we|they|than|then|"
    r"also|via|per|kept|stored|"
    r"required|shared|expired|\w+ly)$"
)

_MASK = re.compile(
    r"(?<![\w.])(?:"
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|"
    r"[+-]\d\d:?\d\d)?)?"  # ISO dates and times
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|[01]\d/(?:19|20)\d\d"
    r"|\d{1,2}:\d\d(?::\d\d)?"
    r"|(?!\d{3}\.\d{3}\.\d{4})v?\d{1,4}(?:\.\d{1,4}){2,3}"  # versions, addresses
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # a UUID is a name, not a secret
    r")(?![\w]|[.]\d)"
)
_URL = re.compile(r"(?:\b(?:https?|ftp|file|ssh|git)://|\bwww\.|\]\()[^\s<>\"')]+", re.I)

_CARD = re.compile(r"(?<![\w.,/#+-])\d(?:[ -]?\d){12,18}(?![\w]|[-.,/]\d)")
_CARD_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})$|(?:5[1-5]|2[2-7])\d{14}$|3[47]\d{13}$|3(?:0[0-5]|[689]\d)\d{11}$|(?:6011|"
    r"65\d\d|64[4-9]\d)\d{12,15}$|"
    r"35\d{14}$|62\d{14,17}$|(?:50|5[6-9]|6\d)\d{10,17}$"
)
_IBAN = re.compile(r"(?i)(?<![\w])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}")
# Lengths from the IBAN registry (SWIFT, ISO 13616).
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL OM SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB PL NI SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_SSN = re.compile(r"(?<![\w.,/#-])(?!000|666)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w]|[-.,/]\d)")
_NAMED_SSN = re.compile(
    r"(?i)\b(?:ssn|social[ -]security(?:[ -](?:number|no\.?))?|itin|national insurance(?: (?:number|no\.?))?|"
    r"nino?|tax(?:payer)? id\w*|steuer-?id\w*|"
    r"sozialversicherungsnummer|passport(?: (?:number|no\.?))?)\b"
    r"[^\n\d]{0,20}?(?P<s>[A-Z]{0,2}[ ]?\d(?:[ -]?\d){5,11}[ ]?[A-Z]?)\b"
)
_NINO = re.compile(r"\b[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b")

_PHONES = [
    re.compile(pattern, re.I)
    for pattern in (
        r"(?<![\w+])(?:\+|00)[1-9]\d{0,2}(?:[ ()./-]{0,3}\d){6,13}(?!\w)",
        r"(?<![\w.,/#$€£+-])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w]|[-.,]\d)",
        r"(?<![\w.,/#$€£+-])\(0?\d{2,5}\)[ ./-]?\d(?:[ ./-]?\d){5,9}(?![\w]|[-.,]\d)",
        r"(?<![\w.,/#$€£+-])0[1-9]\d{0,4}(?:[ ./-]{1,3}\d{2,8}){1,5}(?![\w]|[-.,/]\d)",
        r"(?<![\w.,/#$€£+-])0[1-9]\d{8,9}(?![\w]|[-.,/]\d)",
        r"(?<![\w.,/#$€£+-])(?:[6-9]\d{4} \d{5}|1[3-9]\d[ -]\d{4}[ -]\d{4})(?![\w]|[-.,/]\d)",
        r"\b(?:tel(?:e(?:phone|fon))?|phone|mobil\w*|cell|handy|fax|call|dial|ring|whatsapp|signal|sms|hotline|"
        r"rufnummer)\b\.?"
        r"[^\d\n+(]{0,25}(?P<s>\(?\d(?:[ ()./-]{0,3}\d){5,14})(?!\w|[:,]\d| ?(?:%|percent|euros?|dollars?|usd|"
        r"eur|people|times))",
    )
]

_TOKEN_LIKE = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/_-]{16,}={0,2}")
_RANDOM_WORD = re.compile(r"(?<![\w])[^\s\"'`<>()\[\]{},;]{10,64}(?![\w])")
_EDGES = ".,;:!?)]}" + _QUOTES


def withheld(text: str) -> str | None:
    """The kind of secret or personal data because of which `text` must not be trained on; None where it is clean."""
    found = _found(text)
    return found[0][2] if found else None


def redacted(text: str) -> str:
    """`text` with each secret replaced by its kind, "[password withheld]": for showing."""
    for start, end, kind in sorted(_found(text), reverse=True):
        text = f"{text[:start]}[{kind} withheld]{text[end:]}"
    return text


def _found(text: str) -> list[Span]:
    """All secrets, none overlapping another: of two that overlap, the one looked for first."""
    text = _blanked(text.translate(_PLAIN_SEPARATORS), _MARK)
    found: list[Span] = []
    for look in _LOOKS:
        for start, end, kind in look(text):
            if end > start and all(end <= other[0] or start >= other[1] for other in found):
                found.append((start, end, kind))
    return found


_MARK = re.compile(r"\[[a-z -]{4,40} withheld\]")
# Same length, so that places stay true.
_PLAIN_SEPARATORS = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f", " ") | dict.fromkeys("\u2010\u2011\u2012\u2013", "-")
)


def _blanked(text: str, *patterns: re.Pattern[str]) -> str:
    for pattern in patterns:
        text = pattern.sub(lambda match: _BLANK * len(match[0]), text)
    return text


def _span(match: re.Match[str], kind: str) -> Span:
    start, end = match.span("s" if "s" in match.re.groupindex else 0)
    return start, end, kind


def _forms(text: str) -> Iterator[Span]:
    for kind, pattern in _FORM_PATTERNS:
        for match in pattern.finditer(text):
            if "s" not in pattern.groupindex or not _PLACEHOLDER.match(match["s"]):
                yield _span(match, kind)


def _said(text: str) -> Iterator[Span]:
    """Passwords and keys that the words around them give away."""
    for match in _SAID.finditer(text):
        kind = PASSWORD if match["p"] else API_KEY if "key" in match["k"].lower() else TOKEN
        start = match.start("s")
        value = match["s"].rstrip(_EDGES) if not _secretive(match["s"]) else match["s"].rstrip(".,;" + _QUOTES)
        rest = match["s"][len(value) :] + match["rest"]
        if not value or _PLACEHOLDER.match(match["s"]):
            continue
        ends = not re.match(r"[\"'`*“”’]*[^\w\n]*\w", rest)
        quoted = bool(match["q"].strip("*"))
        if _secretive(value) or (match["p"] and value.isdigit() and len(value) >= 4 and (ends or quoted)):
            yield start, start + len(value), kind
        elif (
            match["p"] and len(value) >= 3 and (ends or quoted) and not _PLAIN_NOT.match(value) and not value.isdigit()
        ):
            if not _PLACEHOLDER.match(value):
                yield start, start + len(value), kind
        elif match["p"] and (phrase := _phrase(text[start:].partition("\n")[0], quoted or ":" in match[0])):
            yield start, start + len(phrase), kind
    blanked = _blanked(text, _URL)
    for pattern in (_BELOW, _BESIDE, _AFTER, _LOGIN):
        for match in pattern.finditer(blanked):
            value, start = match["s"].rstrip(_EDGES), match.start("s")
            quoted = text[start - 1 : start] in tuple("\"'`“„«") and len(value) >= 4 and not _PLAIN_NOT.match(value)
            if (_secretive(value) or (quoted and pattern is not _LOGIN)) and not _PLACEHOLDER.match(value):
                is_key = "k" in pattern.groupindex and match["k"]
                yield start, start + len(value), API_KEY if is_key else PASSWORD


def _phrase(line: str, marked: bool) -> str | None:
    """A passphrase: some plain words and nothing that makes them a sentence."""
    phrase = re.split(r"[.,;\"“”`]", line)[0].strip(_EDGES + " ")
    words = phrase.split()
    plain = all(re.fullmatch(r"[A-Za-z]{3,}", word) and not _NO_PHRASE.match(word) for word in words)
    return phrase if marked and 3 <= len(words) <= 7 and plain and phrase == phrase.lower() else None


def _settings(text: str) -> Iterator[Span]:
    """Lines of .env, YAML and the like."""
    for match in _ENV.finditer(text):
        value = match["s"].rstrip(",;")
        if _ENV_NAME.search(match["name"]) and len(value) >= 4 and not _PLACEHOLDER.match(value):
            shouted = match["name"].isupper() and "=" in match[0]
            if _secretive(value) or (shouted and not value.replace(".", "").isdigit()):
                name = match["name"].lower()
                kind = PASSWORD if "pass" in name or "pwd" in name else API_KEY if "key" in name else TOKEN
                yield match.start("s"), match.start("s") + len(value), kind


def _secretive(value: str) -> bool:
    """Whether a word looks chosen to be secret: digits in letters, signs in words, capitals where none belong."""
    value = value.strip(_QUOTES)
    if len(value) < 4 or _ORDINARY.match(value.rstrip(_EDGES)):
        return bool(re.fullmatch(r"(?:[A-Z][a-z]+-){1,}[A-Z]?[a-z0-9]+", value)) and sum(c.isupper() for c in value) > 1
    core = value.rstrip(".,;:?)" + _QUOTES)
    letters, digits = any(c.isalpha() for c in core), any(c.isdigit() for c in core)
    signs = bool(re.search(r"[!@#$%^&*_+=~?|<>\\]", core))
    capitals = bool(re.search(r"[a-z][A-Z]|[a-z]-[A-Z]", core))
    return (letters and digits) or (signs and (letters or digits)) or capitals


def _numbers(text: str) -> Iterator[Span]:
    text = _blanked(text, _MASK, _URL)
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _CARD_BRANDS.match(digits) and _luhn(digits):
            yield _span(match, CARD)
    for match in _IBAN.finditer(text):
        kept = [place for place, sign in enumerate(match[0]) if sign not in " -"]
        length = _IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        if 0 < length <= len(kept) and _mod97("".join(match[0][place] for place in kept[:length])):
            yield match.start(), match.start() + kept[length - 1] + 1, IBAN
    for pattern in (_SSN, _NAMED_SSN, _NINO):
        for match in pattern.finditer(text):
            yield _span(match, SSN)
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            secret = match["s"] if "s" in pattern.groupindex else match[0]
            if 6 <= sum(sign.isdigit() for sign in secret) <= 15:
                yield _span(match, PHONE)


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == sum(value > 9 for value in doubled) * 9 % 10 and len(set(digits)) > 1


def _mod97(iban: str) -> bool:
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def _random(text: str) -> Iterator[Span]:
    """Strings that nobody would write by hand."""
    text = _blanked(text, _MASK, _URL)
    for match in _TOKEN_LIKE.finditer(text):
        if _machine_made(match[0]):
            yield _span(match, ENTROPY)
    for match in _RANDOM_WORD.finditer(text):
        word = match[0].strip(_EDGES)
        classes = [re.search(kind, word) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[!#$%^&*@+=~?]")]
        if all(classes) and _changes(word) >= 0.5 and "@" not in word[:1] and "://" not in word:
            yield match.start(), match.start() + len(word), ENTROPY


def _machine_made(token: str) -> bool:
    """Letters, digits and cases that alternate as in no word, path or name, with the entropy of chance."""
    core = re.sub(r"[^A-Za-z0-9]", "", token)
    digits = sum(sign.isdigit() for sign in core)
    upper = sum(sign.isupper() for sign in core)
    letters = len(core) - digits
    if len(core) < 16 or letters < 3 or _entropy(core) < 3.0:
        return False
    mixed = 0 < upper < letters
    if digits == 0:
        return mixed and len(core) >= 24 and 0.3 <= upper / letters <= 0.7 and _changes(core) >= 0.3
    if len(core) < 20:
        return mixed and _changes(core) >= 0.5
    return _changes(core) >= (0.35 if mixed else 0.2)


def _changes(word: str) -> float:
    """The share of neighbours of different kinds (small, capital, digit, other), between 0 and 1."""
    kinds = ["d" if c.isdigit() else "l" if c.islower() else "u" if c.isupper() else "o" for c in word]
    return sum(a != b for a, b in pairwise(kinds)) / max(1, len(kinds) - 1)


def _entropy(word: str) -> float:
    """Shannon entropy of its letters, in bits a letter."""
    return -sum(n / len(word) * math.log2(n / len(word)) for n in Counter(word).values())


_LOOKS: tuple[Callable[[str], Iterator[Span]], ...] = (_forms, _settings, _said, _numbers, _random)
