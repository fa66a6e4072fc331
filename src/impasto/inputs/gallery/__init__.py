"""Paintings in the public domain whose styles the bundled feed-forward network knows; small copies are bundled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Painting:
    """A painting of the gallery.

    Attributes:
        title, artist, year: as museums give them.
    """

    title: str
    artist: str
    year: str


#: Name -> painting.
PAINTINGS = {
    "starry-night": Painting("The Starry Night", "Vincent van Gogh", "1889"),
    "wheat-field": Painting("Wheat Field with Cypresses", "Vincent van Gogh", "1889"),
    "great-wave": Painting("The Great Wave off Kanagawa", "Katsushika Hokusai", "c. 1831"),
    "the-scream": Painting("The Scream", "Edvard Munch", "1893"),
    "composition-vii": Painting("Composition VII", "Wassily Kandinsky", "1913"),
    "shipwreck": Painting("The Shipwreck of the Minotaur", "J. M. W. Turner", "c. 1810"),
    "water-lilies": Painting("Water Lilies", "Claude Monet", "1906"),
    "grande-jatte": Painting("A Sunday on La Grande Jatte", "Georges Seurat", "1884–86"),
    "the-kiss": Painting("The Kiss", "Gustav Klimt", "1907–08"),
    "wood-engraving": Painting("In the crypt, wood engraving", "The Brothers Dalziel", "19th century"),
    "carceri": Painting("Imaginary Prisons, etching", "Giovanni Battista Piranesi", "c. 1750"),
    "woman-with-a-hat": Painting("Woman with a Hat", "Henri Matisse", "1905"),
    "composition": Painting("Composition", "Piet Mondrian", "c. 1913"),
    "udnie": Painting("Udnie", "Francis Picabia", "1913"),
    "red-chalk": Painting("Woman in Peasant Dress, red chalk", "attributed to Antoine Watteau", "c. 1715"),
    "calanque": Painting("The Calanque", "Paul Signac", "1906"),
}


def path_of(name: str) -> Path:
    """The small copy of a painting, 256 pixels on its long side.

    Raises:
        KeyError: no such painting.
    """
    if name not in PAINTINGS:
        raise KeyError(name)
    return Path(__file__).with_name(f"{name}.webp")
