"""Results in windows equal those of the whole picture."""

import torch

from impasto import images
from impasto.fast.inference import StyledRegion, code_of, paint
from impasto.images.regions import StyleSource


class TestTiles:
    def sources(self, generator, height=112, width=176):
        photo = torch.rand(3, height // 8, width // 8, generator=generator)
        return images.resize(photo, height, width), images.resize(torch.rand(3, 8, 8, generator=generator), 64, 80)

    def test_equal_the_whole(self, net, generator):
        photo, style = self.sources(generator)
        code = code_of(net, StyleSource("style", style))
        parts = [StyledRegion(None, code.vector, [(code, 1.0)])]
        *_, whole = paint(net, photo, parts, window=1 << 30)
        *_, tiled = paint(net, photo, parts, window=3000)
        assert (whole - tiled).abs().max() < 2e-4

    def test_the_whole_is_the_network(self, net, generator):
        photo, style = self.sources(generator)
        code = net.code(style[None])
        (*_, whole) = paint(net, photo, [StyledRegion(None, code.vector, [(code, 1.0)])])
        assert torch.allclose(whole, net.painted(photo[None], code)[0], atol=1e-5)

    def test_equal_the_whole_with_regions(self, net, generator):
        photo, style = self.sources(generator)
        codes = [code_of(net, StyleSource("style", picture)) for picture in (style, 1 - style)]
        left = torch.zeros(photo.shape[1:])
        left[:, :90] = 1
        parts = [StyledRegion(w, c.vector, [(c, 1.0)]) for w, c in zip((left, 1 - left), codes, strict=True)]
        *_, whole = paint(net, photo, parts, window=1 << 30)
        *_, tiled = paint(net, photo, parts, window=6000)
        assert (whole - tiled).abs().max() < 2e-4

    def test_a_code_is_the_same(self, net, generator):
        _, style = self.sources(generator)
        whole, tiled = (code_of(net, StyleSource("style", style), window) for window in (1 << 30, 1))
        assert torch.allclose(whole.vector, tiled.vector, atol=1e-3)
        for one, two in zip(whole.fits, tiled.fits, strict=True):
            assert torch.allclose(one.spread, two.spread, rtol=1e-3, atol=1e-3)

    def test_a_mask_over_a_painting_chooses_what_is_read(self, net, generator):
        _, style = self.sources(generator)
        style[..., 40:] *= 0.2
        mask = torch.zeros(style.shape[1:])
        mask[:, :40] = 1
        masked = code_of(net, StyleSource("style", style, mask))
        alone = code_of(net, StyleSource("style", style[..., :40].contiguous()))
        other = code_of(net, StyleSource("style", style))

        def apart(one, two):
            return (one.fits[0].mean - two.fits[0].mean).norm().item()

        assert apart(masked, alone) < 0.5 * apart(other, alone)  # equal but for what is seen across the border
