"""Wan from picture to video: that of 2.1 with CLIP's eyes, from two pictures, and 2.2's two networks without eyes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline, WanPipeline
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import Encode, LoadModel, LoadTextEncoder, VAEDecode
from nodegraph.nodes.parts import PairNetworks
from nodegraph.nodes.sampling import EmptyVideo, Sampler
from nodegraph.nodes.shown import ImageToVideo, LoadImageEncoder
from PIL import Image as Picture
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, PreTrainedTokenizerFast
from transformers.models.clip.modeling_clip import CLIPVisionModel

from nodegraph import Context
from nodegraph.diffusion.checkpoints import image_encoder
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Image, Latent, Sigmas
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT, FRAMES, SIDE = 3, 32, 48, 9, 32
BOUNDARY, SCALE = 0.9, 5.0
PROMPT, NEGATIVE = "a cat walks", "a dog"
EYES = 64  # numbers of a patch
KINDS = ("2.1", "2.1 two pictures", "2.2")


def networks(kind: str) -> dict[str, Any]:
    """Tiny networks of a kind, with eyes where it has some."""
    config: dict[str, Any] = {"in_channels": 36}
    if kind != "2.2":
        config |= {"image_dim": EYES, "added_kv_proj_dim": 128}
    if kind == "2.1 two pictures":
        config["pos_embed_seq_len"] = 2 * (1 + (SIDE // 8) ** 2)
    found = tiny_flow.wan(two=kind == "2.2", **config).networks
    found["vae"].quant_conv.weight.data.mul_(8)  # so that what it is shown counts
    for name in found.keys() & {"transformer", "transformer_2"}:
        found[name].patch_embedding.weight.data[:, 16:].mul_(8)
    if kind != "2.2":
        for block in found["transformer"].blocks:  # so that the eyes count
            block.attn2.add_v_proj.weight.data.mul_(16)
            torch.nn.init.normal_(block.attn2.norm_added_k.weight)
        found["image_encoder"] = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=EYES, intermediate_size=96, num_hidden_layers=2, num_attention_heads=16, image_size=SIDE,
                patch_size=8, hidden_act="gelu",
            )
        ).eval()  # fmt: skip
    return found


class Made:
    """Wan of a kind in every form, in a folder of models; and its networks."""

    def __init__(self, kind: str, models: Path) -> None:
        self.kind, self.models, self.networks = kind, models, networks(kind)
        one = tiny_flow.wan()
        one.networks = self.networks
        folder = tiny_flow.save_folder(
            one, models / "checkpoints" / "folder", "tokenizer", boundary_ratio=BOUNDARY
        )
        tiny_flow.save_tokenizer(folder / "tokenizer" / "tokenizer.json")
        for name in ("transformer", "transformer_2"):
            if name in self.networks:
                original = tiny_flow.original_wan(self.networks[name])
                tiny_flow.save(original, models / "diffusion_models" / f"{name}.safetensors")
        encoder = tiny_flow.text(self.networks["text_encoder"])
        tiny_flow.save(encoder, models / "text_encoders" / "umt5.safetensors")
        tiny_flow.save(tiny_flow.original_frames_vae(self.networks["vae"]), models / "vae" / "wan.safetensors")
        tiny_flow.save_tokenizer(models / "tokenizers" / "umt5.json")
        if "image_encoder" in self.networks:
            eyes = tiny_flow.prefixed("vision_model.", self.networks["image_encoder"].state_dict())
            eyes["visual_projection.weight"] = torch.ones(4, EYES)
            tiny_flow.save(eyes, models / "clip_vision" / "clip_vision_h.safetensors")

    def context(self) -> Context:
        home = Home(self.models.parent / "home", self.models.parent / "cache", (self.models,))
        return Context(files=home.files(output=self.models))

    @property
    def pictures(self) -> list[Image]:
        """The first frame, and the last one where the kind wants one."""
        generator = torch.Generator().manual_seed(5)
        count = 2 if self.kind == "2.1 two pictures" else 1
        drawn = [torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), generator=generator) / 255 for _ in range(count)]
        return [Image(one) for one in drawn]


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp("home") / "models")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made("2.1", tmp_path_factory.mktemp("home") / "models")


def test_the_layout_of_the_tests_is_the_one_that_diffusers_reads(made: Made) -> None:
    original = load_file(made.models / "diffusion_models" / "transformer.safetensors")
    found, expected = convert_wan_transformer_to_diffusers(original), made.networks["transformer"].state_dict()
    if "img_emb.emb_pos" in found:  # which they leave as it is
        found["condition_embedder.image_embedder.pos_embed"] = found.pop("img_emb.emb_pos")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("form", ["checkpoints/folder", "diffusion_models/transformer.safetensors"])
def test_every_weight_arrives(made: Made, form: str) -> None:
    path, context = made.models / form, made.context()
    live = load(describe(form, path, "digest").model.checkpoint, path, "cpu")
    ours: dict[str, Any] = {"transformer": live.networks["denoiser"]}
    if made.kind != "2.2":
        model = LoadModel(context, "folder").model
        encoder = LoadImageEncoder(context, model=model if "folder" in form else None,
                                   file=None if "folder" in form else "clip_vision_h.safetensors")  # fmt: skip
        place = made.models / (
            "checkpoints/folder" if "folder" in form else "clip_vision/clip_vision_h.safetensors"
        )
        eyes = load(encoder.checkpoint, place, "cpu")
        assert eyes.networks.keys() == {"image_encoder"}
        ours |= eyes.networks
    for name, network in ours.items():
        expected, found = made.networks[name].state_dict(), network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


def started(context: Context, made: Made, vae: Any, form: str, pictures: list[Image]) -> Latent:
    """The latent that starts from pictures."""
    encoder = None
    if made.kind != "2.2":
        model = LoadModel(context, "folder").model
        encoder = LoadImageEncoder(context, model=model) if form == "folder" else None
        encoder = encoder or LoadImageEncoder(context, "clip_vision_h.safetensors")
    last = pictures[1] if len(pictures) > 1 else None
    return ImageToVideo(context, vae, pictures[0], WIDTH, HEIGHT, FRAMES, last, encoder)


def painted(made: Made, form: str, pictures: list[Image]) -> Tensor:
    """Frames through the nodes."""
    context = made.context()
    if form == "folder":
        model, text_encoder, vae = LoadModel(context, "folder")
    else:
        model = LoadModel(context, "transformer.safetensors").model
        if made.kind == "2.2":
            model = PairNetworks(model, LoadModel(context, "transformer_2.safetensors").model, BOUNDARY)
        text_encoder = LoadTextEncoder(context, "wan", "umt5.safetensors", tokenizer="umt5.json")
        vae = LoadVAE(context, model, "wan.safetensors")
    schedule = FlowMatchEulerDiscreteScheduler(shift=5.0)
    schedule.set_timesteps(STEPS)
    time = schedule.sigmas.double().clamp(max=1 - 1e-6)
    words, negative = Encode(context, text_encoder, PROMPT), Encode(context, text_encoder, NEGATIVE)
    latent = started(context, made, vae, form, pictures)
    video = Sampler(context, model, words, latent, Sigmas(time / (1 - time)), negative, "euler", 7, SCALE)
    return VAEDecode(context, vae, video).tensor


@pytest.fixture(scope="module")
def theirs(made: Made) -> Tensor:
    """diffusers' own pipeline with its own tokens, processor of pictures and sampler."""
    path = str(made.models / "tokenizers" / "umt5.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, pad_token="<pad>", eos_token="</s>")
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    pipeline = WanImageToVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), tokenizer=tokenizer, image_processor=processor,
        boundary_ratio=BOUNDARY if made.kind == "2.2" else None, **made.networks,
    )  # fmt: skip
    # The pipeline from pictures reads no prompts unless ftfy is installed; that from text does.
    reads = WanPipeline(scheduler=None, tokenizer=tokenizer, vae=None, text_encoder=made.networks["text_encoder"])
    words, negative = reads.encode_prompt(f"{PROMPT}</s>", f"{NEGATIVE}</s>", max_sequence_length=512)
    pipeline.set_progress_bar_config(disable=True)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, FRAMES // 4 + 1, HEIGHT // 8, WIDTH // 8))
    shown = [
        Picture.fromarray((one.tensor[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
        for one in made.pictures
    ]
    with torch.inference_mode():
        return pipeline(
            shown[0], prompt_embeds=words, negative_prompt_embeds=negative, num_inference_steps=STEPS,
            guidance_scale=SCALE, latents=noise, output_type="pt", height=HEIGHT, width=WIDTH, num_frames=FRAMES,
            last_image=shown[1] if len(shown) > 1 else None,
        ).frames[0]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "parts"])
def test_the_frames_are_those_of_diffusers(made: Made, theirs: Tensor, form: str) -> None:
    ours = painted(made, form, made.pictures)
    assert ours.shape == (FRAMES, 3, HEIGHT, WIDTH)
    assert float((ours - theirs).abs().max()) < 1e-3


def test_each_picture_counts(made: Made, theirs: Tensor) -> None:
    for changed in range(len(made.pictures)):
        pictures = [Image(1 - one.tensor) if i == changed else one for i, one in enumerate(made.pictures)]
        assert float((painted(made, "folder", pictures) - theirs).abs().max()) > 1e-2


def test_the_eyes_count(first: Made) -> None:
    """The same picture beside the noise, and another one before the eyes."""
    context = first.context()
    model, text_encoder, vae = LoadModel(context, "folder")
    words, (picture,) = Encode(context, text_encoder, PROMPT), first.pictures
    one, other = (started(context, first, vae, "folder", [Image(tensor)]) for tensor in
                  (picture.tensor, 1 - picture.tensor))  # fmt: skip
    assert one.shown is not None
    assert other.shown is not None
    swapped = Latent(one.tensor, shown=type(one.shown)(one.shown.channels, other.shown.states))
    sigmas = Sigmas(torch.tensor([20.0, 1.0, 0.0]))
    found = [
        Sampler(context, model, words, latent, sigmas, None, "euler", 7, 1.0).tensor for latent in (one, swapped)
    ]
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_pictures_are_read_as_transformers_reads_them(first: Made) -> None:
    """Larger pictures, of another aspect: PIL's resizing and ours differ by what it rounds."""
    context = first.context()
    encoder = LoadImageEncoder(context, "clip_vision_h.safetensors")
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(90, 120), mode="bilinear")
    pixels = (smooth[0] * 255).round().to(torch.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    shown = processor(Picture.fromarray(pixels.permute(1, 2, 0).numpy()), return_tensors="pt").pixel_values
    with torch.inference_mode():
        expected = first.networks["image_encoder"](shown, output_hidden_states=True).hidden_states[-2]
    ours = context.open(encoder.checkpoint).eyes.read(pixels[None] / 255)
    assert float((ours - expected).abs().max()) < 0.05 * float(expected.std())


def test_a_picture_of_another_aspect_is_cut_at_its_middle(first: Made) -> None:
    context = first.context()
    vae = LoadModel(context, "folder").vae
    wide = torch.zeros(1, 3, HEIGHT, 3 * WIDTH)
    wide[..., WIDTH : 2 * WIDTH] = first.pictures[0].tensor
    cut = ImageToVideo(context, vae, Image(wide), WIDTH, HEIGHT, 5)
    exact = ImageToVideo(context, vae, first.pictures[0], WIDTH, HEIGHT, 5)
    assert cut.shown is not None
    assert exact.shown is not None
    assert torch.equal(cut.shown.channels, exact.shown.channels)


def test_what_it_is_shown_says_which_frames_are_given(first: Made) -> None:
    context = first.context()
    vae = LoadModel(context, "folder").vae
    (picture,) = first.pictures
    for last, given in ((None, [[1] * 4, [0] * 4, [0] * 4]), (picture, [[1] * 4, [0] * 4, [0, 0, 0, 1]])):
        shown = ImageToVideo(context, vae, picture, WIDTH, HEIGHT, FRAMES, last).shown
        assert shown is not None
        assert shown.channels[0, :4, :, 0, 0].T.tolist() == given


def test_it_is_known_by_its_header_and_listed(made: Made) -> None:
    files = made.context().files
    found = {}
    for kind in ("checkpoints", "image_encoders"):
        names = [name for name in files.names(kind) if name != "emoji"]
        for entry in listed(kind, {name: files.find(kind, name) for name in names}):
            found[entry.name] = entry.family, entry.problem
    assert {family for name, (family, _) in found.items() if "clip" not in name} == {"Wan 2, picture to video"}
    assert not any(problem for _, problem in found.values())
    assert found.get("clip_vision_h.safetensors", ("image encoder", ""))[0] == "image encoder"


def test_what_is_not_shown_or_not_wanted_is_refused(made: Made, tmp_path: Path) -> None:
    context = made.context()
    model, text_encoder, vae = LoadModel(context, "folder")
    words, sigmas = Encode(context, text_encoder, PROMPT), Sigmas(torch.tensor([20.0, 1.0, 0.0]))
    started_here = started(context, made, vae, "folder", made.pictures)

    def refused(latent: Latent, words_of_it: str, of: Any = model) -> None:
        with pytest.raises(ValueError, match=words_of_it):
            Sampler(context, of, words, latent, sigmas, None, "euler", 7, 1.0)

    refused(EmptyVideo(vae, WIDTH, HEIGHT, FRAMES), "starts from a picture; make the latent with ImageToVideo")
    assert started_here.shown is not None
    without = type(started_here.shown)(started_here.shown.channels)
    if made.kind == "2.2":
        states = type(started_here.shown)(started_here.shown.channels, torch.ones(1, 17, EYES))
        refused(Latent(started_here.tensor, shown=states), "reads no image encoder; unlink `image_encoder`")
    else:
        refused(Latent(started_here.tensor, shown=without), "link a LoadImageEncoder of CLIP ViT-H")
    if made.kind == "2.1 two pictures":
        refused(started(context, made, vae, "folder", made.pictures[:1]), "first and a last picture; link both")
    refused(
        started_here, "brings 20 channels of a picture, and this model takes 0", LoadModel(context, "emoji").model
    )
    refused(
        replace(started_here, tensor=torch.zeros(1, 16, 1, 4, 4)), "change the latent's size before the picture"
    )


def test_what_is_no_image_encoder_is_refused(first: Made, tmp_path: Path) -> None:
    context = first.context()
    model = LoadModel(context, "transformer.safetensors").model
    with pytest.raises(ModelRefused, match="an image encoder is wanted here"):
        LoadImageEncoder(context, model=model)
    for given in ({}, {"file": "clip_vision_h.safetensors", "model": model}):
        with pytest.raises(ValueError, match="one of the two"):
            LoadImageEncoder(context, **given)
    emoji, vae = LoadModel(context, "emoji").vae, LoadModel(context, "folder").vae
    with pytest.raises(ValueError, match="makes pictures; link that of Wan"):
        ImageToVideo(context, emoji, first.pictures[0], 64, 64, 5)
    with pytest.raises(ValueError, match="5 frames or more"):
        ImageToVideo(context, vae, first.pictures[0], WIDTH, HEIGHT, 1, first.pictures[0])
    cut = tmp_path / "cut.safetensors"
    tiny_flow.save({"vision_model.embeddings.class_embedding": torch.ones(EYES)}, cut)
    with pytest.raises(ModelRefused, match=r"patch_embedding\.weight is missing"):
        image_encoder.describe("cut", "digest", cut)
