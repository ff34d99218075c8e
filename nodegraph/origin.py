"""Where values that are no numbers come from: the node that made them is seldom the one that fails of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nodegraph.cache.memory import parts
from nodegraph.call import Outputs
from nodegraph.plan import Step


def origin_in_words(step: Step, steps: Mapping[str, Step], outputs: Callable[[Step], Outputs | None]) -> str:
    """Which node above this one made values that are no numbers (NaN or infinite); "" where it was given none.

    Args:
        step: the node that failed.
        steps: of the plan.
        outputs: what a node gave, where it is still known.
    """
    found, older = None, True
    while older:
        older = False
        for link in (link for links in step.links.values() for link in links):
            given = outputs(steps[link.node])
            if given is not None and _holds_no_number(given.get(link.output)):
                found, step, older = link, steps[link.node], True
                break
    if found is None:
        return ""
    return (
        f"values that are no numbers (NaN or infinite) came in from {found.node!r} ({step.shape.type.name}), "
        f"whose output {found.output!r} is the first known to hold them"
    )


def _holds_no_number(value: object) -> bool:
    for part in parts(value):
        if isinstance(part, float) and part != part:
            return True
        is_float = getattr(part, "is_floating_point", None)
        try:
            if is_float is not None and is_float() and not bool(part.isfinite().all()):
                return True
        except Exception:  # tensors without values, and objects of plugins that merely look like one
            continue
    return False
