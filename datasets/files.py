"""Safe reading of untrusted paths, images, texts and XML, within limits."""

from __future__ import annotations

import codecs
import io
import re
import stat
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from bench.core.errors import UserError
from bench.core.types import Image

FILE_LIMIT = 256 * 1024**2  # bytes; the largest scanned pages are far below it

# A scan of A3 at 600 dpi has 70 million pixels; a decoded bomb would not fit into memory.
MAX_PIXELS = 100_000_000

# No format of Pillow's that starts another program (EPS does) or is not for scans.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".pbm",
            ".pgm", ".ppm")  # fmt: skip

_PAGED = ("TIFF", "GIF", "PNG", "WEBP")  # formats of several pages or frames

# Tags of TIFF.
_SAMPLE_FORMAT = 339  # 1: unsigned whole numbers
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_DEPTHS = (8, 10, 12, 14, 16, 24, 31, 32)  # bits that scanners and cameras use
_PAPER = (255, 255, 255, 255)
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def inside(root: Path, name: str) -> Path:
    """The path of a file named by a data set, existing or not.

    The folder itself may be a symbolic link.

    Raises:
        ValueError: it is not a path, or leaves the folder (by `..`, absolute or by a link).
    """
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is no path")
    home = root.resolve()
    leaves = f"the path {name} leads out of {root}; copy the file into that folder"
    if ".." in Path(name).parts:
        raise ValueError(leaves)
    try:
        # Accents may be characters of their own in one of the names (macOS, zip files), and not
        # in the other.
        forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
        name = next((form for form in forms if (home / form).exists()), name)
        path = (home / name).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long
        raise ValueError(f"the path {name} cannot be followed ({error})") from error
    if not path.is_relative_to(home):
        raise ValueError(leaves)
    return path


def content(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """Read a regular file.

    Raises:
        ValueError: it is missing, not a regular file (a pipe would block), larger than `limit`
            bytes, or not permitted.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(f"{path.name} is not a file")
        if facts.st_size > limit:
            raise ValueError(f"{path.name} has {facts.st_size} bytes; at most {limit} are read")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"the file {path.name} is missing") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror})") from error


def image_inside(root: Path, stems: Sequence[str]) -> bytes:
    """Read the first image that has one of these names, with any suffix of images.

    Raises:
        ValueError: there is none, its path leaves the folder, or it cannot be read.
    """
    for stem in stems:
        for suffix in SUFFIXES:
            for name in (f"{stem}{suffix}", f"{stem}{suffix.upper()}"):
                if (root / name).is_file():
                    return content(inside(root, name))
    raise ValueError(f"there is no image {root.name}/{stems[0]} (.png, .tif, ...)")


def text_inside(root: Path, name: str) -> str:
    """Read a text file named by a data set, in an undeclared encoding."""
    return decode_text(content(inside(root, name)))


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS, upright: bool = True) -> Image:
    """Decode an image to (H, W) uint8 grey, transparency to white.

    Of pixels with more than 8 bits the upper 8 of those in use are kept (12 bits often lie in 16).
    Floats are scaled from 0 to 1, 255 or 65535, the least that holds the largest, or else from
    their own range, as are sums of several scans; 1-bit pixels become 0 and 255. `upright` applies
    the EXIF orientation.

    Raises:
        ValueError: it is not an image, damaged, truncated, absurdly large, or several pages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs and odd metadata: the size is checked
            with Pillow.open(io.BytesIO(encoded), formats=FORMATS) as image:
                image.verify()  # the checksums of PNG, which decoding passes over
            with Pillow.open(io.BytesIO(encoded), formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise ValueError(f"it has {image.width} x {image.height} pixels")
                _refuse_pages(image)
                tags = getattr(image, "tag_v2", {})  # which a transposed copy lacks
                whole = _deep_colours(image, encoded) or image
                return _grey(ImageOps.exif_transpose(whole) if upright else whole, tags)
    except UnidentifiedImageError as error:
        raise ValueError("it is not an image") from error
    except ValueError:
        raise
    except Exception as error:  # on damaged files Pillow raises all kinds of errors
        raise ValueError(str(error) or type(error).__name__) from error


def _refuse_pages(image: Pillow.Image) -> None:
    """Refuse several pages or frames; smaller copies of the first, as some scans have, may be."""
    pages, (width, height) = getattr(image, "n_frames", 1), image.size
    if image.format in _PAGED and pages > 1:
        for page in range(1, pages):
            image.seek(page)
            across, down = image.size
            if across >= width or abs(across * height - down * width) > max(width, height):
                words = f"it has {pages} pages or frames; save each as an image of its own"
                raise ValueError(words)
        image.seek(0)


def _deep_colours(image: Pillow.Image, encoded: bytes) -> Pillow.Image | None:
    """Decode colours of over 8 bits by OpenCV (Pillow keeps 8 of 16); None for other images."""
    depths = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.mode.startswith("I") or not (";16" in depths or image.format == "JPEG2000"):
        return None
    import cv2

    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    parts = [_scaled(pixels[..., 2::-1])]
    if pixels.shape[2] == 4:
        parts.append((pixels[..., 3:] >> 8).astype(np.uint8))
    deep = Pillow.fromarray(np.concatenate(parts, axis=2))
    deep.getexif().update(image.getexif())
    return deep


def _grey(image: Pillow.Image, tags: Mapping[int, Any]) -> Image:
    clear = image.info.get("transparency")
    if image.mode.startswith(("I", "F")):  # convert() would clip what has more than 8 bits
        pixels = np.asarray(image)
        unsigned = tags.get(_SAMPLE_FORMAT) == (1,)
        grey = _scaled(pixels.view(np.uint32) if unsigned and image.mode == "I" else pixels)
        # Pillow turns such pixels around only where they have 8 bits or fewer.
        grey = ~grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey
        return grey if clear is None else np.where(pixels == clear, np.uint8(255), grey)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or clear is not None:
        above = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", above.size, _PAPER), above)
    return np.array(image.convert("L"))


def _scaled(pixels: NDArray[Any]) -> Image:
    """Scale pixels of more than 8 bits to 0..255, by the least range that holds the largest."""
    low, high = pixels.min(), pixels.max()
    if not np.isfinite((low, high)).all():
        raise ValueError("some of its pixels are no numbers; save it with 8 or 16 bits")
    if pixels.dtype.kind != "f" and low >= 0:
        bits = next(bits for bits in _DEPTHS if int(high) < 1 << bits)
        if bits <= 16 or int(high) >> (bits - 2):  # else nearly black
            return (pixels >> (bits - 8)).astype(np.uint8)
    ends = [end for end in (1.0, 255.0, 65535.0) if high <= end] if low >= 0 else []
    start, end = (0.0, ends[0]) if ends else (float(low), float(high))
    grey = (pixels.astype(np.float64) - start) * (255 / max(end - start, 1e-300))
    return np.rint(grey).clip(0, 255).astype(np.uint8)


def decode_text(encoded: bytes) -> str:
    """Decode by a byte order mark, as UTF-16 by its zero bytes, as UTF-8, else as Windows-1252.

    Windows-1252 contains ISO-8859-1's letters; its five undefined codes become U+FFFD.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if encoded.startswith(mark):
            return encoded.decode(encoding, "replace")
    start = encoded[:200]
    if start and start.count(0) > len(start) // 4:
        little = start[1::2].count(0) > start[0::2].count(0)
        return encoded.decode("utf-16-le" if little else "utf-16-be", "replace")
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError:
        return encoded.decode("cp1252", "replace")


def undeclared(document: bytes) -> bytes:
    """Re-encode an XML document in UTF-8 without its (wrong) declaration."""
    return _DECLARATION.sub("", decode_text(document), count=1).encode("utf-8", "replace")


class NotXMLError(UserError, ValueError):
    """A document is not XML, or declares entities."""


class _Declared(Exception):  # noqa: N818 - leaves expat, never this module
    """The DOCTYPE has declarations of its own."""


def parse_xml(document: bytes, name: str) -> Element:
    """Parse a document in its declared encoding; `name` is for errors.

    A DOCTYPE that only names a DTD (IAM's forms) is ignored, and the DTD never fetched. One with
    declarations is refused, against entity expansion
    (https://docs.python.org/3/library/xml.html#xml-vulnerabilities).

    Raises:
        NotXMLError: it is not XML, or declares entities.
    """
    try:
        _refuse_declarations(document)
        return fromstring(document)
    except _Declared:
        raise NotXMLError(f"{name} declares entities, which it has no need of") from None
    except (ParseError, expat.ExpatError, LookupError, ValueError) as error:
        # LookupError: an encoding that does not exist; ValueError: one of several bytes
        raise NotXMLError(f"{name} is not XML that can be read ({error})") from error


def elements(root: Element, name: str) -> Iterator[Element]:
    """All elements with a local name, root included; namespaces vary with the format's version."""
    return (element for element in root.iter() if local(element) == name)


def child(element: Element, name: str) -> Element | None:
    """The first child of a local name."""
    return next((inner for inner in element if local(inner) == name), None)


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _refuse_declarations(document: bytes) -> None:
    """Search for declarations with expat: a search in bytes would miss UTF-16."""

    def doctype(name: str, system: str | None, public: str | None, internal: int) -> None:
        if internal:
            raise _Declared

    def declared(*declaration: object) -> NoReturn:
        raise _Declared

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = declared
    parser.Parse(document, True)
