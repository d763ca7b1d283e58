"""What the text of any setting may be, before its own type judges it."""

import os
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_QUOTES = "'\""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 4_000  # characters; lists may be longer


def unquoted(value: str) -> str:
    """Take away one pair of quotes around a value.

    `docker run --env-file` and systemd's older tools hand on `'tok'` with its quotes, which a shell
    or `.env` would have taken away. Quotes that also stand in between mean something else.
    """
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES and text[0] not in text[1:-1]:
        return text[1:-1]
    return value


class UnquotedSource(PydanticBaseSettingsSource):
    """The values of a source that keeps quotes, without them; an empty value counts as unset."""

    def __init__(self, settings_cls: type[BaseSettings], inner: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._inner = inner

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._inner.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = {name: self._meant(name, value) for name, value in self._inner().items()}
        return {name: value for name, value in values.items() if value != ""}

    def _meant(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            return value
        field = self.settings_cls.model_fields.get(name)
        if field is None or Path not in _kinds(field):  # a path is the operating system's own text
            value = os.fsencode(value).decode("utf-8", "surrogateescape")  # whatever the locale
        return unquoted(value)


def _kinds(field: FieldInfo) -> set[Any]:
    """The type of a field, and those it is made of."""
    return {field.annotation, *get_args(field.annotation)}


def is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: str, field: FieldInfo) -> str:
    """Refuse what no value of this kind can be; the ValueError does not quote it.

    A line break at the end is taken away: Kubernetes' secrets often have one.
    """
    value = value.strip("\r\n")
    if _CONTROL.search(value):
        raise ValueError("it has a line break or another control character")
    kinds = _kinds(field)
    if Path not in kinds and not {SecretStr, Ellipsis} <= kinds and not is_utf8(value):
        raise ValueError("it is not UTF-8")  # which tokens may be: they are bytes to compare
    if Ellipsis in kinds:  # a list
        return value
    if len(value) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST:,} characters")
    if {int, float} & kinds and ("_" in value or not value.isascii()):
        raise ValueError("input should be a valid number in plain digits, such as 1000")
    return value
