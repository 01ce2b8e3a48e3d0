"""Pictures of any size, mode and colour space as uint8 RGB arrays of one size."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps

from dermaexp.core.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp"})
KINDS = "PNG, JPEG, TIFF, BMP or WEBP"
# Pictures of kinds that are not read: who keeps some must know that they are left out.
OTHERS = frozenset({".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".dcm", ".dng", ".svg"})
# Pillow has another program decode some others, such as EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
PASSED_OVER = frozenset({"__macosx", "thumbs.db"})  # of operating systems, beside hidden files
BACKGROUND = "white"


def is_picture(file: Path) -> bool:
    """Whether the file's name is a picture's."""
    return file.suffix.lower() in SUFFIXES and not is_passed_over(file) and file.is_file()


def is_passed_over(path: PurePath) -> bool:
    """Whether a file or folder is no part of the data: hidden, or an operating system's."""
    return path.name.startswith(".") or path.name.lower() in PASSED_OVER


def pictures_below(folder: Path, others: Counter[str] | None = None) -> Iterator[Path]:
    """Yield the pictures in the folder and its subfolders, sorted by path.

    Counts those of other kinds in `others`, by suffix.
    """
    for entry in sorted(folder.iterdir()):
        if is_passed_over(entry):
            continue
        if entry.is_dir() and not _leads_back(entry):
            yield from pictures_below(entry, others)
        elif is_picture(entry):
            yield entry
        elif others is not None and (suffix := entry.suffix.lower()) in OTHERS:
            others[suffix] += 1


def note_on_others(others: Counter[str]) -> str:
    """Return a line that counts the pictures of kinds that are not read; "" without any."""
    if not others:
        return ""
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(others.items()))
    return f"pictures of other kinds are left out ({counts}): convert them to {KINDS}"


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it is in, which would be read again and again."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def read_picture(file: Path, size: tuple[int, int], background: str = BACKGROUND) -> np.ndarray:
    """Return the picture as RGB (H, W, 3) uint8 for `size` (H, W); UserError if it is none."""
    try:
        content = file.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UserError(f"{file} {'is missing' if missing else error.strerror}") from error
    try:
        return decoded(content, size, background)
    except UserError as error:
        raise UserError(f"{file} {error}") from error


def decoded(content: bytes, size: tuple[int, int], background: str = BACKGROUND) -> np.ndarray:
    """Return the picture in these bytes as `fitted` does; UserError without a name if it is none.

    The error's text goes on from the name of the file: "has 0 bytes".
    """
    if not content:
        raise UserError("has 0 bytes: expected a picture")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return fitted(image, size, background)
    except Image.UnidentifiedImageError as error:
        kind = "HTML" if content.lstrip()[:20].lower().startswith((b"<!doc", b"<html")) else ""
        found = f"is {kind}, no picture" if kind else "cannot be decoded"
        raise UserError(f"{found}: expected a whole {KINDS} file") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"has too many pixels: expected at most {most:,}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"cannot be decoded ({error}): expected a whole {KINDS} file") from error


def fitted(image: Image.Image, size: tuple[int, int], background: str = BACKGROUND) -> np.ndarray:
    """Return RGB (H, W, 3) uint8: turned upright, the shorter side resized, the centre cropped.

    Transparent pixels show the `background`, 16-bit pixels are scaled to 8 bits, and colours are
    converted to sRGB. Raises UserError for pixels whose range is not known.
    """
    height, width = size
    upright = ImageOps.exif_transpose(image)
    rgb = _opaque(_in_srgb(_in_8_bits(upright)), background)
    return np.asarray(ImageOps.fit(rgb, (width, height), Image.Resampling.BILINEAR))


def has_16_bits(image: Image.Image) -> bool:
    """Whether the opened file holds 16 bits a channel."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return True
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _in_8_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        levels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8))
    if image.mode.startswith(("I", "F")):
        raise UserError(f"has {image.mode} pixels: expected 8 or 16 bits a channel")
    return image  # Pillow itself takes the upper byte of 16-bit RGB


def _in_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB; as it is without a profile, or with one that does not fit its mode."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in ("L", "RGB", "CMYK", "RGBA", "LA"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in (source.profile.profile_description or "").lower():
            return image
        has_alpha = image.mode.endswith("A")
        colours = image.convert(image.mode[:-1]) if has_alpha else image
        converted = ImageCms.profileToProfile(
            colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    if converted is None:
        return image
    if has_alpha:
        converted.putalpha(image.getchannel("A"))
    return converted


def _opaque(image: Image.Image, background: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    above = image.convert("RGBA")
    below = Image.new("RGBA", above.size, ImageColor.getrgb(background))
    return Image.alpha_composite(below, above).convert("RGB")
