"""Pictures: lines of text in Debian's fonts, as scanners see them, and parts of Debian's photos."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Of fonts that nothing else than Latin text is written in.
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "LiberationSans", "LiberationSerif", "LiberationMono", "FreeSans", "FreeSerif")


def fonts(place):
    files = place.files(place.debian / "usr/share/fonts", ".ttf")
    return [path for path in files if path.stem.partition("-")[0] in FONTS]


def draw(place, picture, text, at, size, file):
    """Writes a line, in some dark colour; the box that it takes."""
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.truetype(file, size)
    canvas.text(at, text, font=font, fill=tuple(int(part) for part in place.random.integers(0, 90, 3)))
    return canvas.textbbox(at, text, font=font)


def paper(place, width, height):
    return Image.new("RGB", (width, height), tuple(int(part) for part in place.random.integers(190, 256, 3)))


def line(place, text, files, height):
    """A line on paper, cut close to its letters."""
    size = int(height * 0.7)
    picture = paper(place, size * len(text), height * 2)
    left, top, right, bottom = draw(place, picture, text, (8, height // 3), size, place.random.choice(files))
    margins = place.random.integers(1, 6, 4)
    picture = picture.crop((left - margins[0], top - margins[1], right + margins[2], bottom + margins[3]))
    return picture.resize((max(8, picture.width * height // picture.height), height), Image.Resampling.BILINEAR)


def scanned(place, picture, blur, noise):
    """As a scanner sees it, up to so much blur and noise: floats from 0 to 255, [height, width, channel]."""
    seen = picture.filter(ImageFilter.GaussianBlur(place.random.uniform(0, blur)))
    values = np.asarray(seen, np.float32)
    return np.clip(values + place.random.normal(0, place.random.uniform(0, noise), values.shape), 0, 255).astype(np.float32)


def normal(values):
    """From -1 to 1, channels first, as PaddlePaddle's models want them."""
    return (values / 127.5 - 1).transpose(2, 0, 1)


def padded(values, width):
    """With nothing to its right, or cut off: [channel, height, width]."""
    whole = np.zeros((*values.shape[:2], width), np.float32)
    whole[:, :, : values.shape[2]] = values[:, :, :width]
    return whole


def photos(place, count, size):
    """Square parts of photos, each of another place: floats, [count, height, width, channel]; and of which photo each is."""
    folder = place.debian / "usr/share/backgrounds"
    files = [*place.files(folder / "mate/nature", ".jpg"), *sorted(folder.glob("*.jpg"))]
    whole = [Image.open(path).convert("RGB") for path in files]
    parts, of = [], []
    for number in range(count):
        photo = whole[number % len(whole)]
        side = int(min(photo.size) * place.random.uniform(0.3, 1))
        left, top = (int(place.random.integers(0, length - side + 1)) for length in photo.size)
        part = photo.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
        parts.append(np.asarray(part, np.float32))
        of.append(number % len(whole))
    return np.array(parts), np.array(of)
