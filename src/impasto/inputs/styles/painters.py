"""The built-in styles: functions from a grid to sRGB colours `(h, w, 3)`, about in [0, 1]."""

from __future__ import annotations

import numpy as np

from impasto.inputs.styles.field import Array, PaintingGrid, blend, palette, relief, smear, smoothstep

NIGHT = ("#0b1437", "#14307a", "#2a5db0", "#5f9fd0", "#c9dfd0", "#f6d24a", "#f29a1f")
EARTH = ("#3a2a22", "#8c3b22", "#c9772f", "#e3b65b", "#efe2c0", "#5f9c93", "#1f5560")
GLASS = ("#7a0f1d", "#d2282e", "#f08a1d", "#f7d13c", "#2f9e55", "#1480a8", "#1b2f8f", "#6a2386")
MEADOW = ("#20406e", "#3f7fb5", "#8fc3c9", "#e9dfa0", "#f2a65a", "#d2573f", "#7fa044", "#2f6b3c")
WASH = ("#2d6f9e", "#7ab8c4", "#d98ca0", "#efc56d", "#7fae7a", "#8a6fae", "#d97b55")
PLANES = ("#2b2a33", "#54555e", "#8f8a80", "#c9b896", "#b5793f", "#7d3b2b", "#39566b", "#e6dcc4")


def swirls(grid: PaintingGrid) -> Array:
    """Thick strokes that swirl around the lights of a night sky."""
    angle = 0.9 * grid.noise(1, 1.6) + 0.4 * grid.noise(2, 4)
    glow = np.zeros_like(grid.x)
    east, north = np.cos(angle), np.sin(angle)
    rng = grid.random(3)
    for _ in range(8):
        y, x = rng.uniform(0, 1, 2) * grid.size
        radius, turn = rng.uniform(0.06, 0.17), rng.choice([-1, 1])
        dy, dx = grid.y - y, grid.x - x
        distance = np.hypot(dy, dx) + 1e-9
        pull = np.exp(-((distance / radius / 1.6) ** 2))
        east = east * (1 - pull) - turn * pull * 2 * dy / distance
        north = north * (1 - pull) + turn * pull * 2 * dx / distance
        glow += np.exp(-((distance / radius) ** 2) * 2.5) * (0.75 + 0.25 * np.cos(distance / radius * 14))
    angle = np.arctan2(north, east)
    grain = grid.cells(4, 0.021, 0.5)
    strokes = smear(grid, angle, grain.random[0], 0.045)
    hairs = smear(grid, angle, grid.noise(6, 1 / max(0.005, 2 * grid.pixel)), 0.03)
    strokes = (strokes - strokes.mean()) / strokes.std()
    hairs = hairs / hairs.std()
    tone = 0.36 + 0.2 * grid.clouds(7, 2.6, 3) + 0.12 * strokes + 0.5 * np.clip(glow, 0, 1.1)
    lit = relief(grid, strokes + 0.35 * hairs, 0.006)
    return palette(NIGHT, np.clip(tone, 0, 1)) * (1 + 0.07 * hairs[..., None]) + 0.15 * lit[..., None]


def mosaic(grid: PaintingGrid) -> Array:
    """Small stones in mortar, in bands and discs."""
    bend = 0.06 * grid.noise(1, 2.5)
    stones = grid.cells(2, 0.026, 0.22, grid.x + 0.5 * bend, grid.y + bend)
    y, x = stones.centre_y, stones.centre_x
    bands = np.sin(9 * y + 2.2 * np.sin(5 * x)) + 0.5 * np.sin(17 * x + 3 * np.sin(4 * y))
    tone = 0.5 + 0.27 * bands
    rng = grid.random(3)
    for _ in range(7):
        cy, cx, radius = rng.uniform(0, 1.5), rng.uniform(0, 1.5), rng.uniform(0.1, 0.22)
        distance = np.hypot(y - cy, x - cx)
        rings = rng.uniform() + 0.55 * np.round(distance / radius * 3) / 3
        tone = np.where(distance < radius, rings % 1.0, tone)
    tone = np.clip(tone + 0.12 * (stones.random[0] - 0.5), 0, 1)
    colour = palette(EARTH, tone) * (0.86 + 0.28 * stones.random[1])[..., None]
    stone = smoothstep(0.1, 0.22, stones.border)
    lit = relief(grid, np.minimum(stones.border, 0.45), 0.01)
    mottled = 0.035 * grid.clouds(5, 40, 4)
    mortar = palette(("#4a4540", "#6b645a"), 0.5 + 0.5 * grid.noise(9, 60))
    return blend(mortar, colour + (0.1 * lit + mottled)[..., None], stone)


def woodcut(grid: PaintingGrid) -> Array:
    """Parallel cut lines, in black ink on cream paper, and a red sun."""
    y, x = grid.y, grid.x + 0.0
    waver = 0.012 * grid.noise(1, 6)
    sun_y, sun_x = 0.24, 0.62
    sun = np.hypot(y - sun_y, x - sun_x)
    phase = sun * 34 + 3 * np.arctan2(y - sun_y, x - sun_x) / (2 * np.pi)
    tone = 0.3 + 0.35 * smoothstep(0.1, 0.75, sun) + 0.1 * grid.noise(2, 3)
    outline = np.full_like(x, 9.0)
    for index, level in enumerate((0.42, 0.55, 0.68, 0.8, 0.93, 1.15, 1.4, 1.7)):
        ridge = (
            level + 0.07 * np.sin((3 + index) * x + 2.1 * index) + 0.05 * grid.noise(10 + index, 2.5, x, 0 * x + index)
        )
        below = y - ridge
        slope = 0.6 * (-1) ** index
        lines = 30 * (below * 1.4 + slope * x * (0.5 + 0.2 * index) + 0.08 * np.sin(9 * x + index))
        phase = np.where(below > 0, lines, phase)
        tone = np.where(below > 0, 0.42 + 0.3 * np.sin(1.7 * index) + 1.1 * below * (1 - below), tone)
        outline = np.where(below > 0, below, np.minimum(outline, -below))
    disc = smoothstep(0.102, 0.098, np.where(y < 0.55, sun, 9))
    cut = 0.5 + 0.5 * np.cos(2 * np.pi * (phase + 14 * waver))
    rough = 0.07 * grid.noise(3, 90) + 0.05 * grid.noise(4, 180)
    edge = 34 * grid.pixel * 2 + 0.06
    ink = smoothstep(-edge, edge, np.clip(tone, 0.12, 0.9) - cut + rough)
    ink = np.maximum(ink, smoothstep(0.008, 0.004, np.abs(outline) + 0.004 * grid.noise(5, 20)))
    paper = palette(("#efe4c8", "#e2d2ac"), 0.5 + 0.5 * grid.clouds(6, 12))
    red = palette(("#c2371f", "#a92a18"), 0.5 + 0.5 * grid.noise(7, 30))
    page = blend(paper, red, disc)
    black = palette(("#15120f", "#2a241d"), 0.5 + 0.5 * grid.clouds(8, 50, 3))
    return blend(page, black, ink * (1 - 0.85 * disc))


def pointillism(grid: PaintingGrid) -> Array:
    """Dots of unmixed colour: a sunlit shore."""

    def shore(y: Array, x: Array) -> Array:
        hill = 0.46 + 0.1 * np.sin(3 * x + 1) + 0.05 * np.sin(8 * x)
        ground = 0.78 + 0.09 * np.sin(2.4 * x + 4)
        sky = 0.12 + 0.55 * y + 0.1 * np.sin(6 * x + 3 * y)
        return np.where(
            y > ground, 0.47 + 0.2 * np.sin(9 * x + 5 * y), np.where(y > hill, 0.95 - 0.35 * (y - hill), sky)
        )

    colour = palette(("#f3ead2", "#e8d9b5"), 0.5 + 0.5 * grid.noise(1, 8))
    for layer in range(6):
        spacing = 0.0185 - 0.0014 * layer
        dots = grid.cells(20 + layer, spacing, 0.5)
        shift = 0.11 * (dots.random[0] - 0.5) + np.where(dots.random[1] > 0.86, 0.42, 0)
        hue = (shore(dots.centre_y, dots.centre_x) + shift) % 1.0
        dot = palette(MEADOW, hue)
        dot = np.clip(dot + 0.22 * (dots.random[2] - 0.5)[..., None], 0, 1)
        soft = 0.5 * grid.pixel / spacing + 0.03
        colour = blend(colour, dot, smoothstep(0.43 + soft, 0.43 - soft, dots.distance))
    return colour + 0.02 * grid.clouds(3, 60, 3)[..., None]


def stained_glass(grid: PaintingGrid) -> Array:
    """Panes of coloured light in black lead, around a rose."""
    cy, cx = 0.5 * grid.size[0], 0.5 * grid.size[1]
    dy, dx = grid.y - cy, grid.x - cx
    radius, around = np.hypot(dy, dx), np.arctan2(dy, dx)
    ring = np.floor(radius / 0.16)
    petals = 6 + 6 * ring
    turn = around / (2 * np.pi) * petals + 0.5 * (ring % 2)
    across = np.abs(turn - np.round(turn)) / petals * 2 * np.pi * radius
    along = np.abs(radius / 0.16 - np.round(radius / 0.16)) * 0.16
    panes = grid.cells(1, 0.085, 0.5)
    in_rose = radius < 0.48
    lead = np.where(in_rose, np.minimum(np.minimum(across, along), panes.border * 0.085 + 0.006), panes.border * 0.085)
    key = np.where(in_rose, 0.37 * np.round(turn) % 1 + 0.21 * ring, 0)
    tone = np.where(in_rose, (key + 0.3 * panes.random[0]) % 1.0, panes.random[0])
    glass = palette(GLASS, tone)
    light = 0.72 + 0.3 * grid.clouds(2, 5, 5) + 0.4 * (panes.random[1] - 0.5)
    light += 0.25 * smoothstep(0.0, 0.05, lead) + 0.06 * grid.noise(3, 45)
    streaks = 0.06 * grid.noise(4, 30, grid.x * 3 + grid.noise(5, 4) * 0.2, grid.y * 0.6)
    glass = glass * (light + streaks)[..., None] + 0.12 * np.clip(light - 0.9, 0, 1)[..., None]
    came = smoothstep(0.010, 0.010 - max(0.003, grid.pixel), lead + 0.0015 * grid.noise(6, 25))
    metal = 0.07 + 0.05 * smoothstep(0.006, 0.0, lead)[..., None] * np.ones(3)
    return blend(glass, metal, came)


def watercolour(grid: PaintingGrid) -> Array:
    """Washes that bleed and dry with dark rims on grainy paper."""
    grain = grid.clouds(1, 70, 4)
    light = np.ones((*grid.x.shape, 3)) * np.array([0.985, 0.975, 0.95])
    rng = grid.random(2)
    for layer in range(60):
        cy, cx = rng.uniform(-0.1, 1.1, 2) * grid.size
        reach = 0.3 * 0.07 ** rng.uniform(0, 1)  # from 0.02 to 0.3, small ones as often as large ones
        stretch = rng.uniform(0.45, 1.3)
        wet = rng.choice([0.006, 0.006, 0.05])
        colour = palette(WASH, np.array(rng.uniform()))
        near, window = grid.around(cy, cx, 2.2 * reach + 0.06)
        ragged = 0.3 * near.clouds(100 + 7 * layer, 3.0, 4) + 0.04 * near.clouds(400 + layer, 14, 3)
        distance = np.hypot((near.y - cy) / stretch, near.x - cx) - reach * (1 - ragged)
        wash = smoothstep(wet, -wet, distance)
        rim = np.exp(-((np.minimum(distance, 0) / 0.008) ** 2)) * wash * (wet < 0.01)
        pool = 0.5 + 0.28 * near.clouds(700 + 5 * layer, 4, 3)
        strength = wash * (0.95 * np.clip(pool, 0.1, 1) + 0.08 * grain[window]) + 0.5 * rim
        light[window] *= 1 - np.clip(strength, 0, 1)[..., None] * (1 - colour)
    return light * (1 + 0.035 * grain)[..., None] + 0.02 * relief(grid, grain, 0.004)[..., None]


def facets(grid: PaintingGrid) -> Array:
    """Cubist planes that meet at edges and fade away from them."""
    rng = grid.random(1)
    tone, shade = 0.3 + 0.1 * grid.noise(2, 1.5), np.zeros_like(grid.x)
    edge = np.full_like(tone, 9.0)
    for cut in range(90):
        cy, cx = rng.uniform(-0.1, 1.1, 2) * grid.size
        angle = rng.choice([0.35, 1.2, 1.9, 2.7]) + rng.normal(0, 0.18)
        along = (grid.x - cx) * np.cos(angle) + (grid.y - cy) * np.sin(angle)
        across = (grid.y - cy) * np.cos(angle) - (grid.x - cx) * np.sin(angle)
        across = across + rng.uniform(-0.6, 0.6) * along**2
        length, depth = rng.uniform(0.06, 0.24), rng.uniform(0.06, 0.22)
        hue, light = rng.uniform(0, 2), rng.choice([-0.42, -0.2, 0.3])
        inside = (np.abs(along) < length) & (across > 0)
        fade = np.where(inside, np.exp(-((np.maximum(across, 0) / depth) ** 1.5)), 0)
        tone += (hue - tone) * fade * 0.85
        shade += (light - shade) * fade
        drawn = np.abs(across) + (0.003 if cut % 3 else 0.0)
        edge = np.where(np.abs(along) < length, np.minimum(np.where(inside & (fade > 0.3), 9.0, edge), drawn), edge)
    dabs = smear(grid, 1.5 * grid.noise(3, 2), grid.cells(4, 0.014).random[0], 0.012)
    dabs = (dabs - dabs.mean()) / dabs.std()
    colour = palette(PLANES, np.abs((tone + 0.045 * dabs) % 2 - 1))
    line = smoothstep(0.006, 0.002, edge + 0.002 * grid.noise(5, 30))
    colour = colour * (1 + shade + 0.06 * dabs)[..., None] + 0.03 * relief(grid, dabs, 0.004)[..., None]
    return blend(colour, np.array([0.1, 0.09, 0.09]) * np.ones_like(colour), 0.75 * line)
