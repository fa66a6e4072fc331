"""Every kind of value and of file: right, or refused with what to do."""

import logging
import os
import re
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import torch
from making_pictures import (
    SVG,
    cur,
    directory,
    dng,
    entries_of,
    every_format,
    icns,
    planar_tiff,
    psd,
    saved,
    tiff,
    tiff_of_two,
)
from torch.testing import assert_close

from impasto import extras, images
from impasto.errors import PictureError
from impasto.inputs.read import files_in


@pytest.fixture
def grey(photo):
    return photo[..., 1]


def check(given, expected, outcome="", tolerance=1.0):
    """`given` is read as `expected`, grey or RGB in 0–255, or refused with a message that matches `outcome`."""
    if outcome:
        with pytest.raises((PictureError, ValueError), match=outcome):
            images.read(given)
        return
    rgb = images.read(given).rgb.permute(1, 2, 0).numpy() * 255
    expected = expected[..., None] if expected.ndim == 2 else expected
    assert np.abs(rgb - expected).mean() < tolerance


#: Pillow's mode -> what is wrong with it.
MODES = dict.fromkeys(
    ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La"], ""
) | dict.fromkeys(["I;16", "I;16L", "I;16B", "I;16N"], "")


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_pillow(photo, grey, mode):
    rgb, expected = PIL.Image.fromarray(photo), photo
    if mode == "F":
        image, expected = PIL.Image.fromarray(grey.astype(np.float32) / 255), grey
    elif mode == "I":
        image, expected = PIL.Image.fromarray(grey.astype(np.int32) * 257), grey
    elif mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        data = (grey.astype(int) * 257).astype(order).tobytes()
        image, expected = PIL.Image.frombytes(mode, (96, 64), data), grey
    elif mode == "LAB":
        profiles = (PIL.ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        image = PIL.ImageCms.applyTransform(rgb, PIL.ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    elif mode in ("PA", "La"):
        image = rgb.convert({"PA": "P", "La": "LA"}[mode]).convert(mode)
        expected = np.asarray(rgb.convert("P").convert("RGB") if mode == "PA" else rgb.convert("L"))
    elif mode == "RGBa":
        image = rgb.convert("RGBA").convert("RGBa")
    else:
        image = rgb.convert(mode)
        expected = {"CMYK": photo, "HSV": photo}.get(mode, np.asarray(image.convert("RGB")))
    assert image.mode == mode
    if mode == "CMYK":  # without a profile, colours are not defined
        assert np.abs(images.read(image).to_numpy() * 255 - photo).mean() < 40
    elif mode == "HSV":
        assert np.abs(images.read(image).to_numpy() * 255 - photo).mean() < 4
    else:
        check(image, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIL.Image.fromarray(np.full((4, 4), 70000, np.int32)), "70000.*0 to 65535"),
        (PIL.Image.fromarray(np.full((4, 4), -1, np.int32)), "-1.*0 to 65535"),
        (PIL.Image.fromarray(np.full((4, 4), 200, np.float32)), "divide by 255"),
        (PIL.Image.fromarray(np.full((4, 4), np.nan, np.float32)), "not finite"),
    ],
)
def test_values_of_pillow_that_cannot_be_scaled(image, message):
    check(image, None, message)


#: NumPy's type -> what is wrong with it.
TYPES = {
    **dict.fromkeys(["?", "u1", "<u2", ">u2", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "g"], ""),
    **dict.fromkeys(("i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8"), "expected uint8"),
    **dict.fromkeys(("<u4", ">u4", "<u8", ">u8", "<c8", "<c16", "O", "U1", "M8[s]", "m8[s]"), "expected uint8"),
}


@pytest.mark.parametrize("bands", [0, 3])
@pytest.mark.parametrize("kind", TYPES)
def test_types_of_numpy(photo, kind, bands):
    values = photo if bands else photo[..., 1]
    kind, outcome = np.dtype(kind), TYPES[kind]
    if kind.kind == "b":
        check(values > 100, (values > 100) * 255.0)
    elif outcome:
        check(np.zeros(values.shape, kind), None, outcome)
    else:
        scale = 1 / 255 if kind.kind == "f" else np.int64(257 if kind.itemsize == 2 else 1)
        check((values * scale).astype(kind), values)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_types_of_torch(photo, kind):
    values = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    check(values if kind == torch.uint8 else (values / 255).to(kind), photo)


def test_tensors_that_are_no_arrays():
    with pytest.raises(ValueError, match="expected"):
        images.read(torch.zeros(3, 4, 4).to_sparse())


#: Type of a TIFF's samples -> (value of white, what is wrong with it).
SAMPLES = {
    "u1": (255, ""),
    "i1": (127, ""),
    "u2": (65535, ""),
    "i2": (32767, ""),
    "u4": (2**32 - 1, ""),
    "i4": (2**31 - 1, ""),
    "f2": (1, ""),
    "f4": (1, ""),
    "u8": (2**64 - 1, "64 bits"),
    "i8": (2**63 - 1, "64 bits"),
    "f8": (1, "64 bits"),
    "c8": (1, "complex"),
}


def in_samples(values, kind):
    """8-bit values over the whole range of a type of sample."""
    white = SAMPLES[kind][0] * (1 - 1e-7) if SAMPLES[kind][0] > 2**24 else SAMPLES[kind][0]
    scaled = values / 255 * white
    return (scaled if white == 1 else scaled.round()).astype(kind)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_of_tiff(photo, kind, bands):
    """Grey and RGB of the same values are equally bright."""
    _, outcome = SAMPLES[kind]
    values = np.dstack([photo[..., 1], photo[..., 0]]) if bands == 2 else np.dstack([photo, photo[..., 0]])[..., :bands]
    stored = in_samples(values, kind)
    expected = values[..., :1] if bands < 3 else values[..., :3]
    check(tiff(stored[..., 0] if bands == 1 else stored), expected, outcome, 2.0)
    if bands in (2, 4) and not outcome:
        alpha = images.read(tiff(stored)).alpha
        assert np.abs(alpha.numpy() * 255 - values[..., -1]).mean() < 2


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4"])
def test_tiff_with_white_as_0(grey, kind):
    check(tiff(in_samples(grey, kind), photometric=0), 255 - grey, tolerance=2.0)


def test_colours_of_tiff(photo):
    ycbcr = np.asarray(PIL.Image.fromarray(photo).convert("YCbCr"))
    check(saved(PIL.Image.fromarray(photo), "TIFF", compression="jpeg", quality=95), photo, tolerance=4.0)
    check(tiff(ycbcr, photometric=6, more=[(530, 3, [1, 1])]), None, "YCbCr colours outside JPEG, which is not")
    check(tiff(ycbcr, photometric=9), None, "photometric interpretation 9, which is not supported")


def test_tiff_of_12_bits(grey):
    high, low = (grey[:, ::2].astype(int) * 16, grey[:, 1::2].astype(int) * 16)
    data = np.dstack([high >> 4, (high & 15) << 4 | low >> 8, low & 255]).astype(np.uint8).tobytes()
    entries = [entry for entry in entries_of(grey, 8, bits=12) if entry[0] != 279] + [(279, 4, [len(data)])]
    at = 8 + len(data)
    check(b"II*\0" + at.to_bytes(4, "little") + data + directory(entries, at), grey)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(np.full((4, 4, 3), -5, np.int16)), "-5 to -5"),
        (tiff(np.full((4, 4), -5, np.int16)), "-5 to -5"),
        (tiff(np.full((4, 4, 3), 2.0, np.float32)), "2 to 2"),
        (tiff(np.full((4, 4), np.inf, np.float32)), "not finite"),
    ],
)
def test_values_of_tiff_that_cannot_be_scaled(content, message):
    check(content, None, message)


def test_grey_of_16_bits_by_every_decoder(grey):
    deep = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    check(b"P5\n96 64\n65535\n" + (grey.astype(int) * 257).astype(">u2").tobytes(), grey)
    for format in ("PNG", "TIFF", "JPEG2000", "IM"):
        check(saved(deep, format), grey)


# -- which picture -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_a_tiff_with_a_thumbnail(photo, nested, tmp_path):
    small = np.ascontiguousarray(photo[::4, ::4])
    for content in (tiff_of_two(small, photo, (1, 0), nested), tiff_of_two(photo, small, (0, 1), nested)):
        check(content, photo)
        (tmp_path / "two.tif").write_bytes(content)
        assert images.size_of(tmp_path / "two.tif") == (64, 96)


def test_raw_files_are_refused(photo, tmp_path):
    small = np.ascontiguousarray(photo[::4, ::4])
    contents = {
        "camera.dng": dng(photo, small),
        "camera.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(600),
        "camera.raf": b"FUJIFILMCCD-RAW 0201" + bytes(600),
        "camera.nef": tiff_of_two(small, photo[..., 0].copy(), (1, 0), True, [(271, 2, b"NIKON\0")]).replace(
            (262).to_bytes(2, "little") + b"\x03\0\1\0\0\0\1\0", (262).to_bytes(2, "little") + b"\x03\0\1\0\0\0\x23\x80"
        ),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for read in (images.read, images.size_of):
            with pytest.raises(PictureError, match=f"{name}: it is the raw file of a camera.*develop it"):
                read(tmp_path / name)


def test_the_main_picture_of_other_files(photo):
    rgb = PIL.Image.fromarray(photo)
    red = PIL.Image.new("RGB", (96, 64), "red")
    check(psd(photo), photo)
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("MPO", {"quality": 95})):
        picture = images.read(saved(rgb, format, save_all=True, append_images=[red], **options))
        assert np.abs(picture.to_numpy()[..., :3] * 255 - photo).mean() < 12
    assert images.read(icns(rgb)).shape == (32, 32)
    assert images.read(cur(photo)).shape == (32, 32)
    assert images.read(saved(rgb, "ICO", sizes=[(16, 16), (48, 48), (32, 32)])).shape == (32, 48)


# -- formats -----------------------------------------------------------------------------------------------

#: Of the formats that Pillow knows, those that are refused.
NOT_READ = ("camera.dng", "L.fits", "L.mcidas", "photo.pcd", "L.imt")


def test_every_format(photo):
    for name, content in every_format(photo).items():
        if name not in NOT_READ:
            assert images.read(content, name).rgb.isfinite().all()
        else:
            with pytest.raises(PictureError, match=name):
                images.read(content, name)


def test_pillow_is_asked_if_libvips_fails(photo):
    part = np.ascontiguousarray(photo[:16, :16])
    check(planar_tiff(part), part)


@pytest.mark.parametrize("failure", [NotImplementedError, IndexError, RuntimeError, AssertionError, KeyError])
def test_decoders_raise_anything(photo, tmp_path, monkeypatch, failure):
    def fail(*args, **kwargs):
        raise failure("what happened")

    (tmp_path / "a.bmp").write_bytes(saved(PIL.Image.fromarray(photo), "BMP"))
    monkeypatch.setattr(PIL.Image, "open", fail)
    for read in (images.read, images.size_of):
        with pytest.raises(PictureError, match=r"a\.bmp"):
            read(tmp_path / "a.bmp")


def test_running_out_of_memory_is_no_damage(photo, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    content = saved(PIL.Image.fromarray(photo), "BMP")
    monkeypatch.setattr(PIL.Image, "open", fail)
    with pytest.raises(MemoryError):
        images.read(content)


def test_heic(photo, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    content = every_format(photo)["RGB.heic"]
    known = dict(PIL.Image.OPEN)
    assert np.abs(images.read(content).to_numpy() * 255 - photo).mean() < 4
    assert known == PIL.Image.OPEN
    deep = heif.from_bytes("RGB;16", (96, 64), (photo.astype("<u2") * 257).tobytes())
    deep.save(memory := BytesIO(), quality=90)
    assert np.abs(images.read(memory.getvalue()).to_numpy() * 255 - photo).mean() < 4
    # Other packages may have registered pillow-heif.
    monkeypatch.setattr(PIL.Image, "ID", [name for name in PIL.Image.ID if name != "HEIF"])
    monkeypatch.setattr(extras, "is_installed", lambda extra: False)
    with pytest.raises(PictureError, match=re.escape('pip install "pillow-heif>=0.16"; or save it as JPEG')):
        images.read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x0a" + bytes(60), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
        (b"%PDF-1.7\n", "PDF.*export"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript.*export"),
        (b"v/1\x01" + bytes(60), "OpenEXR"),
        (b"\0\0\0\x20ftypisom" + bytes(60), "video.*impasto video"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC"),
        (b"", "empty"),
        (b"2 2\n1 2\n3 4\n", "not a picture"),
    ],
)
def test_what_is_not_supported_is_not_called_damaged(content, message):
    check(content, None, message)


def test_vector_graphics_are_drawn_at_the_wanted_size():
    assert images.read(SVG).shape == (1024, 1024)
    picture = images.read(SVG, long_side=256)
    assert picture.shape == (256, 256)
    soft = ((picture.alpha > 0.1) & (picture.alpha < 0.9)).float().mean()
    assert soft < 0.01


def test_opaque_alpha_is_no_transparency(photo, tmp_path, caplog):
    picture = images.read(PIL.Image.fromarray(photo).convert("RGBA"))
    assert picture.alpha is None
    images.write(tmp_path / "out.jpg", images.Picture(picture.rgb, torch.ones(64, 96)))
    assert not caplog.records


# -- names -------------------------------------------------------------------------------------------------


def test_names_that_are_not_utf8(photo, tmp_path):
    path = tmp_path / os.fsdecode(b"Gr\xf6\xdfe.png")
    for suffix in images.FORMATS:
        other = path.with_suffix(suffix)
        try:
            images.write(other, images.read(photo), settings={"impasto": "0"})
        except (OSError, UnicodeError, PictureError):
            pytest.skip("the file system holds no such names")
        assert images.read(other).shape == images.size_of(other) == (64, 96)
        assert images.read_settings(other) == {"impasto": "0"}
    assert len(files_in(tmp_path)) == len(images.FORMATS)


def test_addresses(photo, tmp_path):
    for address in ("https://a.b/c.jpg", "s3://a/b.png", "data:image/png;base64,AAAA"):
        for read in (images.read, images.size_of, images.read_settings):
            with pytest.raises(PictureError, match=re.escape(address) + " is an address, not a file: download it"):
                read(address)
    path = tmp_path / "ä b.png"
    images.write(path, images.read(photo))
    assert_close(images.read(path.as_uri()).rgb, images.read(photo).rgb)


def test_symbolic_links_are_written_through(photo, tmp_path):
    (tmp_path / "real").mkdir()
    for target in ("real/there.png", "real/not yet.png"):
        link = tmp_path / "link.png"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        images.write(link, images.read(photo))
        assert link.is_symlink()
        assert images.size_of(tmp_path / target) == (64, 96)
    link.unlink()
    link.symlink_to("nowhere/out.png")
    with pytest.raises(PictureError, match="no folder"):
        images.write(link, images.read(photo))


def test_files_of_a_folder(photo, tmp_path, caplog):
    rgb = PIL.Image.fromarray(photo)
    (tmp_path / ".hidden").mkdir()
    for name in ("b.png", "a.qoi", "no suffix", "._b.png", ".hidden/c.png"):
        (tmp_path / name).write_bytes(saved(rgb, "QOI" if name == "a.qoi" else "PNG"))
    for name in ("damaged.jpg", "notes.txt", "camera.dng"):
        (tmp_path / name).write_bytes(dng(photo, photo) if name == "camera.dng" else b"text")
    with caplog.at_level(logging.WARNING):
        assert [path.name for path in files_in(tmp_path)] == ["a.qoi", "b.png", "damaged.jpg", "no suffix"]
    assert "skipped 2 files that are no pictures: camera.dng, notes.txt" in caplog.text
