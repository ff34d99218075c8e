"""The samplers of ComfyUI and what is linked to them: their schedules, noises, guiders and algorithms."""

from __future__ import annotations

from typing import Any

from nodegraph.comfyui.graph import Node, Source, same, shown
from nodegraph.comfyui.reading import SEED_LIMIT, Draft, Reading, Translation, Untold, by_rule, cleaned
from nodegraph.comfyui.said import Said
from nodegraph.comfyui.table import AFTER, NOISY, WRITTEN

MOST_STEPS, MOST_SPACED = 10_000, 1_000_000


def kept_steps(steps: int, strength: float) -> int:
    """How many steps a schedule of so many keeps at a strength: the same count as the engine's own."""
    return max(1, round(steps * strength))


def spacing(steps: Any, denoise: Any) -> tuple[Any, Any]:
    """Our `steps` and `strength` for ComfyUI's `steps` and `denoise`.

    There, `steps` are taken, the last of int(steps / denoise); here `steps` are spaced and the last share of them
    is taken. The strength is such that just as many are. Raises Untold where that cannot be told.
    """
    if denoise is None or (isinstance(denoise, int | float) and denoise >= 1):
        return steps, 1.0
    if not isinstance(steps, int) or not isinstance(denoise, int | float) or isinstance(steps, bool):
        raise Untold("`steps` and `denoise` have to be numbers, not links, where `denoise` is below 1")
    if denoise <= 0 or not 1 <= steps <= MOST_STEPS or steps / denoise > MOST_SPACED:
        raise Untold(
            Said(
                "with {steps} steps and a `denoise` of {denoise} it does nothing that can be done here",
                steps=shown(steps),
                denoise=shown(denoise),
            )
        )
    total = int(steps / denoise)
    return total, denoise if kept_steps(total, denoise) == steps else steps / total


def _schedule(node: Node, model: Any, steps: Any, strength: Any) -> Draft:
    draft = Draft("Schedule", "schedule")
    draft.put("model", model)
    draft.put("kind", node.inputs.get("scheduler"))
    draft.put("steps", steps)
    draft.values["strength"] = strength
    return draft


def _sampler(
    sigmas: tuple[Draft, str] | Source, told: list[str], *, model: Any, positive: Any, negative: Any, latent: Any,
    seed: Any, scale: Any, name: Any, options: dict[str, Any] | None = None,
) -> Draft:  # fmt: skip
    draft = Draft("Sampler", "sampler")
    for entry, value in (("model", model), ("positive", positive), ("negative", negative), ("latent", latent)):
        if isinstance(value, Source):
            draft.links[entry] = value
    if scale == 1 and same(negative, positive):
        draft.links.pop("negative", None)  # it was never evaluated
    draft.links["sigmas"] = sigmas
    draft.put("sampler", cleaned("sampler_name", name, told))
    draft.put("seed", cleaned("seed", seed, told))
    draft.put("guidance_scale", scale)
    for entry, value in (options or {}).items():
        draft.put(entry, value)
    return draft


def ksampler(translation: Translation, node: Node) -> Reading:
    """KSampler: a Sampler, and the Schedule of its sigmas."""
    denoise = translation.value(node, "denoise", 1.0)
    return _with_schedule(node, *spacing(node.inputs.get("steps"), denoise), node.inputs.get("seed"))


def ksampler_advanced(translation: Translation, node: Node) -> Reading:
    """KSamplerAdvanced: a Sampler over a stretch of a schedule, which may go on with what another left noisy."""
    adds = translation.word(node, "add_noise", "enable") == "enable"
    start = translation.value(node, "start_at_step", 0)
    end = translation.value(node, "end_at_step", 10_000)
    steps: Any = node.inputs.get("steps")
    for value in (start, end):
        if not isinstance(value, int):
            raise Untold("`start_at_step` and `end_at_step` have to be numbers")
    if start or end < 10_000:
        steps = translation.value(node, "steps", None)
        if not isinstance(steps, int) or not 0 <= start < min(steps, end):
            raise Untold("it starts before its first step or after its last")
    stops, seed = end < 10_000 and end < steps, node.inputs.get("noise_seed")
    if adds and not stops:
        return _with_schedule(node, steps, (steps - start) / steps if start else 1.0, seed)
    if stops and translation.word(node, "return_with_leftover_noise", "disable") != "enable":
        raise Untold("it stops before the last step and takes all noise away at once, which no Sampler here does")
    return _stretch(node, steps, start, end - start if stops else 0, seed, adds)


def _stretch(node: Node, steps: Any, start: int, count: int, seed: Any, adds: bool) -> Reading:
    """A Sampler from a step on, for a count of steps or to the end; without noise where it does not add any."""
    schedule = _schedule(node, node.inputs.get("model"), steps, 1.0)
    drafts, sigmas = [schedule], (schedule, "sigmas")
    for step, output in ((start, "last"), (count, "first")):
        if step:
            split = Draft("SplitSigmas", "split", {"step": step}, {"sigmas": sigmas})
            drafts.append(split)
            sigmas = (split, output)
    reading = _sampled(node, sigmas, seed)
    reading.drafts += drafts if adds else [*drafts, *_silenced(reading.drafts[0])]
    return reading


def _silenced(sampler: Draft) -> list[Draft]:
    """Let a Sampler add no noise to its latent. Gives what is linked to it for that."""
    latent = sampler.links.get("latent")
    if latent is None:
        return []
    silence = Draft("NoNoise", "no_noise", links={"latent": latent})
    sampler.links["noise"] = (silence, "latent")
    return [silence]


def _with_schedule(node: Node, steps: Any, strength: Any, seed: Any) -> Reading:
    schedule = _schedule(node, node.inputs.get("model"), steps, strength)
    reading = _sampled(node, (schedule, "sigmas"), seed)
    reading.drafts.append(schedule)
    return reading


def _sampled(node: Node, sigmas: tuple[Draft, str], seed: Any) -> Reading:
    told: list[str] = []
    given = node.inputs
    sampler = _sampler(
        sigmas, told, model=given.get("model"), positive=given.get("positive"), negative=given.get("negative"),
        latent=given.get("latent_image"), seed=seed, scale=given.get("cfg"), name=given.get("sampler_name"),
    )  # fmt: skip
    return Reading([sampler], {0: (sampler, "latent")}, told=told)


def basic_scheduler(translation: Translation, node: Node) -> Reading:
    """BasicScheduler: a Schedule."""
    steps, strength = spacing(node.inputs.get("steps"), translation.value(node, "denoise", 1.0))
    draft = _schedule(node, node.inputs.get("model"), steps, strength)
    return Reading([draft], {0: (draft, "sigmas")})


def sampler_custom(translation: Translation, node: Node) -> Reading:
    """SamplerCustom: a Sampler, with the node that chooses its algorithm."""
    adds = translation.value(node, "add_noise", True)
    name, options, absorbed = _algorithm(translation, node)
    given = node.inputs
    told: list[str] = []
    draft = _sampler(
        _sigmas(translation, node), told, model=given.get("model"), positive=given.get("positive"),
        negative=given.get("negative"), latent=given.get("latent_image"), seed=given.get("noise_seed"),
        scale=given.get("cfg"), name=name, options=options,
    )  # fmt: skip
    drafts = [draft] if adds else [draft, *_silenced(draft)]
    return Reading(drafts, {0: (draft, "latent"), 1: (draft, "latent")}, absorbed, told)


def sampler_custom_advanced(translation: Translation, node: Node) -> Reading:
    """SamplerCustomAdvanced: a Sampler, with the nodes of its noise, its guider and its algorithm."""
    noise = translation.graph.source(node, "noise")
    if noise is None or noise[1].type not in ("RandomNoise", "DisableNoise"):
        raise Untold("its noise comes from no RandomNoise, and a Sampler here draws its own from a seed")
    guider = translation.graph.source(node, "guider")
    if guider is None or guider[1].type not in ("BasicGuider", "CFGGuider"):
        raise Untold("its guider is no BasicGuider or CFGGuider, the ones that have a counterpart here")
    name, options, absorbed = _algorithm(translation, node)
    told: list[str] = []
    guide = guider[1].inputs
    is_basic = guider[1].type == "BasicGuider"
    draft = _sampler(
        _sigmas(translation, node), told, model=guide.get("model"),
        positive=guide.get("conditioning" if is_basic else "positive"),
        negative=None if is_basic else guide.get("negative"), latent=node.inputs.get("latent_image"),
        seed=noise[1].inputs.get("noise_seed"), scale=1.0 if is_basic else guide.get("cfg"), name=name,
        options=options,
    )  # fmt: skip
    absorbed = (*absorbed, noise[0].node, guider[0].node)
    drafts = [draft] if noise[1].type == "RandomNoise" else [draft, *_silenced(draft)]
    return Reading(drafts, {0: (draft, "latent"), 1: (draft, "latent")}, absorbed, told)


def _algorithm(translation: Translation, node: Node) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
    found = translation.graph.source(node, "sampler")
    if found is None:
        raise Untold("no sampler is linked to it")
    source, chooser = found
    if chooser.type == "KSamplerSelect":
        return chooser.inputs.get("sampler_name"), {}, (source.node,)
    if chooser.type in NOISY:
        name, fixed = NOISY[chooser.type]
        odd = [entry for entry, value in fixed.items() if chooser.inputs.get(entry, value) != value]
        if chooser.type == "SamplerDPMPP_2M_SDE" and chooser.inputs.get("solver_type") == "heun":
            name, odd = "dpmpp_2m_sde_heun", [entry for entry in odd if entry != "solver_type"]
        if any(entry != "noise_device" for entry in odd):
            raise Untold(
                Said(
                    "{type} has options that a Sampler here does not: {options}",
                    type=chooser.type,
                    options=", ".join(odd),
                )
            )
        return name, {entry: chooser.inputs.get(entry) for entry in ("eta", "s_noise")}, (source.node,)
    raise Untold(Said("its sampler is chosen by {type}, which has no counterpart here", type=shown(chooser.type)))


def _sigmas(translation: Translation, node: Node) -> Source:
    found = translation.graph.source(node, "sigmas")
    if found is None:
        raise Untold("no sigmas are linked to it")
    return found[0]


def whole_number(translation: Translation, node: Node) -> Reading:
    """PrimitiveInt: an Integer, or a Seed where a run changes it."""
    value, after = node.inputs.get("value"), node.inputs.get(AFTER, "fixed")
    is_seed = isinstance(value, int) and 0 <= value < SEED_LIMIT and after != "fixed"
    type = "Seed" if is_seed else "Integer"
    return by_rule(translation, node, next(one for one in WRITTEN[type] if one.comfy == node.type))


def chooser(_: Translation, __: Node) -> Reading:
    """What says something to a sampler alone, and stays where no sampler here can be told it."""
    raise Untold("a Sampler here has it among its own inputs, but what this is linked to is none")
