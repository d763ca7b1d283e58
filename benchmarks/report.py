"""Formats the results as Markdown, for the file and the terminal."""

from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure, Section

_HEAD = """# Results of `make bench`

Written by `python -m benchmarks`; [README.md](README.md) says what is measured and how. Load
generator, PostgreSQL and the server share the machine's cores, which is the same for every server.
Compare ratios within this run, not its numbers with those of another machine. A ratio is one of
medians over the rounds.
"""


def render(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    figures = [figure for section in sections for figure in section.figures]
    parts = [_HEAD, table(("with", ""), list(facts.items()))]
    if figures:
        rows = [_figure(figure) for figure in figures]
        parts += ["## Figures\n", table(("work", "must reach", "measured", ""), rows)]
    return "\n".join([*parts, *(section_text(section) for section in sections)])


def section_text(section: Section) -> str:
    parts = [f"## {section.title}\n", table(section.header, section.rows)]
    parts += [f"{remark}\n" for remark in section.remarks]
    return "\n".join(parts)


def _figure(figure: Figure) -> tuple[str, ...]:
    verdict = f"{figure.verdict}{f' ({figure.note})' if figure.note else ''}"
    return (figure.work, figure.target, figure.measured, verdict)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are also aligned in a terminal."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = ["-" * max(3, width) for width in widths]
    return "\n".join([_line(lines[0], widths), _line(rule, widths), *(
        _line(line, widths) for line in lines[1:]
    )]) + "\n"  # fmt: skip


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True))} |"
