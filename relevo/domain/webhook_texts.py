"""What the owner of a webhook is told about it, in the languages of people."""

from typing import Final

_TITLE: Final = {
    "en": "The webhook “{name}” was switched off",
    "es": "El webhook «{name}» se desactivó",
    "pt": "O webhook “{name}” foi desligado",
}
_GONE: Final = {
    "en": "Its receiver answered 410 Gone.",
    "es": "Su receptor respondió 410 Gone.",
    "pt": "O receptor respondeu 410 Gone.",
}
_FAILED: Final = {
    "en": "Nothing was delivered since {since}.",
    "es": "No se entregó nada desde {since}.",
    "pt": "Nada foi entregue desde {since}.",
}
_AGAIN: Final = {
    "en": "Switched on again, it goes on where it stopped.",
    "es": "Al activarlo de nuevo, continúa donde se detuvo.",
    "pt": "Ao ser ligado de novo, continua de onde parou.",
}


def switched_off(language: str, name: str, since: str) -> tuple[str, str]:
    """Title and text; ``since`` is when it began to fail, empty for a receiver that is gone."""
    why = _FAILED[language].format(since=since) if since else _GONE[language]
    return _TITLE[language].format(name=name), f"{why} {_AGAIN[language]}"
