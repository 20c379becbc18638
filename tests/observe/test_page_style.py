"""The page's colours can be read, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from ntptwist.observe.html import FILES

STYLE = (FILES / "page.css").read_text(encoding="utf-8")
PALETTES = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", block)) for block in re.findall(r"--ground: [^}]+", STYLE)]
TEXTS = ("text", "faint", "accent", "good", "bad", "used", "false", "lost")


def luminance(colour: str) -> float:
    """Give the relative luminance of a colour (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_three_palettes() -> None:
    """There is a light one and a dark one; the dark one is the same whether the system or the switch asked for it."""
    light, by_system, by_switch = PALETTES

    assert by_system == by_switch
    assert set(light) == set(by_system)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ground", ["ground", "panel"])
def test_every_text_can_be_read(name: str, ground: str) -> None:
    """Texts have a contrast of at least 4.5 to 1 (WCAG 2.2, level AA) on whatever they stand."""
    assert min(contrast(palette[name], palette[ground]) for palette in PALETTES) >= 4.5
