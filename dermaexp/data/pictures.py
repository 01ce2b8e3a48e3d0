"""Pictures of any size and mode as uint8 arrays of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dermaexp.core.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg"}
# Pillow has another program decode some others, such as EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")


def is_picture(file: Path) -> bool:
    """Whether the file's name is a picture's."""
    suits = file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    return suits and file.is_file()


def read_picture(file: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the picture as RGB (H, W, 3) uint8 for `size` (H, W); UserError if it is none."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            return fitted(image, size)
    except UserError as error:
        raise UserError(f"{file} {error}") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{file} has too many pixels: expected at most {most:,}") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{file} is missing") from error
        raise UserError(f"{file} cannot be decoded: expected a whole PNG or JPEG file") from error


def fitted(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Return RGB (H, W, 3) uint8: turned upright, the shorter side resized, the centre cropped.

    Raises UserError for pixels of more than 8 bits, whose range is not known.
    """
    if image.mode.startswith(("I", "F")):
        raise UserError(f"has {image.mode} pixels: expected 8 bits a channel")
    height, width = size
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))
