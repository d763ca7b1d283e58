"""Checks the text of all settings before it is parsed by type."""

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
    """Strip one pair of quotes around a value.

    `docker run --env-file` and older systemd tools pass `'tok'` on with its quotes, which a shell
    or `.env` would strip. A value with the same quotes inside is returned unchanged.
    """
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES and text[0] not in text[1:-1]:
        return text[1:-1]
    return value


class UnquotedSource(PydanticBaseSettingsSource):
    """A settings source that strips quotes from the values of another; empty values are unset."""

    def __init__(self, settings_cls: type[BaseSettings], inner: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._inner = inner

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of the wrapped source."""
        return self._inner.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """Return all values without quotes."""
        values = {name: self._meant(name, value) for name, value in self._inner().items()}
        return {name: value for name, value in values.items() if value != ""}

    def _meant(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            return value
        field = self.settings_cls.model_fields.get(name)
        # paths stay in the encoding of the file system
        if field is None or Path not in _kinds(field):
            value = os.fsencode(value).decode("utf-8", "surrogateescape")  # in any locale
        return unquoted(value)


def _kinds(field: FieldInfo) -> set[Any]:
    """Return the type of a field and its type arguments."""
    return {field.annotation, *get_args(field.annotation)}


def is_utf8(value: str) -> bool:
    """Return True if a text can be encoded as UTF-8: it has no surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: str, field: FieldInfo) -> str:
    """Strip line breaks at the ends and reject text that is invalid for every such field.

    Kubernetes' secrets often end with a line break. The ValueError does not quote the value.
    """
    value = value.strip("\r\n")
    if _CONTROL.search(value):
        raise ValueError("it has a line break or another control character")
    kinds = _kinds(field)
    if Path not in kinds and not {SecretStr, Ellipsis} <= kinds and not is_utf8(value):
        raise ValueError("it is not UTF-8")  # tokens need not be: they are compared as bytes
    if Ellipsis in kinds:  # a list
        return value
    if len(value) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST:,} characters")
    if {int, float} & kinds and ("_" in value or not value.isascii()):
        raise ValueError("input should be a valid number in plain digits, for example 1000")
    return value
