"""Pictures: files, geometry, colour, blending and comparison."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from nodegraph import Context, node, pictures
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures import images
from nodegraph.diffusion.pictures.grid import contact_sheet, labelled_grid
from nodegraph.diffusion.values import Image, Mask
from nodegraph.fields import Color, FileName, Fraction, Height, ImageFile, Width

BlendMode = Literal["normal", "multiply", "screen", "add", "difference"]
Resampling = Annotated[images.Resampling, Field(description="How pixels between pixels are found.")]


class LoadedImage(NamedTuple):
    """A picture, and where it is transparent."""

    image: Image
    mask: Annotated[Mask, Field(description="1 where the picture is transparent, ready to be repainted.")]


@node(category="image")
def LoadImage(context: Context, image: ImageFile) -> LoadedImage:
    """Read a picture file."""
    path = context.files.find("images", image)
    if path is None:
        raise ValueError(f"{image} is not a file name")
    tensor = torch.from_numpy(pictures.decode(path.read_bytes()))[None]
    opacity = tensor[:, 3:] if tensor.shape[1] == 4 else torch.ones_like(tensor[:, :1])
    return LoadedImage(Image(tensor), Mask(1 - opacity))


@node(category="image", effect="files")
def SaveImage(
    context: Context,
    image: Image,
    name: FileName = "image",
    format: Annotated[
        Literal["PNG", "JPEG", "WEBP"], Field(description="PNG keeps every bit; each carries the workflow.")
    ] = "PNG",
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG and WEBP; 100 is best.")] = 92,
) -> None:
    """Write every picture of a batch to the output folder, under a fresh number each."""
    pictures.refuse_no_numbers(image.tensor)
    for picture in image.tensor:
        if format == "PNG":
            context.save(name, ".png", pictures.encode_png(picture, context.metadata))
        else:
            encoded = pictures.encode(picture, format, quality, context.metadata)
            context.save(name, f".{format.lower()}", encoded)


@node(category="image", effect="always")
def PreviewImage(context: Context, image: Image) -> None:
    """Show a picture in the editor, which keeps no file of it; `nodegraph run` puts it into `previews`."""
    context.show(image)


@node(category="image/geometry")
def ResizeImage(
    image: Image,
    width: Width,
    height: Height,
    resampling: Resampling = "bicubic",
    fit: Annotated[
        Literal["stretch", "cover"],
        Field(description="`cover` keeps the proportions and cuts off what stands over; `stretch` does neither."),
    ] = "stretch",
) -> Image:
    """Resize to a width and height."""
    afford("a picture", *image.tensor.shape[:2], height, width)
    if fit == "cover":
        return Image(images.covering(image.tensor, (height, width), resampling))
    return Image(images.resize(image.tensor, (height, width), resampling).clamp(0, 1))


@node(category="image/geometry")
def ScaleImage(
    image: Image,
    factor: Annotated[float, Field(gt=0, le=16, description="How many times as long each side becomes.")] = 2.0,
    resampling: Resampling = "bicubic",
) -> Image:
    """Resize by a factor."""
    height, width = (max(1, round(side * factor)) for side in image.tensor.shape[2:])
    afford("a picture", *image.tensor.shape[:2], height, width)
    return Image(images.resize(image.tensor, (height, width), resampling).clamp(0, 1))


@node(category="image/geometry")
def CropImage(
    image: Image,
    left: Annotated[int, Field(ge=0, le=65536, description="Pixels cut off at the left.")],
    top: Annotated[int, Field(ge=0, le=65536, description="Pixels cut off at the top.")],
    width: Width,
    height: Height,
) -> Image:
    """Cut a rectangle out of a picture."""
    full_height, full_width = image.tensor.shape[2:]
    if left + width > full_width or top + height > full_height:
        raise ValueError(
            f"the rectangle ends at {left + width} x {top + height}, the picture at {full_width} x {full_height}"
        )
    return Image(image.tensor[..., top : top + height, left : left + width].clone())


@node(category="image/geometry")
def PadImage(
    image: Image,
    left: Annotated[int, Field(ge=0, le=4096, description="Pixels added at the left.")] = 0,
    top: Annotated[int, Field(ge=0, le=4096, description="Pixels added at the top.")] = 0,
    right: Annotated[int, Field(ge=0, le=4096, description="Pixels added at the right.")] = 0,
    bottom: Annotated[int, Field(ge=0, le=4096, description="Pixels added at the bottom.")] = 0,
    color: Color = "#ffffff",
) -> Image:
    """Add a border; paint over it with a mask to grow a picture outwards."""
    count, channels, height, width = image.tensor.shape
    sides = height + top + bottom, width + left + right
    afford("a picture", count, channels, *sides)
    padded = torch.ones(count, channels, *sides)
    padded[:, :3] = images.colour(color)
    padded[..., top : top + height, left : left + width] = image.tensor
    return Image(padded)


@node(category="image/geometry")
def FlipImage(
    image: Image,
    direction: Annotated[
        Literal["horizontal", "vertical"], Field(description="Which way it is mirrored.")
    ] = "horizontal",
) -> Image:
    """Mirror a picture."""
    return Image(image.tensor.flip(3 if direction == "horizontal" else 2))


@node(category="image/geometry")
def RotateImage(
    image: Image,
    quarter_turns: Annotated[int, Field(ge=0, le=3, description="Quarter turns against the clock.")] = 1,
) -> Image:
    """Turn a picture by quarter turns."""
    return Image(torch.rot90(image.tensor, quarter_turns, (2, 3)).contiguous())


@node(category="image/colour")
def InvertImage(image: Image) -> Image:
    """Turn colours into their opposites; opacity stays."""
    return Image(torch.cat([1 - image.tensor[:, :3], image.tensor[:, 3:]], 1))


@node(category="image/colour")
def AdjustImage(
    image: Image,
    brightness: Annotated[float, Field(ge=0, le=4, description="Factor; 1 changes nothing.")] = 1.0,
    contrast: Annotated[
        float, Field(ge=0, le=4, description="Factor around middle grey; 1 changes nothing.")
    ] = 1.0,
    saturation: Annotated[float, Field(ge=0, le=4, description="Factor; 0 is grey, 1 changes nothing.")] = 1.0,
) -> Image:
    """Change brightness, contrast and saturation, in this order."""
    rgb = image.tensor[:, :3] * brightness
    rgb = (rgb - 0.5) * contrast + 0.5
    grey = images.luminance(rgb)
    return Image(torch.cat([(grey + (rgb - grey) * saturation).clamp(0, 1), image.tensor[:, 3:]], 1))


@node(category="image/colour")
def BlurImage(
    image: Image,
    radius: Annotated[float, Field(ge=0, le=200, description="Standard deviation of the blur in pixels.")] = 2.0,
) -> Image:
    """Blur a picture with a Gaussian."""
    return Image(images.gaussian_blur(image.tensor, radius).clamp(0, 1))


@node(category="image/colour")
def SharpenImage(
    image: Image,
    amount: Annotated[float, Field(ge=0, le=10, description="How much of the detail is added again.")] = 0.5,
    radius: Annotated[float, Field(ge=0, le=50, description="Size of the detail in pixels.")] = 1.0,
) -> Image:
    """Sharpen by adding what a blur takes away."""
    detail = image.tensor - images.gaussian_blur(image.tensor, radius)
    return Image((image.tensor + amount * detail).clamp(0, 1))


@node(category="image/blend")
def BlendImages(
    a: Annotated[Image, Field(description="The picture below.")],
    b: Annotated[Image, Field(description="The picture above, of the same size.")],
    mode: Annotated[BlendMode, Field(description="How colours combine.")] = "normal",
    weight: Fraction = 0.5,
) -> Image:
    """Blend two pictures; a weight of 0 gives the first alone."""
    below, above = a.tensor[:, :3], b.tensor[:, :3]
    if below.shape[2:] != above.shape[2:]:
        raise ValueError("the pictures differ in size; resize one of them")
    blended = {
        "normal": above,
        "multiply": below * above,
        "screen": 1 - (1 - below) * (1 - above),
        "add": below + above,
        "difference": (below - above).abs(),
    }[mode]
    return Image((below + weight * (blended - below)).clamp(0, 1))


@node(category="image/blend")
def CompositeImage(
    below: Annotated[Image, Field(description="Shows where the mask is 0.")],
    above: Annotated[Image, Field(description="Shows where the mask is 1.")],
    mask: Mask,
) -> Image:
    """Lay one picture over another through a mask; where the mask is 0 the lower one is untouched."""
    return Image(images.composite(below.tensor[:, :3], above.tensor[:, :3], mask.tensor))


@node(category="image/batch")
def BatchImages(
    pictures: Annotated[list[Image], Field(description="Pictures of one size, in order.")],
) -> Image:
    """Put pictures into one batch."""
    tensors = [images.on_white(picture.tensor) for picture in pictures]
    if len({tensor.shape[2:] for tensor in tensors}) != 1:
        raise ValueError("the pictures differ in size; resize them first")
    return Image(torch.cat(tensors))


@node(category="image/batch")
def PickImage(
    image: Image,
    index: Annotated[int, Field(ge=0, le=65536, description="Which picture of the batch, from 0.")] = 0,
) -> Image:
    """Take one picture out of a batch."""
    if index >= len(image.tensor):
        raise ValueError(f"there is no picture {index} in a batch of {len(image.tensor)}")
    return Image(image.tensor[index : index + 1].clone())


@node(category="image/batch")
def GridImage(
    pictures: Annotated[list[Image], Field(description="Pictures of one size; batches are spread out.")],
    columns: Annotated[int, Field(ge=1, le=64, description="Pictures in a row.")] = 4,
    labels: Annotated[
        str, Field(max_length=10_000, description="A line of text under each picture, one line each.")
    ] = "",
    scale: Annotated[int, Field(ge=1, le=16, description="Times each picture is enlarged, pixel by pixel.")] = 1,
) -> Image:
    """Lay pictures out in a grid, with a label under each."""
    tensors = BatchImages(pictures).tensor
    height, width = (scale * side for side in tensors.shape[2:])
    afford("a grid", len(tensors), 3, height, width)
    return Image(labelled_grid(tensors, columns, labels.splitlines(), scale))


@node(category="image/batch")
def ContactSheet(
    pictures: Annotated[
        list[Image], Field(description="One for each place, row by row; a batch lies side by side in its place.")
    ],
    across: Annotated[
        str,
        Field(
            max_length=20_000, description="A heading for each column, one a line; their number sets the columns."
        ),
    ] = "",
    down: Annotated[str, Field(max_length=20_000, description="A heading for each row, one a line.")] = "",
) -> Image:
    """Lay pictures out as a table with a heading for each column and row; four columns where none is named."""
    columns = across.splitlines()
    cells = [images.on_white(picture.tensor) for picture in pictures]
    if not cells:
        raise ValueError("there is no picture to lay out; link at least one")
    return Image(contact_sheet(cells, columns, down.splitlines(), len(columns) or min(4, len(cells))))


class Comparison(NamedTuple):
    """How alike two pictures are."""

    psnr: Annotated[float, Field(description="Peak signal-to-noise ratio in decibels; 100 where equal.")]
    ssim: Annotated[float, Field(description="Structural similarity; 1 where equal.")]
    difference: Annotated[Image, Field(description="The absolute difference.")]


@node(category="image/compare")
def CompareImages(
    a: Annotated[Image, Field(description="The first picture.")],
    b: Annotated[Image, Field(description="The second, of the same size.")],
) -> Comparison:
    """Measure how alike two pictures are, and show where they differ."""
    first, second = images.on_white(a.tensor), images.on_white(b.tensor)
    if first.shape != second.shape:
        raise ValueError("the pictures differ in size or number")
    pictures.refuse_no_numbers(torch.cat([first, second]))
    ratio = min(100.0, images.psnr(first, second))
    return Comparison(ratio, images.ssim(first, second), Image((first - second).abs()))
