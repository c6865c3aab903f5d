"""The one decoder of images: bytes of a file to grey pixels, dark ink on light paper."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from bench.core.types import Image

# A scan of A3 at 600 dpi has 70 million pixels; a decoded bomb would not fit into memory.
MAX_PIXELS = 100_000_000

# No format of Pillow's that starts another program (EPS does) or is not for scans.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".pbm",
            ".pgm", ".ppm")  # fmt: skip

_PAPER = (255, 255, 255, 255)


def decode(content: bytes, max_pixels: int = MAX_PIXELS, upright: bool = True) -> Image:
    """An encoded image to (H, W) uint8 grey; transparent is white paper.

    Of 16 bits the upper 8 are kept, of 1 bit 0 and 255 are made, of several pages the first is
    taken.

    Args:
        content: of a file of one of `FORMATS`.
        max_pixels: refuse larger ones before anything is decoded.
        upright: turn it as its EXIF orientation says.

    Raises:
        ValueError: it is no image, damaged, cut short or absurdly large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs and odd metadata: what matters is checked
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise ValueError(f"it has {image.width} x {image.height} pixels")
                return _grey(ImageOps.exif_transpose(image) if upright else image)
    except UnidentifiedImageError as error:
        raise ValueError("it is not an image") from error
    except ValueError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them
        raise ValueError(str(error) or type(error).__name__) from error


def _grey(image: Pillow.Image) -> Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", above.size, _PAPER), above)
    if image.mode.startswith("I"):  # convert("L") would clip what has 16 bits
        return (np.clip(np.asarray(image), 0, 65535).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    return np.array(image.convert("L"))
