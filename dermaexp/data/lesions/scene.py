"""What the images show: skin, one lesion with the signs of its class, hairs and light.

The signs are those of Kittler et al., J Am Acad Dermatol 74:1093 (2016), and Argenziano et al.,
J Am Acad Dermatol 48:679 (2003). They are often weak or absent, and every lesion may borrow signs
of other classes, so that the classes overlap as in practice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dermaexp.data.lesions.fields import Array, Noise, Spots, Stream, Strokes, network, smooth

# Probability that a lesion shows the sign, by class: akiec, bcc, bkl, df, mel, nv, vasc.
SIGNS = {
    "network": (0.06, 0.03, 0.12, 0.20, 0.45, 0.70, 0.02),
    "globules": (0.05, 0.08, 0.12, 0.05, 0.40, 0.40, 0.02),
    "asymmetry": (0.40, 0.30, 0.20, 0.10, 0.80, 0.12, 0.15),
    "colours": (0.12, 0.12, 0.15, 0.05, 0.70, 0.10, 0.08),
    "veil": (0.02, 0.08, 0.05, 0.03, 0.50, 0.03, 0.05),
    "vessels": (0.15, 0.75, 0.05, 0.06, 0.08, 0.03, 0.04),
    "nests": (0.02, 0.60, 0.04, 0.02, 0.05, 0.01, 0.04),
    "cysts": (0.08, 0.05, 0.75, 0.05, 0.06, 0.03, 0.02),
    "patch": (0.05, 0.10, 0.05, 0.80, 0.06, 0.04, 0.03),
    "lacunae": (0.02, 0.04, 0.02, 0.03, 0.03, 0.01, 0.85),
    "erythema": (0.80, 0.40, 0.10, 0.25, 0.12, 0.08, 0.15),
    "scale": (0.70, 0.15, 0.12, 0.08, 0.04, 0.02, 0.02),
}
# Mean of a trait by class, and the deviation within every class.
TRAITS = {
    "pigment": ((0.25, 0.25, 0.50, 0.30, 1.45, 0.65, 0.32), 0.28),
    "blood": ((0.42, 0.36, 0.14, 0.30, 0.14, 0.27, 0.62), 0.09),
    "radius": ((0.55, 0.46, 0.55, 0.40, 0.66, 0.46, 0.38), 0.16),
    "softness": ((0.80, 0.65, 0.35, 0.75, 0.45, 0.45, 0.40), 0.15),
}
# Colours of skin in [0, 1], mixed at random.
SKINS = ((0.88, 0.64, 0.68), (0.86, 0.60, 0.53), (0.75, 0.66, 0.71), (0.92, 0.79, 0.81))
# Absorption of red, green and blue light by a unit of the pigment, equal in its effect on luma.
MELANIN = (0.60, 1.10, 1.55)
BLOOD = (0.30, 1.35, 1.10)
BLACK = (1.10, 1.00, 0.80)
# Colours of deep pigment, of scar, scale and keratin, and of hair, in [0, 1].
BLUE = (0.42, 0.45, 0.56)
PALE = (0.95, 0.86, 0.83)
HAIR = (1.0, 0.75, 0.65)


class Frame(NamedTuple):
    """Where the pixels lie in their lesions, as planes (rows, columns, images), and noise there."""

    u: Array  # right of the centre, warped, in the image's units
    v: Array  # below it
    a: Array  # along the long axis, -1 to 1 from border to border
    b: Array  # along the short axis
    q: Array  # 0 at the centre, 1 on the border
    body: Array  # 1 inside, 0 outside
    side: Array  # -1 to 1 across the lesion, from one side to the other
    pigment: Array
    fine: Array
    speckle: Array


class Scene:
    """The random parameters of n images, independent of the size they are painted at."""

    def __init__(self, stream: Stream, labels: NDArray[np.intp]) -> None:
        s = stream
        self.sign: dict[str, Array] = {}
        for name, chances in SIGNS.items():
            chance = np.array(chances, np.float32)[labels]
            shown = (s.uniform() < chance).astype(np.float32)
            self.sign[name] = shown * s.between(0.4, 1.1)
        self.trait: dict[str, Array] = {}
        for name, (means, deviation) in TRAITS.items():
            value = np.array(means, np.float32)[labels] + s.normal() * deviation
            self.trait[name] = np.maximum(value, 0.1)
        asymmetry = self.sign["asymmetry"]

        weights = s.uniform(len(SKINS))
        weights *= weights
        total = weights[0] + weights[1] + weights[2] + weights[3]
        light = 1.0 + 0.06 * s.normal()
        self.skin = []
        for channel in range(3):
            mixed = sum(weight * skin[channel] for weight, skin in zip(weights, SKINS, strict=True))
            self.skin.append(mixed / total * light)

        self.mottle = Noise(s, 3)
        self.warp = (Noise(s, 6), Noise(s, 6))
        self.pigment = Noise(s, 9)
        self.fine = Noise(s, 22)
        self.speckle = Noise(s, 46)

        self.centre = s.signed(2) * 0.18
        self.stretch = s.between(0.75, 1.0) - 0.2 * asymmetry
        self.turn = s.direction()
        self.wobble = s.signed(4) * (0.06 + 0.16 * asymmetry)
        self.shift = s.between(0.02, 0.05) + 0.05 * asymmetry
        self.slope = s.direction()
        self.period = s.between(0.11, 0.20)
        self.core = s.between(-0.2, 0.7)

        self.globules = Spots(s, 0.25, 0.45)
        self.globule = s.between(0.12, 0.20)
        self.cyst = s.between(0.13, 0.19)
        self.cysts = Spots(s, 0.10, 0.30)
        self.nests = Spots(s, 0.25, 0.50)
        self.lacunae = Spots(s, 0.30, 0.50)
        self.crowd = s.between(1.2, 2.6)
        self.density = s.between(0.2, 0.9)
        self.vessels = self._vessels(s)
        self.hairs = self._hairs(s)
        self.hair_tone = s.between(0.15, 0.5)

        self.gradient = s.signed(2) * 0.07
        self.vignette = s.between(0.0, 0.08)
        self.corner = (s.uniform() < 0.04).astype(np.float32) * 0.9

    def _vessels(self, s: Stream) -> Strokes:
        """A trunk across the lesion and branches that leave it on both sides."""
        lines = 7
        cos, sin = s.direction()
        length = self.trait["radius"] * s.between(1.2, 1.8)
        y = self.centre[0] - sin * length * 0.5 + s.signed() * 0.1
        x = self.centre[1] - cos * length * 0.5 + s.signed() * 0.1
        where = s.between(0.1, 0.8, lines)
        lean = s.between(0.5, 1.2, lines)
        lean[1::2] *= -1.0
        where[0] = 0.0
        lean[0] = 0.0
        dx = cos - lean * sin
        dy = sin + lean * cos
        norm = np.sqrt(dx * dx + dy * dy)
        lengths = length * s.between(0.25, 0.6, lines)
        lengths[0] = length
        bend = s.signed(lines) * 1.5
        bend[0] *= 0.3
        width = s.between(0.008, 0.022, lines)
        start = (y + where * length * sin, x + where * length * cos)
        on = self.sign["vessels"] > 0
        return Strokes(start, (dy / norm, dx / norm), lengths, bend, width, on)

    def _hairs(self, s: Stream) -> Strokes:
        lines = 8
        cos, sin = s.direction(lines)
        start = s.signed(2, lines) * 0.9
        length = s.between(0.6, 2.0, lines)
        few = s.uniform()
        width = s.between(0.006, 0.014, lines)
        # Most haired images have a few hairs, some have all of them.
        width = np.where(s.uniform(lines) < few, width, np.float32(1e-6))
        ends = (start[0] - sin * 0.5, start[1] - cos * 0.5)
        on = s.uniform() < 0.22
        return Strokes(ends, (sin, cos), length, s.signed(lines) * 0.35, width, on)

    def paint(self, y: Array, x: Array, pixel: float) -> list[Array]:
        """Red, green and blue in about [0, 1], each of shape (len(y), len(x), n)."""
        frame = self._frame(y, x, pixel)
        melanin, blood, black = self._absorbed(frame, pixel)
        blood += (1.2 * self.sign["vessels"]) * self.vessels.at(y, x, pixel)
        veil, white = self._scattered(frame, pixel)
        hair = self.hairs.at(y, x, pixel)
        light = self._light(y, x)
        mottle = self.mottle.at(y, x) * 0.02
        mottle += 1.0 + 0.012 * frame.fine + 0.010 * frame.speckle

        planes = []
        for channel, tone in enumerate(self.skin):
            absorbed = melanin * MELANIN[channel]
            absorbed += blood * BLOOD[channel]
            absorbed += black * BLACK[channel]
            absorbed += 1.0
            plane = mottle * tone
            plane /= absorbed
            plane += (BLUE[channel] - plane) * veil
            plane += (PALE[channel] - plane) * white
            plane += (HAIR[channel] * self.hair_tone - plane) * hair
            plane *= light
            planes.append(plane)
        return planes

    def _frame(self, y: Array, x: Array, pixel: float) -> Frame:
        pigment = self.pigment.at(y, x)
        fine = self.fine.at(y, x)
        v = self.warp[0].at(y, x)
        v *= self.shift
        v += y[:, None, None] - self.centre[0]
        u = self.warp[1].at(y, x)
        u *= self.shift
        u += x[:, None] - self.centre[1]
        cos, sin = self.turn
        long = self.trait["radius"]
        short = long * self.stretch
        a = u * (cos / long) + v * (sin / long)
        b = v * (cos / short) - u * (sin / short)

        # The border: waves of order 2 and 3 in the angle, by angle addition, and some noise.
        q = np.sqrt(a * a + b * b + 1e-6)
        cos1, sin1 = a / q, b / q
        cos2 = cos1 * cos1 - sin1 * sin1
        sin2 = cos1 * sin1 * 2.0
        wave = cos2 * self.wobble[0] + sin2 * self.wobble[1] + 1.0
        wave += (cos2 * cos1 - sin2 * sin1) * self.wobble[2]
        wave += (sin2 * cos1 + cos2 * sin1) * self.wobble[3]
        q *= wave
        q += 0.05 * pigment
        q += 0.025 * fine
        softness = np.maximum(self.trait["softness"], 1.4 * pixel / long)
        body = smooth((1.0 - q) / softness + 0.5)
        side = a * self.slope[0] + b * self.slope[1]
        return Frame(u, v, a, b, q, body, side, pigment, fine, self.speckle.at(y, x))

    def _absorbed(self, f: Frame, pixel: float) -> tuple[Array, Array, Array]:
        """Melanin, blood and black, in units of absorption."""
        sign, trait = self.sign, self.trait
        # The dark part of a lesion of several colours lies on one side.
        zone = smooth(f.side * 0.8 + f.pigment * 0.25 + 0.1) * f.body
        melanin = network(f.u / self.period, f.v / self.period)
        melanin -= 0.45
        # Fades where the cells come near the size of a pixel.
        melanin *= sign["network"] * 1.1 * np.clip(self.period / pixel - 1.0, 0.0, 1.0)
        melanin *= np.clip(0.9 + 0.4 * f.pigment, 0.0, 1.2)
        melanin += 1.0 + 0.22 * f.pigment
        melanin += 0.12 * f.fine
        melanin += 0.10 * f.speckle
        melanin += self.core * (0.8 - f.q)
        cell = self.globule
        globules = self.globules.at(f.u / cell, f.v / cell, self.density, pixel / cell)
        melanin += (1.5 * sign["globules"]) * globules
        melanin *= trait["pigment"] * (1.0 - 0.3 * sign["colours"])
        melanin *= f.body
        melanin += zone * (0.9 * sign["colours"])
        np.maximum(melanin, 0.0, out=melanin)

        crowd = self.crowd
        lacunae = self.lacunae.at(f.a * crowd, f.b * crowd, 0.9, pixel * crowd / trait["radius"])
        lacunae *= f.body
        blood = smooth(1.2 - 0.6 * f.q)
        blood *= 0.5 * sign["erythema"]
        blood *= 1.0 + 0.3 * f.pigment
        blood += f.body * (trait["blood"] + 0.3 * sign["colours"])
        blood += (1.1 * sign["lacunae"]) * lacunae
        black = zone * zone * sign["colours"]
        black += (0.5 * sign["lacunae"]) * lacunae
        return melanin, blood, black

    def _scattered(self, f: Frame, pixel: float) -> tuple[Array, Array]:
        """Cover in [0, 0.9] by the blue-grey of deep pigment and by white."""
        sign, crowd, cell = self.sign, self.crowd, self.cyst
        veil = smooth(0.6 - f.side * 0.8 + f.pigment * 0.4)
        veil *= 0.65 * sign["veil"]
        # Axes exchanged, so that nests do not lie where lacunae do.
        nests = self.nests.at(f.b * crowd, f.a * crowd, 0.5, pixel * crowd / self.trait["radius"])
        veil += (0.9 * sign["nests"]) * nests
        veil *= f.body
        cysts = self.cysts.at(f.u / cell, f.v / cell, self.density, pixel / cell)
        white = smooth(f.fine * 0.6 + f.pigment * 0.4 - 0.5)
        white *= 0.7 * sign["scale"]
        white += (0.9 * sign["cysts"]) * cysts
        white *= f.body
        white += smooth(1.3 - 2.2 * f.q + 0.1 * f.pigment) * (0.65 * sign["patch"])
        return np.minimum(veil, 0.9, out=veil), np.minimum(white, 0.9, out=white)

    def _light(self, y: Array, x: Array) -> Array:
        """Brightness about 1: a gradient, a vignette, and the black edge of the round field."""
        y, x = y[:, None, None], x[:, None]
        far = y * y + x * x
        light = self.gradient[0] * y + self.gradient[1] * x
        light -= far * far * self.vignette
        light += 1.0 - self.corner * smooth(far * 2.5 - 3.2)
        return light
