"""Pictures as people have them: formats, modes, colour spaces, and files that are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dermaexp.core.errors import UserError
from dermaexp.data.pictures import fitted, has_16_bits, is_picture, pictures_below, read_picture

RED = (255, 0, 0)


def one_pixel(image: Image.Image, background: str = "white") -> list[int]:
    return fitted(image, (1, 1), background)[0, 0].tolist()


def test_transparent_pixels_show_the_background_and_not_a_hidden_colour() -> None:
    hidden = Image.new("RGBA", (4, 4), (*RED, 0))
    assert one_pixel(hidden) == [255, 255, 255]
    assert one_pixel(hidden, "#102030") == [16, 32, 48]
    assert one_pixel(Image.new("RGBA", (4, 4), (*RED, 255))) == [*RED]
    half = one_pixel(Image.new("RGBA", (4, 4), (*RED, 128)))
    assert half == pytest.approx([255, 127, 127], abs=1)
    assert one_pixel(Image.new("LA", (4, 4), (0, 0))) == [255, 255, 255]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *RED])
    palette.info["transparency"] = 1
    assert one_pixel(palette) == [255, 255, 255]


def test_16_bits_are_scaled_to_8(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 32768, 65535]], np.uint16).repeat(4, axis=0)
    for name in ("gray.png", "gray.tif"):
        Image.fromarray(levels).save(tmp_path / name)
        assert read_picture(tmp_path / name, (4, 4))[0, :, 0].tolist() == [0, 1, 128, 255]
        with Image.open(tmp_path / name) as image:
            assert has_16_bits(image)
    Image.new("L", (4, 4)).save(tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as image:
        assert not has_16_bits(image)


def test_16_bit_rgb_png(tmp_path: Path) -> None:
    """Pillow writes none, so that the file is put together here."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    row = b"\0" + struct.pack(">3H", 65535, 32896, 257) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * 2)), chunk(b"IEND", b"")]
    file = tmp_path / "rgb16.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert read_picture(file, (2, 2))[1, 1].tolist() == [255, 128, 1]
    with Image.open(file) as image:
        assert has_16_bits(image)


def test_pixels_without_a_known_range_are_refused() -> None:
    with pytest.raises(UserError, match="has F pixels: expected 8 or 16 bits a channel"):
        fitted(Image.new("F", (2, 2)), (1, 1))


def test_srgb_and_broken_profiles_change_nothing() -> None:
    image = Image.new("RGB", (4, 4), (120, 60, 200))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info["icc_profile"] = profile
    assert one_pixel(image) == [120, 60, 200], "sRGB stays as it is"
    image.info["icc_profile"] = b"no profile"
    assert one_pixel(image) == [120, 60, 200]


def test_display_p3_is_converted(tmp_path: Path) -> None:
    """A profile with the primaries of Display-P3: its pure green is outside sRGB."""
    p3 = display_p3()
    image = Image.new("RGB", (4, 4), (0, 255, 0))
    image.save(tmp_path / "p3.png", icc_profile=p3)
    assert read_picture(tmp_path / "p3.png", (1, 1))[0, 0].tolist() == pytest.approx(
        [0, 255, 0], abs=3
    )
    image = Image.new("RGB", (4, 4), (200, 100, 100))
    image.save(tmp_path / "p3.png", icc_profile=p3)
    # By the matrices of both spaces and sRGB's transfer curve, which Display-P3 shares.
    expected = pytest.approx([215, 94, 97], abs=2)
    assert read_picture(tmp_path / "p3.png", (1, 1))[0, 0].tolist() == expected
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p3.png", icc_profile=p3)
    assert read_picture(tmp_path / "p3.png", (1, 1))[0, 0].tolist() == expected
    image.save(tmp_path / "p3.png", icc_profile=p3, transparency=(200, 100, 100))
    assert read_picture(tmp_path / "p3.png", (1, 1), "blue")[0, 0].tolist() == [0, 0, 255]


def display_p3() -> bytes:
    """A matrix profile with Display-P3's primaries (adapted to D50) and a gamma of 2.2."""
    import struct

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    text = b"Display P3"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))
    tags = {
        b"desc": description,
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        padded = tag + bytes(-len(tag) % 4)
        table += name + struct.pack(">II", offset + len(content), len(tag))
        content += padded
    total = offset + len(content)
    header = struct.pack(">I", total) + bytes(4) + struct.pack(">I", 0x02400000)
    header += b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return header.ljust(128, b"\0") + table + content


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = Image.fromarray(np.array([[[0] * 3, [255] * 3]], np.uint8))
    image.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png", (2, 1))[:, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "bad.jpg has 0 bytes"),
        (b"<!DOCTYPE html><html></html>", "bad.jpg is HTML, no picture"),
        (b"plain text", "bad.jpg cannot be decoded: expected a whole PNG, JPEG"),
        (None, "bad.jpg is missing"),
    ],
)
def test_files_that_are_no_pictures(content: bytes | None, line: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_picture(file, (2, 2))
    assert line in str(error.value)


def test_a_picture_cut_short_is_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:1500])
    with pytest.raises(UserError, match=r"cut\.jpg cannot be decoded \(image file is truncated"):
        read_picture(tmp_path / "cut.jpg", (2, 2))


def test_pictures_below_a_folder(tmp_path: Path) -> None:
    wanted = ["a.JPG", "b.tif", "c/d/e.webp", "c/f.BMP", "g.TIFF", "h.jpeg", "i.png"]
    others = [".hidden.png", "__MACOSX/x.png", ".ipynb_checkpoints/x.png", "Thumbs.db", "n.txt"]
    for name in (*wanted, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(file.relative_to(tmp_path)) for file in pictures_below(tmp_path)]
    assert found == sorted(wanted)
    (tmp_path / "folder.png").mkdir()
    assert not is_picture(tmp_path / "folder.png")
