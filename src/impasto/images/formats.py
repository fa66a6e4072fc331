"""What a file is by its first bytes, and which of a TIFF file's pictures is the main one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

SAVE_AS = "save it as PNG, JPEG or TIFF"
DEVELOP = "develop it to TIFF or JPEG with a raw converter"
RAW = "the raw file of a camera"
VECTORS = "export it as SVG or PNG"
VIDEO = ("a video", "for clips there is 'impasto video'")
SOUND = ("a sound", "for sounds there is 'impasto audio'")

#: (position, bytes there, what such a file is, what to do). Consulted only if the file could not be read.
_SIGNATURES = (
    (0, b"\xff\x0a", "a JPEG XL picture", SAVE_AS),
    (4, b"JXL \r\n", "a JPEG XL picture", SAVE_AS),
    (0, b"II\xbc\x01", "a JPEG XR picture", SAVE_AS),
    (4, b"ftypcrx ", RAW, DEVELOP),
    (0, b"FUJIFILMCCD-RAW", RAW, DEVELOP),
    (0, b"IIU\0", RAW, DEVELOP),  # Panasonic, Leica
    (0, b"IIRO", RAW, DEVELOP),  # Olympus
    (0, b"IIRS", RAW, DEVELOP),
    (0, b"MMOR", RAW, DEVELOP),
    (6, b"HEAPCCDR", RAW, DEVELOP),  # Canon's CRW
    (0, b"FOVb", RAW, DEVELOP),  # Sigma
    (0, b"\0MRM", RAW, DEVELOP),  # Minolta
    (0, b"v/1\x01", "an OpenEXR picture", "tone-map it, and save it as PNG or as TIFF of 16 bits"),
    (0, b"#?RADIANCE", "a Radiance HDR picture", "tone-map it, and save it as PNG or as TIFF of 16 bits"),
    (0, b"#?RGBE", "a Radiance HDR picture", "tone-map it, and save it as PNG or as TIFF of 16 bits"),
    (0, b"8BPS", "a Photoshop file of a kind that is not read", SAVE_AS),
    (0, b"gimp xcf", "a GIMP project", "export it as PNG, JPEG or TIFF"),
    (0, b"%PDF", "a PDF document", VECTORS),
    (0, b"%!PS", "a PostScript file", VECTORS),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file", VECTORS),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile", VECTORS),
    (40, b" EMF", "a Windows metafile", VECTORS),
    (0, b"AT&TFORM", "a DjVu document", SAVE_AS),
    (128, b"DICM", "a DICOM picture", SAVE_AS),
    (0, b"SIMPLE  =", "a FITS picture, whose values have no fixed range", SAVE_AS),
    (8, b"AVI ", *VIDEO),
    (0, b"\x1aE\xdf\xa3", *VIDEO),
    (0, b"\0\0\1\xba", *VIDEO),
    (4, b"ftypqt", *VIDEO),
    (4, b"ftypmp4", *VIDEO),
    (4, b"ftypiso", *VIDEO),
    (4, b"ftypavc1", *VIDEO),
    (4, b"ftypM4V", *VIDEO),
    (8, b"WAVE", *SOUND),
    (0, b"OggS", *SOUND),
    (0, b"fLaC", *SOUND),
    (0, b"ID3", *SOUND),
    (0, b"PK\x03\x04", "an archive", "unpack it, and give the pictures in it"),
    (0, b"version https://git-lfs", "a pointer to a file in Git LFS", "run 'git lfs pull'"),
)

#: Formats of Pillow whose values have no fixed range, or that other programs draw: (what it is, what to do).
REFUSED = {
    "EPS": ("a PostScript file", VECTORS),
    "WMF": ("a Windows metafile", VECTORS),
    "FITS": ("a FITS picture, whose values have no fixed range", SAVE_AS),
    "MCIDAS": ("a McIDAS picture, whose values have no fixed range", SAVE_AS),
    **dict.fromkeys(("BUFR", "GRIB", "HDF5"), ("a file of scientific data", SAVE_AS)),
    "MPEG": VIDEO,
}

#: The brands of HEIF files. What they hold may be HEVC, as on iPhones, or AV1.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")

#: Tags of TIFF.
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_SUB_DIRECTORIES, _SAMPLE_FORMAT, _DNG_VERSION = 330, 339, 50706
_TAGS = (*range(_SUBFILE_TYPE, _COMPRESSION + 1), _PHOTOMETRIC, _SUB_DIRECTORIES, _SAMPLE_FORMAT, _DNG_VERSION)
_CFA, _LINEAR_RAW = 32803, 34892
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 50000, 50001)
#: Grey, RGB, palette, CMYK, YCbCr and Lab.
_PHOTOMETRICS = (0, 1, 2, 3, 5, 6, 8)
#: Directories of a TIFF file that are looked at.
_MAX_DIRECTORIES = 1000


def explain(head: bytes) -> tuple[str, str] | None:
    """What a file that begins like this is and what to do, if that is known; for files that could not be read."""
    for position, magic, what, advice in _SIGNATURES:
        if head[position:].startswith(magic):
            return what, advice
    return None


def is_heif(head: bytes) -> bool:
    """Whether this is HEIF: HEIC or AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def is_hevc(head: bytes) -> bool:
    """Whether a HEIF file may hold HEVC, which libvips and Pillow lack."""
    return is_heif(head) and head[8:12] not in (b"avif", b"avis")


def is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Directory:
    """A picture in a TIFF file.

    Attributes:
        page, sub: which page it is, and which of the page's subdirectories; None for the page itself.
        tags: number -> value.
    """

    page: int
    sub: int | None
    tags: Mapping[int, Any]

    @property
    def pixels(self) -> int:
        return int(self.tags.get(_WIDTH, 0)) * int(self.tags.get(_HEIGHT, 0))

    @property
    def is_whole(self) -> bool:
        """Whether this is neither marked as a reduced version of another picture nor as a mask."""
        return not self.tags.get(_SUBFILE_TYPE, 0) & 0b101 and self.tags.get(_OLD_SUBFILE_TYPE, 1) != 2

    @property
    def white_is_zero(self) -> bool:
        """Whether a grey picture is stored as a negative."""
        return self.tags.get(_PHOTOMETRIC) == 0

    @property
    def is_plain_ycbcr(self) -> bool:
        """Whether this holds YCbCr that is not compressed as JPEG, which libvips takes for RGB."""
        return self.tags.get(_PHOTOMETRIC) == 6 and self.tags.get(_COMPRESSION, 1) != 7

    @property
    def unsupported(self) -> str:
        """Why this picture cannot be read, if that is plain."""
        bits, compression = self.tags.get(_BITS, (1,)), self.tags.get(_COMPRESSION, 1)
        if self.is_plain_ycbcr:
            return "YCbCr colours outside JPEG"
        if set(self.tags.get(_SAMPLE_FORMAT, (1,))) & {5, 6}:
            return "complex numbers"
        if self.tags.get(_PHOTOMETRIC, 1) not in _PHOTOMETRICS:
            return f"photometric interpretation {self.tags[_PHOTOMETRIC]}"
        if not set(bits) <= {1, 2, 4, 8, 12, 16, 32}:
            return f"samples of {' and '.join(map(str, sorted(set(bits))))} bits"
        return "" if compression in _COMPRESSIONS else f"compression {compression}"


def directories(file: IO[bytes]) -> list[Directory]:
    """The pictures in a TIFF file, pages in their order, each followed by its subdirectories.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    header = file.read(8)
    if header[2:3] == b"+" or header[3:4] == b"+":
        header += file.read(8)
    found: list[Directory] = []
    for page, tags in enumerate(_chain(file, header, ImageFileDirectory_v2(header).next)):
        found.append(Directory(page, None, tags))
        starts = tags.get(_SUB_DIRECTORIES, ())
        for sub, start in enumerate((starts,) if isinstance(starts, int) else starts):
            for first in _chain(file, header, start):
                found.append(Directory(page, sub, first))
                break
    return found


def _chain(file: IO[bytes], header: bytes, start: int) -> Iterator[Mapping[int, Any]]:
    visited: set[int] = set()
    while start and start not in visited and len(visited) < _MAX_DIRECTORIES:
        visited.add(start)
        tags = ImageFileDirectory_v2(header)
        file.seek(start)
        tags.load(file)
        # Their values are decoded here, which may warn or fail.
        yield {tag: tags[tag] for tag in _TAGS if tag in tags}
        start = tags.next


def is_raw(head: bytes, found: list[Directory]) -> bool:
    """Whether a TIFF file holds what a camera's sensor measured; its RGB pictures are previews then."""
    return (
        head[8:10] == b"CR"  # Canon
        or head[8:12] in (b"IIII", b"MMMM")  # Phase One
        or any(
            _DNG_VERSION in directory.tags or directory.tags.get(_PHOTOMETRIC) in (_CFA, _LINEAR_RAW)
            for directory in found
        )
    )


def main_directory(found: list[Directory]) -> Directory:
    """The largest picture that is not marked as reduced or as a mask, of equal ones the first."""
    return max(found, key=lambda directory: (directory.is_whole, directory.pixels))
