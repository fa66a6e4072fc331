"""Picture files of every format that is read, and TIFF files of every kind of sample."""

import struct
from io import BytesIO

import numpy as np
import PIL.Image


def saved(image, format, **options):
    memory = BytesIO()
    image.save(memory, format, **options)
    return memory.getvalue()


def directory(entries, at, next_one=0):
    """A directory of a little-endian TIFF, which lies at this position; entries are (tag, type, values or bytes)."""
    out, tail, base = struct.pack("<H", len(entries)), b"", at + 2 + 12 * len(entries) + 4
    for tag, kind, values in sorted(entries):
        size = {1: 1, 2: 1, 3: 2, 4: 4}[kind]
        data = values if isinstance(values, bytes) else b"".join(int(v).to_bytes(size, "little") for v in values)
        out += struct.pack("<HHI", tag, kind, len(data) // size)
        if len(data) > 4:
            out, tail = out + struct.pack("<I", base + len(tail)), tail + data + b"\0" * (len(data) % 2)
        else:
            out += data.ljust(4, b"\0")
    return out + struct.pack("<I", next_one) + tail


def entries_of(array, at, photometric=None, bits=None, **tags):
    """The entries of a plain TIFF picture whose samples `(h, w)` or `(h, w, c)` lie at this position."""
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    if photometric is None:
        photometric = 1 if bands < 3 else 2
    alpha = bands in (2, 4) and photometric != 5
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[array.dtype.kind]
    return [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits or 8 * array.dtype.itemsize] * bands),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [at]),
        (277, 3, [bands]),
        (278, 4, [height]),
        (279, 4, [array.nbytes]),
        *([(338, 3, [2])] if alpha else []),
        (339, 3, [kind] * bands),
    ]


def tiff(array, photometric=None, more=()):
    """A TIFF of these samples, little-endian and uncompressed."""
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    at = 8 + len(data)
    return b"II*\0" + struct.pack("<I", at) + data + directory([*entries_of(array, 8, photometric), *more], at)


def tiff_of_two(first, second, marks, nested=False, more=()):
    """A TIFF of two pictures with these NewSubfileTypes; `nested`: the second is a subdirectory of the first."""
    data = first.tobytes() + second.tobytes()
    at = 8 + len(data)
    one = [*entries_of(first, 8), (254, 4, [marks[0]]), *more]
    two = [*entries_of(second, 8 + first.nbytes), (254, 4, [marks[1]])]

    def whole(later):
        return directory([*one, *([(330, 4, [later])] if nested else [])], at, 0 if nested else later)

    later = at + len(whole(0))
    return b"II*\0" + struct.pack("<I", at) + data + whole(later) + directory(two, later)


def planar_tiff(rgb):
    """Tiled, in separate planes: valid, but not read by libvips. `(16, 16, 3)`."""
    data = b"".join(rgb[..., band].tobytes() for band in range(3))
    entries = [(256, 4, [16]), (257, 4, [16]), (258, 3, [8] * 3), (259, 3, [1]), (262, 3, [2]), (277, 3, [3])]
    entries += [(284, 3, [2]), (322, 4, [16]), (323, 4, [16]), (324, 4, [8, 264, 520]), (325, 4, [256] * 3)]
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory(entries, 8 + len(data))


def dng(rgb, preview):
    """A camera's raw file with a preview in its first directory."""
    raw = rgb[..., 1].astype("<u2") * 16
    data = preview.tobytes() + raw.tobytes()
    at = 8 + len(data)

    def first(sub):
        more = [(254, 4, [1]), (330, 4, [sub]), (50706, 1, [1, 4, 0, 0])]
        return directory([*entries_of(preview, 8), *more], at)

    sub = at + len(first(0))
    main = [*entries_of(raw, 8 + preview.nbytes, 32803), (254, 4, [0]), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2])]
    return b"II*\0" + struct.pack("<I", at) + data + first(sub) + directory(main, sub)


def psd(rgb):
    height, width = rgb.shape[:2]
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3)
    return header + bytes(12) + b"\0\0" + rgb.transpose(2, 0, 1).tobytes()


def sun(rgb):
    height, width = rgb.shape[:2]
    rows = rgb[..., ::-1].tobytes()
    return struct.pack(">8I", 0x59A66A95, width, height, 24, len(rows), 1, 0, 0) + rows


def cur(rgb):
    small = PIL.Image.fromarray(rgb[:32, :32])
    ico = bytearray(saved(small, "ICO", bitmap_format="bmp", sizes=[(32, 32)]))
    ico[2] = 2
    return bytes(ico)


def icns(photo):
    """Icons of 16 and 32 pixels, as PNG."""
    pngs = [saved(photo.resize((side, side)), "PNG") for side in (16, 32)]
    parts = [name + struct.pack(">I", 8 + len(png)) + png for name, png in zip((b"icp4", b"icp5"), pngs, strict=True)]
    return b"icns" + struct.pack(">I", 8 + sum(map(len, parts))) + b"".join(parts)


def dcx(rgb):
    return struct.pack("<3I", 987654321, 12, 0) + saved(PIL.Image.fromarray(rgb), "PCX")


def fli(rgb):
    height, width = rgb.shape[:2]
    pixels = rgb[..., 0].tobytes()
    chunk = struct.pack("<IH", 6 + len(pixels), 16) + pixels
    frame = struct.pack("<IHH8x", 16 + len(chunk), 0xF1FA, 1) + chunk
    header = struct.pack("<IHHHHHHI", 128 + len(frame), 0xAF11, 1, width, height, 8, 3, 5)
    return header.ljust(128, b"\0") + frame


def xpm():
    return b'/* XPM */\nstatic char *x[] = {\n"4 2 2 1",\n"a c #ff0000",\n"b c #0000ff",\n"abab",\n"baba"};\n'


def gbr(rgb):
    grey = rgb[..., 0]
    height, width = grey.shape
    return struct.pack(">5I", 28, 2, width, height, 1) + b"GIMP" + struct.pack(">I", 1) + grey.tobytes()


def pixar(rgb):
    height, width = rgb.shape[:2]
    header = bytearray(1024)
    header[:4] = b"\200\350\000\000"
    header[416:420] = struct.pack("<HH", height, width)
    header[424:428] = struct.pack("<HH", 14, 2)
    return bytes(header) + rgb.tobytes()


def xv_thumbnail(rgb):
    height, width = rgb.shape[:2]
    return b"P7 332\n#END_OF_COMMENTS\n%d %d 255\n" % (width, height) + rgb[..., 0].tobytes()


def fits(rgb):
    height, width = rgb.shape[:2]
    cards = [b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    2"]
    cards += [b"NAXIS1  = %20d" % width, b"NAXIS2  = %20d" % height, b"END"]
    return b"".join(card.ljust(80) for card in cards).ljust(2880) + rgb[..., 0].tobytes()


def ftex(rgb):
    height, width = rgb.shape[:2]
    return b"FTEX" + struct.pack("<7I", 0, width, height, 1, 1, 1, 32) + struct.pack("<I", rgb.nbytes) + rgb.tobytes()


def imt(rgb):
    grey = rgb[..., 0]
    return b"width %d\nheight %d\n\x0c" % (grey.shape[1], grey.shape[0]) + grey.tobytes()


def mcidas(rgb):
    grey = rgb[..., 0]
    height, width = grey.shape
    words = [0] * 64
    words[1], words[8], words[9], words[10], words[13], words[33] = 4, height, width, 1, 1, 256
    return struct.pack(">64i", *words) + grey.tobytes()


def pcd():
    """A Photo CD without data beyond its first picture, 6 kB of which are kept."""
    return bytes(2048) + b"PCD_" + bytes(4096)


SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24"><circle cx="12" cy="12" r="10" fill="#c33"/></svg>'
)


def every_format(rgb):
    """Name -> file, for every format that Pillow, libvips or pillow-heif reads; `(h, w, 3)`, h and w at least 32."""
    photo = PIL.Image.fromarray(rgb)
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, '{"impasto": "0", "options": {}}'
    deep = PIL.Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    files = {
        "RGB.png": saved(photo, "PNG"),
        "RGBA.png": saved(photo.convert("RGBA"), "PNG"),
        "P.png": saved(photo.convert("P"), "PNG", transparency=3),
        "I16.png": saved(deep, "PNG"),
        "RGB.jpg": saved(photo, "JPEG", exif=exif, quality=80),
        "CMYK.jpg": saved(photo.convert("CMYK"), "JPEG"),
        "L.jpg": saved(photo.convert("L"), "JPEG", progressive=True),
        "two.mpo": saved(photo, "MPO", save_all=True, append_images=[photo.convert("L").convert("RGB")]),
        "RGB.webp": saved(photo, "WEBP", exif=exif),
        "RGBA.webp": saved(photo.convert("RGBA"), "WEBP", lossless=True),
        "RGB.tif": saved(photo, "TIFF", compression="tiff_lzw"),
        "CMYK.tif": saved(photo.convert("CMYK"), "TIFF", compression="tiff_adobe_deflate"),
        "float.tif": tiff(rgb.astype(np.float32) / 255),
        "short.tif": tiff(rgb.astype(np.int16) * 128),
        "planes.tif": planar_tiff(np.ascontiguousarray(rgb[:16, :16])),
        "pages.tif": tiff_of_two(np.ascontiguousarray(rgb[::4, ::4]), rgb, (1, 0)),
        "camera.dng": dng(rgb, np.ascontiguousarray(rgb[::4, ::4])),
        "P.gif": saved(photo.convert("P"), "GIF"),
        "RGB.bmp": saved(photo, "BMP"),
        "RGB.dib": saved(photo, "DIB"),
        "RGBA.tga": saved(photo.convert("RGBA"), "TGA", compression="tga_rle"),
        "RGB.ppm": saved(photo, "PPM"),
        "I16.pgm": b"P5\n%d %d\n65535\n" % photo.size + np.asarray(deep).astype(">u2").tobytes(),
        "RGB.dds": saved(photo, "DDS"),
        "DXT5.dds": saved(photo.convert("RGBA"), "DDS", pixel_format="DXT5"),
        "P.blp": saved(photo.convert("P"), "BLP"),
        "RGBA.ico": saved(photo.convert("RGBA"), "ICO", sizes=[(16, 16), (32, 32)]),
        "RGB.icns": icns(photo),
        "RGB.im": saved(photo, "IM"),
        "RGB.jp2": saved(photo, "JPEG2000"),
        "1.msp": saved(photo.convert("1"), "MSP"),
        "1.xbm": saved(photo.convert("1"), "XBM"),
        "RGB.pcx": saved(photo, "PCX"),
        "RGB.qoi": saved(photo, "QOI"),
        "RGB.sgi": saved(photo, "SGI"),
        "F.spider": saved(PIL.Image.fromarray(rgb[..., 0].astype(np.float32) / 255), "SPIDER"),
        "RGB.psd": psd(rgb),
        "RGB.sun": sun(rgb),
        "RGB.cur": cur(rgb),
        "RGB.dcx": dcx(rgb),
        "P.fli": fli(rgb),
        "P.xpm": xpm(),
        "L.gbr": gbr(rgb),
        "RGB.pixar": pixar(rgb),
        "P.xv": xv_thumbnail(rgb),
        "L.fits": fits(rgb),
        "RGB.ftex": ftex(rgb),
        "L.imt": imt(rgb),
        "L.mcidas": mcidas(rgb),
        "photo.pcd": pcd(),
        "icon.svg": SVG,
    }
    if "AVIF" in PIL.Image.SAVE:
        files["RGB.avif"] = saved(photo, "AVIF")
    try:
        import pillow_heif
    except ImportError:
        return files
    memory = BytesIO()
    pillow_heif.from_bytes("RGB", photo.size, photo.tobytes()).save(memory, quality=80)
    return files | {"RGB.heic": memory.getvalue()}
