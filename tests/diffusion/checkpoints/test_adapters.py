"""LoRAs in every layout, ControlNets, other VAEs and learned words, on tiny checkpoints of random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from nodegraph.nodes.adapters import (
    ApplyControlNet,
    LoadControlNet,
    LoadEmbedding,
    LoadLora,
    LoadVAE,
    SizeConditioning,
)
from nodegraph.nodes.animation import LatentWalk
from nodegraph.nodes.models import Encode, EncodeEach, LoadModel, denoiser_of, text_encoder_of
from nodegraph.nodes.sampling import DDIMInvert, EmptyLatent, Sampler, Schedule
from nodegraph.nodes.theory import LogLikelihood, StepFilm
from safetensors.torch import save_file
from torch import Tensor, nn

from nodegraph import Context
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.values import Condition, Conditioning, Image, Latent
from nodegraph.files import Files

RANK, ALPHA = 4, 2.0
KINDS = ("checkpoints", "loras", "vae", "embeddings", "controlnet")


@dataclass
class Desk:
    """A folder of models, and a context over it."""

    folder: Path
    tiny: tiny.Tiny
    context: Context

    def put(self, kind: str, name: str, tensors: dict[str, Tensor]) -> str:
        save_file({key: value.contiguous() for key, value in tensors.items()}, self.folder / kind / name)
        return name


def desk(folder: Path, family: str) -> Desk:
    for kind in KINDS:
        (folder / kind).mkdir()
    made = tiny.make(family)
    tiny.save_single(made, folder / "checkpoints" / "base.safetensors")
    files = Files({kind: [folder / kind] for kind in KINDS})
    return Desk(folder, made, Context(files=files))


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def any_desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk(tmp_path_factory.mktemp("sd1"), "sd1")


def targets(network: nn.Module) -> dict[str, nn.Module]:
    """Modules of every kind that LoRAs change."""
    wanted = (
        "attn1.to_q",
        "attn2.to_out.0",
        "proj_in",
        "ff.net.0.proj",
        "conv1",
        "time_emb_proj",
        "fc1",
        "k_proj",
    )
    return {name: module for name, module in network.named_modules() if name.endswith(wanted)}


def matrices(one: tiny.Tiny, seed: int = 1) -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
    """Random `down` and `up` for modules of every network of a checkpoint."""
    torch.manual_seed(seed)
    found: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
    for part, network in one.networks.items():
        if part == "vae":
            continue
        for name, module in targets(network).items():
            shape = module.weight.shape  # type: ignore[union-attr]
            down, up = (
                torch.randn(RANK, *shape[1:]) * 0.1,
                torch.randn(shape[0], RANK, *[1] * (len(shape) - 2)) * 0.1,
            )
            found.setdefault(part, {})[name.removeprefix("text_model.")] = (down, up)
    return found


def diffusers_layout(one: tiny.Tiny) -> dict[str, Tensor]:
    tensors = {}
    for part, modules in matrices(one).items():
        inner = "" if part == "unet" else "text_model."
        for name, (down, up) in modules.items():
            tensors[f"{part}.{inner}{name}.lora_A.weight"] = down
            tensors[f"{part}.{inner}{name}.lora_B.weight"] = up * (ALPHA / RANK)
    return tensors


def old_diffusers_layout(one: tiny.Tiny) -> dict[str, Tensor]:
    tensors = {}
    for name, value in diffusers_layout(one).items():
        name = name.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up.")
        if ".attn1.to_q." in name:
            name = name.replace(".attn1.to_q.lora.", ".attn1.processor.to_q_lora.")
        tensors[name] = value
    return tensors


def kohya_layout(one: tiny.Tiny, *, original: bool = False) -> dict[str, Tensor]:
    """The layout of kohya's trainer; for SDXL with the names of the original U-Net."""
    large = one.family == "sdxl"
    starts = {
        "unet": "lora_unet",
        "text_encoder": "lora_te1" if large else "lora_te",
        "text_encoder_2": "lora_te2",
    }
    tensors = {}
    for part, modules in matrices(one).items():
        for name, (down, up) in modules.items():
            if part != "unet":
                name = f"text_model.{name}"
            elif original:
                name = tiny._renamed(f"{name}.", tiny.unet_prefixes(one.networks["unet"])).removesuffix(".")
            key = f"{starts[part]}_{name.replace('.', '_')}"
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
    return tensors


LAYOUTS: dict[str, Any] = {
    "diffusers": diffusers_layout,
    "old diffusers": old_diffusers_layout,
    "kohya": kohya_layout,
    "kohya, original names": lambda one: kohya_layout(one, original=True),
}


def applied(one: tiny.Tiny, strength: float) -> list[Any]:
    """The LoRA beside the weights and not in them: hooks that add strength * up(down(x)) to what modules give."""
    hooks = []
    for part, modules in matrices(one).items():
        inside = {name.removeprefix("text_model."): m for name, m in one.networks[part].named_modules()}
        for name, (down, up) in modules.items():

            def add(module: Any, given: Any, output: Tensor, down: Tensor = down, up: Tensor = up) -> Tensor:
                if isinstance(module, nn.Conv2d):
                    low = nn.functional.conv2d(given[0], down, None, module.stride, module.padding)
                    return output + strength * ALPHA / RANK * nn.functional.conv2d(low, up)
                return output + strength * ALPHA / RANK * (given[0] @ down.T @ up.T)

            hooks.append(inside[name].register_forward_hook(add))
    return hooks


def predicted(live: Any, condition: Condition) -> Tensor:
    torch.manual_seed(3)
    return live.predict(torch.randn(1, 4, 8, 8), 2.0, [condition])[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_merged_equals_applied_in_every_layout(any_desk: Desk, layout: str) -> None:
    on = any_desk
    name = on.put("loras", f"{layout}.safetensors", LAYOUTS[layout](on.tiny))
    model, text_encoder, _ = LoadModel(on.context, "base.safetensors")
    plain = Encode(on.context, text_encoder, "a cat").conditions[0]
    changed = LoadLora(on.context, model, text_encoder, name, 0.7, 0.7)
    told = Encode(on.context, changed.text_encoder, "a cat").conditions[0]
    merged = predicted(denoiser_of(on.context, changed.model), told)

    live = on.context.open(model.checkpoint)
    unet = live.denoiser.network  # type: ignore[attr-defined]
    base = denoiser_of(on.context, model)
    again = Encode(on.context, text_encoder, "a cat").conditions[0]
    assert torch.equal(plain.embedding, again.embedding)  # type: ignore[arg-type]
    encoders = [one.network for one in live.text_encoder.encoders]  # type: ignore[attr-defined]
    ours = tiny.Tiny(on.tiny.family, networks={"unet": unet, "vae": None})
    ours.networks |= dict(zip([n for n in on.tiny.networks if n.startswith("text")], encoders, strict=True))
    predicted(base, plain)  # takes the LoRA out again
    hooks = applied(ours, 0.7)
    by_hooks = Encode(on.context, text_encoder, "a cat").conditions[0]
    beside = predicted(base, by_hooks)
    for hook in hooks:
        hook.remove()
    assert float((told.embedding - by_hooks.embedding).abs().max()) < 1e-5  # type: ignore[operator]
    assert float((merged - beside).abs().max()) < 1e-5
    assert float((merged - predicted(base, plain)).abs().max()) > 1e-3


def test_loras_stack_and_come_out_exactly(sd1: Desk) -> None:
    first = sd1.put("loras", "first.safetensors", kohya_layout(sd1.tiny))
    second = sd1.put(
        "loras",
        "second.safetensors",
        {k: -2 * v if k.endswith("lora_up.weight") else v for k, v in kohya_layout(sd1.tiny).items()},
    )
    model, text_encoder, _ = LoadModel(sd1.context, "base.safetensors")
    told = Encode(sd1.context, text_encoder, "a cat").conditions[0]
    before = predicted(denoiser_of(sd1.context, model), told)
    once = LoadLora(sd1.context, model, text_encoder, first, 1.0, 1.0)
    both = LoadLora(sd1.context, once.model, once.text_encoder, second, 0.5, 0.5)  # takes the first away again
    assert not torch.allclose(predicted(denoiser_of(sd1.context, once.model), told), before, atol=1e-3)
    assert torch.allclose(predicted(denoiser_of(sd1.context, both.model), told), before, atol=1e-5)
    assert torch.equal(predicted(denoiser_of(sd1.context, model), told), before)
    nothing = LoadLora(sd1.context, model, text_encoder, first, 0.0, 0.0)
    assert torch.equal(predicted(denoiser_of(sd1.context, nothing.model), told), before)


def test_a_loha_and_a_whole_difference_are_added(sd1: Desk) -> None:
    weight = sd1.tiny.networks["unet"].mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight.detach()
    torch.manual_seed(0)
    parts = {
        f"hada_w{i}_{j}": torch.randn(64, 4) if j == "a" else torch.randn(4, 64) for i in (1, 2) for j in "ab"
    }
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    product = (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"]) * (2 / 4)
    loha = {f"{key}.{name}": value for name, value in parts.items()} | {f"{key}.alpha": torch.tensor(2.0)}
    for name, tensors, expected in (
        ("loha", loha, weight + 0.5 * product),
        ("difference", {f"{key}.diff": product}, weight + 0.5 * product),
    ):
        file = sd1.put("loras", f"{name}.safetensors", tensors)
        model, text_encoder, _ = LoadModel(sd1.context, "base.safetensors")
        changed = LoadLora(sd1.context, model, text_encoder, file, 0.5)
        live: Any = denoiser_of(sd1.context, changed.model)
        predicted(live, Encode(sd1.context, text_encoder, "").conditions[0])
        found = live.network.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
        assert torch.allclose(found, expected, atol=1e-6)


def test_a_lora_that_does_not_fit_is_refused_before_anything_is_loaded(sd1: Desk) -> None:
    model, text_encoder, _ = LoadModel(sd1.context, "base.safetensors")
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    cases = {
        "unknown": ({"lora_unet_nowhere.lora_down.weight": torch.ones(4, 4)}, "nowhere.* has no place"),
        "wide": (
            {f"{key}.lora_down.weight": torch.ones(4, 99), f"{key}.lora_up.weight": torch.ones(64, 4)},
            r"has the shape \[4, 99\]",
        ),
        "half": ({f"{key}.lora_down.weight": torch.ones(4, 64)}, "not complete"),
        "dora": ({f"{key}.dora_scale": torch.ones(4, 64)}, "not supported"),
        "none": ({"x": torch.ones(3)}, "is no LoRA"),
    }
    for name, (tensors, words) in cases.items():
        file = sd1.put("loras", f"{name}.safetensors", tensors)
        with pytest.raises(ModelRefused, match=words):
            LoadLora(sd1.context, model, text_encoder, file)
    emoji = LoadModel(Context(files=Files(builtin={"checkpoints": {"emoji": tiny.EMOJI}})), "emoji")
    with pytest.raises(ValueError, match="takes no LoRA"):
        LoadLora(sd1.context, emoji.model, emoji.text_encoder, "half.safetensors")


def control_file(on: Desk, name: str, *, zero: bool, original: bool) -> tuple[str, ControlNetModel]:
    torch.manual_seed(5)
    net = ControlNetModel.from_unet(on.tiny.networks["unet"], conditioning_embedding_out_channels=(8, 8, 16, 16))
    if not zero:
        for value in net.parameters():
            value.data += 0.05 * torch.randn_like(value)
    tensors = net.state_dict()
    if original:
        tensors = {f"control_model.{original_control(net, key)}": value for key, value in tensors.items()}
    return on.put("controlnet", name, {k: v.detach().clone() for k, v in tensors.items()}), net.eval()


def original_control(net: ControlNetModel, key: str) -> str:
    """A weight's name in the first ControlNet files."""
    own = {
        "controlnet_cond_embedding.conv_in.": "input_hint_block.0.",
        "controlnet_mid_block.": "middle_block_out.0.",
    }
    own["controlnet_cond_embedding.conv_out."] = "input_hint_block.14."
    for new, old in own.items():
        if key.startswith(new):
            return old + key.removeprefix(new)
    if key.startswith("controlnet_cond_embedding.blocks."):
        number, leaf = key.removeprefix("controlnet_cond_embedding.blocks.").split(".")
        return f"input_hint_block.{2 * int(number) + 2}.{leaf}"
    if key.startswith("controlnet_down_blocks."):
        number, leaf = key.removeprefix("controlnet_down_blocks.").split(".")
        return f"zero_convs.{number}.0.{leaf}"
    return tiny._renamed(key, tiny.unet_prefixes(net))


HINT = Image(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)))


def test_a_long_line_and_a_short_one_are_painted_as_each_alone(any_desk: Desk) -> None:
    context, lines = any_desk.context, ("a cat", "a very long story of a dog " * 15)
    model, text_encoder, _ = LoadModel(context, "base.safetensors")
    each = EncodeEach(context, text_encoder, "\n".join(lines)).conditions[0]
    assert each.embedding is not None
    assert each.embedding.shape[:2] == (2, 154)
    other = Encode(context, text_encoder, "a house").conditions[0]
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    live = denoiser_of(context, model)
    with torch.inference_mode():
        found, _ = live.predict(x, 2.0, [each, other])
        for item, line in enumerate(lines):
            (alone,) = live.predict(x[item : item + 1], 2.0, Encode(context, text_encoder, line).conditions)
            assert torch.allclose(found[item], alone[0], atol=1e-5)


def test_words_of_another_width_are_refused(sd1: Desk) -> None:
    live = denoiser_of(sd1.context, LoadModel(sd1.context, "base.safetensors").model)
    for words in (Condition(torch.zeros(1, 77, 5)), Condition()):
        with pytest.raises(ValueError, match="was not made by this model's text encoder"):
            live.predict(torch.zeros(1, 4, 8, 8), 2.0, [words])


def test_a_fresh_controlnet_changes_nothing_bit_for_bit(any_desk: Desk) -> None:
    name, _ = control_file(any_desk, "zero.safetensors", zero=True, original=False)
    model, text_encoder, _ = LoadModel(any_desk.context, "base.safetensors")
    told = Encode(any_desk.context, text_encoder, "a cat")
    steered = ApplyControlNet(told, LoadControlNet(any_desk.context, name), HINT)
    plain = predicted(denoiser_of(any_desk.context, model, told), told.conditions[0])
    found = predicted(denoiser_of(any_desk.context, model, steered), steered.conditions[0])
    assert torch.equal(plain, found)


@pytest.mark.parametrize("original", [False, True], ids=["diffusers", "original"])
def test_a_controlnet_steers_as_in_diffusers(any_desk: Desk, original: bool) -> None:
    name, net = control_file(any_desk, f"net{original}.safetensors", zero=False, original=original)
    context = any_desk.context
    model, text_encoder, _ = LoadModel(context, "base.safetensors")
    told = Encode(context, text_encoder, "a cat")
    steered = ApplyControlNet(told, LoadControlNet(context, name), HINT, strength=0.8)
    found = predicted(denoiser_of(context, model, steered), steered.conditions[0])
    torch.manual_seed(3)
    x, sigma, condition = torch.randn(1, 4, 8, 8), 2.0, told.conditions[0]
    extra: dict[str, Any] = {}
    if condition.pooled is not None:
        numbers = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
        extra["added_cond_kwargs"] = {"text_embeds": condition.pooled, "time_ids": numbers}
    from nodegraph.diffusion.sampling.denoisers import network_time

    time = torch.tensor([network_time(model.parametrization, sigma)])
    scaled = x / (1 + sigma**2) ** 0.5
    with torch.inference_mode():
        down, middle = net(
            scaled, time, condition.embedding, HINT.tensor, conditioning_scale=0.8, return_dict=False, **extra
        )
        eps = any_desk.tiny.networks["unet"](
            scaled, time, condition.embedding, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False, **extra,
        )[0]  # fmt: skip
    assert torch.allclose(found, x - sigma * eps, atol=1e-4)
    plain = predicted(denoiser_of(context, model, told), condition)
    assert float((found - plain).abs().max()) > 1e-2


def test_every_node_that_asks_a_network_follows_a_controlnet(sd1: Desk) -> None:
    name, _ = control_file(sd1, "asked.safetensors", zero=False, original=False)
    context = sd1.context
    model, text_encoder, vae = LoadModel(context, "base.safetensors")
    told = Encode(context, text_encoder, "a cat")
    steered = ApplyControlNet(told, LoadControlNet(context, name), HINT)
    vae, sigmas = replace(vae, size=64), Schedule(model, steps=2)
    latent = Latent(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)))
    asked: dict[str, Callable[[Conditioning], Tensor]] = {
        "LatentWalk": lambda by: (
            LatentWalk(context, model, vae, by, sigmas, negative=by, frames=2, loop=False, guidance_scale=2).tensor
        ),
        "StepFilm": lambda by: StepFilm(context, model, vae, by, sigmas, latent, negative=by, frames=2).tensor,
        "LogLikelihood": lambda by: torch.tensor(LogLikelihood(context, model, by, latent, steps=4).log_p),
        "DDIMInvert": lambda by: DDIMInvert(context, model, by, latent, steps=2).tensor,
    }
    for node, ask in asked.items():
        assert not torch.equal(ask(steered), ask(told)), node


def test_each_picture_of_a_batch_follows_its_own_and_no_condition_another(sd1: Desk) -> None:
    name, _ = control_file(sd1, "own.safetensors", zero=False, original=False)
    context = sd1.context
    model, text_encoder, _ = LoadModel(context, "base.safetensors")
    hints = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    net = LoadControlNet(context, name)

    def estimates(x: Tensor, hint: Tensor) -> list[Tensor]:
        texts = [Encode(context, text_encoder, text) for text in ("a cat", "")]
        control = ApplyControlNet(texts[0], net, Image(hint)).conditions[0].controls
        with torch.inference_mode():
            told = [replace(text.conditions[0], controls=control) for text in texts]
            return denoiser_of(context, model, Conditioning(tuple(told))).predict(x, 2.0, told)

    for item in (0, 1):
        alone = estimates(x[item : item + 1], hints[item : item + 1])
        for both, one in zip(estimates(x, hints), alone, strict=True):
            assert torch.allclose(both[item], one[0], atol=1e-5)
    for batch in (x[:1], x.repeat(2, 1, 1, 1)):
        with pytest.raises(ValueError, match=f"2 pictures to follow do not fit a batch of {len(batch)}"):
            estimates(batch, hints)


def test_positive_and_negative_that_follow_the_same_picture_share_a_batch(sd1: Desk) -> None:
    name, _ = control_file(sd1, "shared.safetensors", zero=False, original=False)
    context = sd1.context
    model, text_encoder, vae = LoadModel(context, "base.safetensors")
    net, sizes = LoadControlNet(context, name), list[int]()

    def told(text: str, hint: Tensor, strength: float = 1.0) -> Conditioning:
        return ApplyControlNet(Encode(context, text_encoder, text), net, Image(hint), strength=strength)

    network = context.open(model.checkpoint).denoiser.network  # type: ignore[attr-defined]
    seen = network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    blank, sigmas = EmptyLatent(vae, 64, 64), Schedule(model, steps=2)
    positive = told("a cat", HINT.tensor)
    for negative in (told("", HINT.tensor.clone()), told("", HINT.tensor, 0.5), told("", 1 - HINT.tensor)):
        Sampler(context, model, positive, blank, sigmas, negative)
    seen.remove()
    assert sizes == [2, 2] + [1] * 8


def test_a_controlnet_acts_for_its_share_of_the_schedule(sd1: Desk) -> None:
    name, _ = control_file(sd1, "part.safetensors", zero=True, original=False)
    told = Conditioning((Condition(torch.zeros(1, 77, 64), start=0.1, end=0.8),))
    pieces = ApplyControlNet(told, LoadControlNet(sd1.context, name), HINT, start=0.3, end=0.5).conditions
    shares = [(piece.start, piece.end, len(piece.controls)) for piece in pieces]
    assert shares == [(0.1, 0.3, 0), (0.3, 0.5, 1), (0.5, 0.8, 0)]
    assert len(ApplyControlNet(told, LoadControlNet(sd1.context, name), HINT).conditions) == 1


def test_another_vae_takes_the_models_scale(sd1: Desk) -> None:
    model, _, own = LoadModel(sd1.context, "base.safetensors")
    other = tiny.make("sd1", seed=9).networks["vae"]
    file = sd1.put("vae", "other.safetensors", {k: v.detach() for k, v in tiny.original_vae(other).items()})
    vae = LoadVAE(sd1.context, model, file)
    assert (vae.latent_channels, vae.downscale, vae.size) == (own.latent_channels, own.downscale, own.size)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = other.encode(image * 2 - 1).latent_dist.mode() * 0.18215
    assert torch.allclose(sd1.context.open(vae.checkpoint).vae.encode(image), expected, atol=1e-5)
    with pytest.raises(ValueError, match="holds no denoising network"):
        sd1.context.open(vae.checkpoint).denoiser.predict(torch.zeros(1, 4, 8, 8), 1.0, [])
    lora = sd1.put("vae", "lora.safetensors", kohya_layout(sd1.tiny))
    with pytest.raises(ModelRefused, match="a VAE is wanted here"):
        LoadVAE(sd1.context, model, lora)


def test_a_learned_word_is_read_from_its_file(any_desk: Desk) -> None:
    context = any_desk.context
    _, text_encoder, _ = LoadModel(context, "base.safetensors")
    live: Any = text_encoder_of(context, text_encoder)
    tables = [
        next(v for k, v in encoder.network.state_dict().items() if k.endswith("token_embedding.weight"))
        for encoder in live.encoders
    ]
    cat = 2368
    vectors = {name: table[[cat, cat]].clone() for name, table in zip(("clip_l", "clip_g"), tables, strict=False)}
    if len(tables) == 1:
        vectors = {"emb_params": vectors["clip_l"]}
    file = any_desk.put("embeddings", "mine.safetensors", vectors)
    taught = LoadEmbedding(context, text_encoder, file)
    assert torch.equal(
        Encode(context, taught, "a mine").conditions[0].embedding, Encode(context, text_encoder, "a cat cat").conditions[0].embedding
    )  # fmt: skip
    named = LoadEmbedding(context, text_encoder, file, "zebra")
    assert torch.equal(
        Encode(context, named, "zebra").conditions[0].embedding, Encode(context, text_encoder, "cat cat").conditions[0].embedding
    )  # fmt: skip
    wrong = any_desk.put("embeddings", "wrong.safetensors", {"emb_params": torch.ones(2, 99)})
    with pytest.raises(ModelRefused, match="no learned word for this model"):
        Encode(context, LoadEmbedding(context, text_encoder, wrong), "wrong")


def test_sdxl_is_told_sizes(any_desk: Desk) -> None:
    model, text_encoder, _ = LoadModel(any_desk.context, "base.safetensors")
    told = Encode(any_desk.context, text_encoder, "a cat")
    live = denoiser_of(any_desk.context, model)
    plain = predicted(live, told.conditions[0])
    same = predicted(live, SizeConditioning(told, 64, 64).conditions[0])
    other = predicted(live, SizeConditioning(told, 512, 512, 10, 10).conditions[0])
    assert torch.equal(plain, same)
    assert torch.equal(plain, other) == (any_desk.tiny.family == "sd1")
