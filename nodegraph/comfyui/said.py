"""What is said of a node of ComfyUI: sentences with slots, which the editor has in other languages too."""

from __future__ import annotations

from typing import Self


class Said(str):
    """A sentence as it reads in English, with the template that it was made from and what fills its slots.

    Args:
        template: the sentence with `{name}` for each slot; what other languages know it by.
        slots: by name, as they are shown.
    """

    template: str
    slots: dict[str, str]

    def __new__(cls, template: str, **slots: object) -> Self:
        words = {name: str(value) for name, value in slots.items()}
        one = super().__new__(cls, template.format(**words) if words else template)
        one.template = template
        one.slots = words
        return one


def as_said(sentence: str) -> Said:
    """A sentence without slots is its own template."""
    return sentence if isinstance(sentence, Said) else Said(sentence)
