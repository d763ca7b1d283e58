# ruff: noqa: ANN401 - SQLModel's Field is Any
"""Column definitions for the tables. Numbers are double precision, times have a time zone."""

from typing import Any

from sqlalchemy import Column, DateTime, Float, ForeignKey, Integer, Text, func
from sqlmodel import Field


def time(*, null: bool = False, now: bool = False) -> Any:
    """Define a timestamptz column; with `now`, it defaults to the time of the insert."""
    default = func.now() if now else None
    column = Column(DateTime(timezone=True), nullable=null, server_default=default)
    return Field(default=None, sa_column=column)


def number(*, null: bool = True) -> Any:
    """Define a double precision column."""
    return Field(default=None, sa_column=Column(Float(53), nullable=null))


def text(*, null: bool = False) -> Any:
    """Define a text column."""
    return Field(default=None, sa_column=Column(Text, nullable=null))


def key(kind: Any, refers_to: str | None = None) -> Any:
    """Define a primary key column; `refers_to` adds a foreign key with ON DELETE CASCADE."""
    refers = (ForeignKey(refers_to, ondelete="CASCADE"),) if refers_to else ()
    return Field(sa_column=Column(kind, *refers, primary_key=True, autoincrement=False))


def count(kind: Any = Integer, *, index: bool = False) -> Any:
    """Define an integer column that is not null and defaults to 0."""
    column = Column(kind, nullable=False, server_default="0", index=index)
    return Field(default=0, sa_column=column)


def seconds() -> Any:
    """Define a double precision column for a duration that is not null and defaults to 0."""
    return Field(default=0.0, sa_column=Column(Float(53), nullable=False, server_default="0"))
