"""What a message says, in three languages. Runs in the sending process: jinja2 and babel cost the server nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_LOCALES: Final = {"en": "en_GB", "es": "es", "pt": "pt_BR"}
WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "info": "Information",
        "warning": "Warning",
        "critical": "Critical",
        "device": "Device",
        "when": "When",
        "source": "Source",
        "digest": "{count} notifications",
        "more": "and {count} more in your inbox",
        "greeting": "Hello {name},",
        "test_title": "Test of the channel “{channel}”",
        "test_text": "If you can read this, notifications reach you here.",
        "why": "You get this because a channel of yours on Relevo leads here. Change that in your settings.",
        "open": "Open Relevo",
    },
    "es": {
        "info": "Información",
        "warning": "Advertencia",
        "critical": "Crítico",
        "device": "Dispositivo",
        "when": "Cuándo",
        "source": "Origen",
        "digest": "{count} notificaciones",
        "more": "y {count} más en su bandeja de entrada",
        "greeting": "Hola, {name}:",
        "test_title": "Prueba del canal «{channel}»",
        "test_text": "Si puede leer esto, las notificaciones le llegan aquí.",
        "why": "Recibe este mensaje porque un canal suyo en Relevo lleva hasta aquí. Cámbielo en sus ajustes.",
        "open": "Abrir Relevo",
    },
    "pt": {
        "info": "Informação",
        "warning": "Aviso",
        "critical": "Crítico",
        "device": "Dispositivo",
        "when": "Quando",
        "source": "Origem",
        "digest": "{count} notificações",
        "more": "e mais {count} na sua caixa de entrada",
        "greeting": "Olá, {name}!",
        "test_title": "Teste do canal “{channel}”",
        "test_text": "Se você consegue ler isto, as notificações chegam até aqui.",
        "why": "Você recebe esta mensagem porque um canal seu no Relevo leva até aqui. Mude isso nos ajustes.",
        "open": "Abrir o Relevo",
    },
}
_PLACE: Final = Path(__file__).parent / "templates"


class Letter(NamedTuple):
    """A message ready to leave: ``title`` is a single line."""

    title: str
    text: str
    html: str


def write(message: dict[str, Any]) -> Letter:
    """The letter of a message as :mod:`relevo.jobs.notifier` describes it."""
    language = message["language"]
    words = WORDS[language]
    locale = Locale.parse(_LOCALES[language])
    zone = ZoneInfo(message["zone"])

    def when(ms: int) -> str:
        local = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone)
        return f"{format_datetime(local, 'medium', locale=locale)} ({zone.key})"

    def count(n: int) -> str:
        return str(format_decimal(n, locale=locale))

    notices = message["notices"]
    if message["test"]:
        told = words["test_title"].format(channel=message["channel"])
        notices = [{"severity": "info", "source": "", "title": told, "text": words["test_text"], "device": ""}]
        notices[0]["at"] = message["at"]
    more = message["more"]
    if len(notices) == 1 and not more:
        # A device is named beside its notice, so that the subject alone says what happened where.
        one = notices[0]
        where = f" · {one['device']}" if one["device"] else ""
        title = f"[{words[one['severity']]}] {one['title']}{where}"
    else:
        title = words["digest"].format(count=count(len(notices) + more))
        severest = max(notices, key=lambda one: ("info", "warning", "critical").index(one["severity"]))
        title = f"[{words[severest['severity']]}] {title}"
    title = " ".join(title.split())
    values = {
        "words": words,
        "language": language,
        "notices": notices,
        "title": title,
        "more": words["more"].format(count=count(more)) if more else "",
        "greeting": words["greeting"].format(name=message["name"]),
        "link": message["link"],
        "when": when,
    }
    return Letter(
        title,
        _templates.get_template("message.txt").render(values),
        _templates.get_template("message.html").render(values),
    )


# Whatever is HTML is escaped, without exception.
_templates: Final = Environment(
    loader=FileSystemLoader(_PLACE),
    autoescape=select_autoescape(["html"], default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
