"""Reading and writing pictures of every kind."""

import os
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import pyvips
import torch
from torch.testing import assert_close

import impasto
from impasto import images
from impasto.errors import PictureError
from impasto.images import Picture


@pytest.fixture
def pil(photo):
    return PIL.Image.fromarray(photo)


def difference(picture: Picture, array) -> float:
    return float(np.abs(picture.to_numpy()[..., :3] * 255 - np.asarray(array, dtype=float)).mean())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"])
def test_formats(pil, photo, tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    pil.save(path, **({"quality": 95} if suffix in (".jpg", ".webp") else {}))
    picture = images.read(path)
    assert picture.rgb.shape == (3, 64, 96)
    assert picture.rgb.dtype == torch.float32
    assert difference(picture, photo) < (8 if suffix == ".gif" else 4)


@pytest.mark.parametrize("size", [(16, 24), (100, 150), (64, 24)], ids=str)
def test_hidden_colours_make_no_fringe(size):
    """Of a cut-out that is resampled: white, on transparent black."""
    alpha = torch.zeros(64, 96)
    alpha[20:40, 30:70] = 1
    for hidden in (0.0, 0.5):
        resized = Picture(alpha.clamp_min(hidden).expand(3, -1, -1), alpha).resized(*size)
        assert resized.shape == size
        assert_close(resized.on_white().rgb, torch.ones(3, *size), atol=2e-3, rtol=0)
        assert 0 < resized.alpha.mean() < 0.2
        assert_close(resized.rgb[:, 0, 0], torch.full((3,), hidden))
    opaque = Picture(torch.rand(3, 64, 96), torch.ones(64, 96))
    assert_close(opaque.resized(*size).rgb, Picture(opaque.rgb).resized(*size).rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(pil, photo, tmp_path, orientation):
    upright = PIL.Image.Transpose
    undo = {
        1: [],
        2: [upright.FLIP_LEFT_RIGHT],
        3: [upright.ROTATE_180],
        4: [upright.FLIP_TOP_BOTTOM],
        5: [upright.TRANSPOSE],
        6: [upright.ROTATE_90],
        7: [upright.TRANSVERSE],
        8: [upright.ROTATE_270],
    }[orientation]
    stored = pil
    for operation in undo:
        stored = stored.transpose(operation)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    for source in (tmp_path / "turned.jpg", PIL.Image.open(tmp_path / "turned.jpg")):
        picture = images.read(source)
        assert picture.shape == (64, 96)
        assert difference(picture, photo) < 4


def test_icc_profile_is_converted(photo, tmp_path):
    path = tmp_path / "wide.png"
    image = pyvips.Image.new_from_array(photo).copy(interpretation="srgb")
    wide = image.icc_transform("p3", input_profile="srgb")
    wide.write_to_file(str(path))
    stored = np.asarray(PIL.Image.open(path))
    assert np.abs(stored.astype(int) - photo).mean() > 1.5  # other values of the same colours
    assert difference(images.read(path), photo) < 1
    assert difference(images.read(PIL.Image.open(path)), photo) < 1


def test_cmyk_with_a_profile(photo, tmp_path):
    image = pyvips.Image.new_from_array(photo).copy(interpretation="srgb")
    image.icc_transform("cmyk", input_profile="srgb").write_to_file(str(tmp_path / "print.jpg"), Q=95)
    with PIL.Image.open(tmp_path / "print.jpg") as opened:
        assert opened.mode == "CMYK"
        assert difference(images.read(opened), photo) < 6
    assert difference(images.read(tmp_path / "print.jpg"), photo) < 6


def test_damaged_icc_profile_is_ignored_with_a_warning(pil, photo, tmp_path, caplog):
    pil.save(tmp_path / "odd.png", icc_profile=b"not a profile at all" * 20)
    assert difference(images.read(tmp_path / "odd.png"), photo) < 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "YCbCr", "HSV"])
@pytest.mark.parametrize("by_file", [True, False])
def test_modes(pil, photo, tmp_path, mode, by_file):
    grey = photo.astype(float) @ [0.299, 0.587, 0.114]
    if mode == "I;16":
        source = PIL.Image.fromarray((grey * 257).astype(np.uint16))
    else:
        source = pil.convert(mode)
    if by_file:
        if mode == "HSV":
            pytest.skip("no format stores HSV")
        suffix = ".jpg" if mode in ("CMYK", "YCbCr") else ".png"
        source.save(tmp_path / f"picture{suffix}", quality=95)
        source = tmp_path / f"picture{suffix}"
    picture = images.read(source)
    assert picture.rgb.shape == (3, 64, 96)
    assert picture.alpha is None  # opaque
    if mode in ("1", "P"):  # dithered
        expected = PIL.Image.open(source) if by_file else source
        expected = np.asarray(expected.convert("RGB"))
    else:
        expected = photo if mode in ("RGBA", "CMYK", "YCbCr", "HSV") else np.repeat(grey[..., None], 3, 2)
    # Without a profile, the colours of CMYK are not defined; the result only has to resemble the picture.
    assert difference(picture, expected) < {"CMYK": 40, "YCbCr": 4, "HSV": 4}.get(mode, 1.5)


def test_palette_with_transparency(tmp_path):
    source = PIL.Image.new("P", (8, 8), 0)
    source.putpalette([255, 0, 0, 0, 0, 255])
    source.putpixel((3, 3), 1)
    source.save(tmp_path / "palette.png", transparency=0)
    for given in (tmp_path / "palette.png", PIL.Image.open(tmp_path / "palette.png")):
        picture = images.read(given)
        assert picture.alpha is not None
        assert picture.alpha[0, 0] == 0
        assert picture.alpha[3, 3] == 1
        assert_close(picture.rgb[:, 3, 3], torch.tensor([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bits_are_kept(tmp_path, suffix, bands):
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, bands), dtype=np.uint16)
    interpretation = "grey16" if bands < 3 else "rgb16"
    path = tmp_path / f"deep{suffix}"
    pyvips.Image.new_from_array(values).copy(interpretation=interpretation).write_to_file(str(path))
    picture = images.read(path)
    expected = values[..., :3] if bands > 2 else values[..., [0, 0, 0]]
    assert np.abs(picture.rgb.permute(1, 2, 0).numpy() * 65535 - expected).max() < 1
    if bands in (2, 4):
        assert np.abs(picture.alpha.numpy() * 65535 - values[..., -1]).max() < 1


def test_first_frame_of_an_animation(tmp_path):
    frames = [PIL.Image.new("RGB", (10, 10), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    for name in ("moving.gif", "pages.tif"):
        assert_close(images.read(tmp_path / name).rgb[:, 5, 5], torch.tensor([1.0, 0.0, 0.0]))


def test_arrays_and_tensors(photo):
    floats = photo.astype(np.float64) / 255
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    expected = images.read(photo).rgb
    for same in (
        floats,
        floats.astype(np.float32),
        photo.astype(np.uint16) * 257,
        tensor,
        tensor[None],
        tensor / 255,
    ):
        assert_close(images.read(same).rgb, expected)
    assert images.read(photo[..., 0]).rgb.shape == (3, 64, 96)
    assert images.read(np.dstack([photo, photo[..., :1]])).alpha.shape == (64, 96)
    assert images.read(photo[..., :2]).alpha.shape == (64, 96)
    assert images.read(photo > 100).rgb.max() == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros((0, 4, 3)), "shape"),
        (np.zeros((2, 4, 4, 3)), "shape"),
        (np.full((4, 4, 3), 200.0), "divide by 255"),
        (np.full((4, 4, 3), np.nan), "not finite"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), "U1"), "type"),
        (torch.zeros(2, 3, 4, 4), "tensor of shape"),
        (torch.zeros(4, 4), "tensor of shape"),
        (17, "int"),
        (None, "NoneType"),
    ],
)
def test_wrong_arrays(given, message):
    with pytest.raises(ValueError, match=message) as error:
        images.read(given, "the content")
    assert "the content" in str(error.value)


def test_wrong_files(pil, tmp_path):
    pil.save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    pil.save(tmp_path / "good.jpg")
    cases = {
        "missing.png": None,
        "empty.png": b"",
        "text.jpg": b"this is not a picture",
        "cut.png": whole[: len(whole) // 2],
        "cut.jpg": (tmp_path / "good.jpg").read_bytes()[:1500],
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=name):
            images.read(tmp_path / name)
    with pytest.raises(PictureError, match="folder"):
        images.read(tmp_path)


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("impasto.images.decode.MAX_PIXELS", 1000)
    PIL.Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    with pytest.raises(PictureError, match="100×100"):
        images.read(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["a b.png", "ü-🎨.png", "page[1].png", "new\nline.png", "-o.png", "a,b=c.png"])
def test_odd_names(photo, tmp_path, name):
    images.write(tmp_path / name, images.read(photo))
    assert difference(images.read(tmp_path / name), photo) < 0.01
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", images.FORMATS)
@pytest.mark.parametrize("alpha", [False, True])
def test_write(photo, tmp_path, suffix, alpha):
    picture = images.read(photo)
    if alpha:
        picture = Picture(picture.rgb, torch.linspace(0, 1, 64)[:, None].expand(64, 96))
    path = tmp_path / f"out{suffix}"
    settings = {"impasto": "0", "path": 'ünï (1) "quoted".jpg', "long": "x" * 3000}
    images.write(path, picture, settings=settings)
    again = images.read(path)
    assert again.shape == (64, 96)
    if suffix in (".jpg", ".jpeg"):
        assert again.alpha is None
        if alpha:  # on white
            assert again.rgb[:, 0].mean() > 0.97
    else:
        assert (again.alpha is not None) == alpha
    if not alpha:
        assert difference(again, photo) < 4
    assert images.read_settings(path) == settings
    with PIL.Image.open(path) as stored:
        profile = PIL.ImageCms.ImageCmsProfile(BytesIO(stored.info["icc_profile"]))
        assert "sRGB" in PIL.ImageCms.getProfileDescription(profile)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_write_sixteen_bits(tmp_path, suffix):
    ramp = torch.linspace(0, 1, 3000).view(1, 30, 100).expand(3, 30, 100)
    images.write(tmp_path / f"deep{suffix}", Picture(ramp), bits=16)
    again = images.read(tmp_path / f"deep{suffix}")
    assert (again.rgb - ramp).abs().max() < 1e-4
    assert len(again.rgb.unique()) > 2900


def test_paths_that_cannot_be_written(tmp_path, photo):
    picture = images.read(photo)
    for path, bits, error, message in [
        (tmp_path / "out.xyz", 8, ValueError, ".png, .jpg"),
        (tmp_path / "out", 8, ValueError, "suffix"),
        (tmp_path / "out.jpg", 16, ValueError, "8 bits"),
        (tmp_path / "out.png", 12, ValueError, "8 or 16"),
        (tmp_path / "no" / "out.png", 8, PictureError, "no folder"),
    ]:
        with pytest.raises(error, match=message):
            images.write(path, picture, bits)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        images.write(tmp_path / "folder.png", picture)
    with pytest.raises(ValueError, match="16383"):
        images.check_output(tmp_path / "wide.webp", (10, 20000))


def test_destinations_and_sizes_that_do_not_fit(photo):
    picture = images.read(photo)
    for destination in (BytesIO(), None):
        with pytest.raises(ValueError, match=r"the destination is of type \w+; expected a path"):
            picture.save(destination)
    for size in ((0, 64), (64, -1)):
        with pytest.raises(ValueError, match="at least 1 on each side"):
            picture.resized(*size)


def test_a_failed_write_leaves_the_old_file(tmp_path, photo, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PictureError, match="No space left"):
        images.write(path, images.read(photo))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_without_settings(tmp_path, pil):
    pil.save(tmp_path / "plain.png")
    assert images.read_settings(tmp_path / "plain.png") is None
    exif = PIL.Image.Exif()
    exif[0x010E] = "a holiday"
    pil.save(tmp_path / "described.jpg", exif=exif)
    assert images.read_settings(tmp_path / "described.jpg") is None
    (tmp_path / "text.jpg").write_text("no")
    with pytest.raises(PictureError):
        images.read_settings(tmp_path / "text.jpg")


def test_sizes():
    assert images.fit((768, 1024), 512) == (384, 512)
    assert images.fit((1, 5000), 512) == (1, 512)
    height, width = images.fit_area((100, 400), 512 * 512)
    assert (height, width) == (256, 1024)
    picture = Picture(torch.rand(3, 10, 20), torch.rand(10, 20)).resized(7, 31)
    assert picture.rgb.shape == (3, 7, 31)
    assert picture.alpha.shape == (7, 31)
    assert picture.rgb.min() >= 0
    assert picture.rgb.max() <= 1


class TestConversions:
    """A picture behaves as pictures of other libraries do."""

    @pytest.fixture(params=[False, True])
    def picture(self, request):
        generator = torch.Generator().manual_seed(0)
        alpha = torch.rand(4, 6, generator=generator) if request.param else None
        return Picture(torch.rand(3, 4, 6, generator=generator), alpha)

    def test_sizes(self, picture):
        assert (picture.width, picture.height) == picture.size == picture.to_pil().size == (6, 4)
        assert picture.shape == np.asarray(picture).shape[:2] == (4, 6)

    def test_arrays_are_those_of_pil(self, picture):
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(picture.to_pil()))
        assert np.asarray(picture).dtype == np.uint8
        assert np.array(picture, np.float32).max() > 1
        with pytest.raises(ValueError, match="8 bits"):
            picture.__array__(copy=False)

    def test_files(self, picture, tmp_path):
        picture.save(tmp_path / "a.png", bits=16)
        torch.testing.assert_close(images.read(tmp_path / "a.png").rgb, picture.rgb, atol=1e-4, rtol=0)
        with pytest.raises(ValueError, match="xyz"):
            picture.save(tmp_path / "a.xyz")

    def test_notebooks(self, picture):
        with PIL.Image.open(BytesIO(picture._repr_png_())) as shown:
            np.testing.assert_array_equal(np.asarray(shown), np.asarray(picture))

    def test_the_viewer(self, picture, monkeypatch):
        shown = []

        def show(image):
            shown.append(image.size)

        monkeypatch.setattr(PIL.Image.Image, "show", show)
        picture.show()
        assert shown == [picture.size]

    def test_text(self, picture):
        assert repr(picture) == ("<Picture 6×4>" if picture.alpha is None else "<Picture 6×4 with alpha>")


def test_steps_convert_as_pictures_do(photo, tmp_path):
    *_, step = impasto.iterate(photo, "mosaic", size=48, iterations=2, scales=1)
    step.save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "a.png")), np.asarray(step))
    assert step.size == step.to_pil().size == (step.width, step.height) == (48, 32)
    assert step.shape == (32, 48)
    assert step._repr_png_() == step.picture._repr_png_()
    assert repr(step).startswith("<Step 48×32, scale 1/1, iteration 2/2, loss ")
