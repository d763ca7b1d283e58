"""`python -m benchmarks`: prepares the databases, measures, prints, and writes RESULTS.md."""

import argparse
import sys
import traceback
from pathlib import Path

from benchmarks import machine, report
from benchmarks.laboratory import laboratory
from benchmarks.options import HERE, ROOT, Options
from benchmarks.peers import catalog
from benchmarks.works import WORKS

_RESULTS = HERE / "RESULTS.md"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few seconds for each; prints only")
    parser.add_argument("--rounds", type=int, help="how often each server has its turn")
    parser.add_argument(
        "--only", action="append", choices=list(WORKS), help="only this work; may be repeated"
    )
    parser.add_argument(
        "--output", type=Path, help="where to write; a full run writes benchmarks/RESULTS.md"
    )
    return parser.parse_args()


def main() -> int:
    """Run what was asked for. 0 even where a figure is not reached: that is a result too.

    1 where a work could not be measured; the others are, and printed, but not written.
    """
    arguments = _arguments()
    make = Options.hasty if arguments.quick else Options.full
    options = make(ROOT / ".coingraph" / "benchmarks", arguments.rounds)
    names = arguments.only or list(WORKS)
    # Only a full run replaces the results: a partial one would look complete.
    complete = not arguments.quick and not arguments.only
    output = arguments.output or (_RESULTS if complete else None)
    catalog.install_postgraphile()
    sections, failed = [], []
    _say("Filling the database")
    with laboratory(options) as prepared:
        facts = machine.facts(options, prepared.url)
        for name in names:
            _say(f"Measuring: {name}")
            try:
                sections.append(WORKS[name](prepared))
            except Exception:  # noqa: BLE001 - the results of the other works must not be lost
                _say(traceback.format_exc())
                failed.append(name)
            else:
                _say(f"\n{report.section_text(sections[-1])}")
    text = report.render(facts, sections)
    print(text)  # noqa: T201 - what the command says
    if failed:
        _say(f"Failed: {', '.join(failed)}. Nothing is written.")
    elif output is not None:
        output.write_text(text)
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    sys.exit(main())
