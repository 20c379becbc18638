"""
Draw the plots of the manual: one for each shipped scenario, and the page that shows them.

    .venv/bin/python docs/plots.py              all of them, some minutes
    .venv/bin/python docs/plots.py a b two-pairs

They are kept in the repository, so that building the manual takes seconds; the same seed gives the same picture.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ntptwist.registry import find_driver
from ntptwist.sim.plot import svg
from ntptwist.sim.scenario_file import load
from ntptwist.sim.trial import run

DOCS = Path(__file__).parent
SCENARIOS = DOCS.parent / "etc" / "scenarios"
PLOTS = DOCS / "reference" / "plots"


def draw(name: str) -> str:
    """Run a scenario with its first seed and draw it; give its name."""
    scenario = load(str(SCENARIOS / f"{name}.toml"), find_driver)
    (PLOTS / f"{name}.svg").write_text(svg(scenario, [run(scenario, scenario.seeds[0])]), encoding="utf-8")
    return name


def entry(name: str) -> str:
    """Give what the manual shows of a scenario: its remark, where it has one, and its plot."""
    path = SCENARIOS / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    remark = [line.removeprefix("#").strip() for line in text.split("title = ")[0].splitlines()]
    title = load(str(path), find_driver).title
    lines = [f"``{name}``", *(f"   {line}" for line in remark), ""] if remark else [f"``{name}``"]
    return "\n".join([*lines, f"   .. image:: plots/{name}.svg", f"      :alt: {title}", "", ""])


def main() -> None:
    """Draw what is asked for, or everything, and write the page."""
    names = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
    PLOTS.mkdir(exist_ok=True)
    with ProcessPoolExecutor() as pool:
        for name in pool.map(draw, sys.argv[1:] or names):
            sys.stdout.write(f"{name}\n")
    (DOCS / "reference" / "plots.inc").write_text("".join(map(entry, names)), encoding="utf-8")


if __name__ == "__main__":
    main()
