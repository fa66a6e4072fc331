"""Explanations: receptive fields against gradients, strongest places against brute force, reports in a browser."""

import csv
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import torch

from impasto import cli, explain, images, preset, weights, write
from impasto.encoders import Encoder, random_encoder
from impasto.explain import units
from impasto.explain.fields import receptive_field


@pytest.fixture(scope="module")
def deep() -> Encoder:
    """All of VGG-19's layers, few channels."""
    return random_encoder(((2, 2), (2, 2), (4, 2), (4, 3), (4, 3)), seed=1, pooling="average")


@pytest.fixture
def folder(tmp_path, photo):
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(4):
        PIL.Image.fromarray(np.roll(photo, 11 * number, 1)[:, : 80 + number]).save(path / f"{number}.png")
    (path / "bad.jpg").write_bytes(b"nothing")
    return path


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


class TestReceptiveFields:
    def test_are_those_of_gradients_at_every_layer(self, deep):
        for layer in deep.layers:
            side = 2 * layer.field + 2 * layer.stride
            image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
            place = (side // layer.stride) // 2
            x = image
            for part in deep.layers[: deep.depth(layer.name) + 1]:  # linear, so that every path counts
                if part.kind == "conv":
                    x = torch.nn.functional.conv2d(x, deep.kernels[part.name].weight.abs(), padding=1)
                elif part.kind == "pool":
                    x = torch.nn.functional.avg_pool2d(x, 2)
            (gradient,) = torch.autograd.grad(x[0, 0, place, place], image)
            hit = gradient[0].abs().sum(0) > 0
            rows, columns = hit.any(1).nonzero()[:, 0], hit.any(0).nonzero()[:, 0]
            field = receptive_field(deep, layer.name, place, place)
            assert (field.top, field.top + field.side - 1) == (rows.min(), rows.max()), layer.name
            assert (field.left, field.left + field.side - 1) == (columns.min(), columns.max()), layer.name


class TestUnits:
    def pictures(self):
        generator = torch.Generator().manual_seed(0)
        return [torch.rand(3, 24 + 4 * n, 30, generator=generator) for n in range(6)]

    @pytest.mark.parametrize("several", [False, True])
    def test_the_strongest_places_are_those_of_brute_force(self, deep, several):
        pictures = self.pictures()
        best = units.strongest(deep, "relu2_2", iter([*pictures, None]), 4, several)
        for unit, found in enumerate(best):
            every = []
            for number, picture in enumerate(pictures):
                seen = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0, unit]
                values = [
                    (seen[r, c].item(), number, r, c) for r in range(seen.shape[0]) for c in range(seen.shape[1])
                ]
                every += values if several else [max(values)]
            wanted = sorted((value for value, *_ in every), reverse=True)[:4]
            assert [place.value for place in found] == pytest.approx(wanted)
            for place in found:
                seen = deep(pictures[place.picture][None].double(), ["relu2_2"])["relu2_2"][0, unit]
                assert seen[place.row, place.column].item() == pytest.approx(place.value)

    def test_a_patch_excites_as_the_picture_does(self, deep):
        picture = torch.rand(3, 64, 64)
        seen = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0]
        place = units.Place(0, 0, 9, 8)
        patch = units.patch(deep, "relu2_2", picture, place)
        field = receptive_field(deep, "relu2_2", 9, 8)
        assert patch.shape == (3, field.side, field.side)
        assert torch.equal(
            patch, picture[:, field.top : field.top + field.side, field.left : field.left + field.side]
        )
        changed = torch.rand(3, 64, 64)
        changed[:, field.top : field.top + field.side, field.left : field.left + field.side] = patch
        again = deep(changed[None].double(), ["relu2_2"])["relu2_2"][0]
        assert torch.allclose(again[:, 9, 8], seen[:, 9, 8])

    def test_what_matters_lies_in_the_receptive_field(self, deep):
        picture = torch.rand(3, 64, 64)
        gradient = units.guided(deep, "relu2_1", 0, picture, units.Place(0, 0, 12, 12))
        field = receptive_field(deep, "relu2_1", 12, 12)
        outside = gradient.abs().sum(0)
        outside[field.top : field.top + field.side, field.left : field.left + field.side] = 0
        assert outside.max() == 0

    def test_a_picture_made_for_a_unit_excites_it_more_than_photos(self):
        encoder = weights.load("vgg19", padding="replicate").up_to(["relu2_1", "conv2_1"])
        made = units.excite(encoder, "relu2_1", 5, steps=40)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(made.shape, generator=generator)
        seen = [encoder(image[None], ["conv2_1"])["conv2_1"][0, 5] for image in (made, noise)]
        response = [found[found.shape[0] // 2, found.shape[1] // 2].item() for found in seen]
        assert response[0] > response[1]


class TestReports:
    def test_units(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(units, "STEPS", 3)
        report = explain.unit_report(folder, "relu2_1", top=2)
        path = report.write(tmp_path / "report")
        rows = rows_of(tmp_path / "report" / "units.csv")
        assert rows[0] == ["unit", "activation", "picture", "row", "column"]
        assert len(rows) == 1 + 2 * 4  # of each of four pictures one patch
        assert images.size_of(tmp_path / "report" / "units.png")[1] > 300
        page = path.read_text()
        assert "data:image/png;base64," in page
        assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched

    def test_gram(self, folder, tmp_path):
        report = explain.gram_report("mosaic", "swirls", "relu2_1", None)
        assert [section.title for section in report.sections] == [
            "Gram matrices at relu2_1",
            "Channels that fire together",
        ]
        pytest.importorskip("sklearn")
        (folder / "bad.jpg").unlink()
        explain.gram_report("mosaic", "swirls", "relu2_1", folder).write(tmp_path / "report")
        rows = rows_of(tmp_path / "report" / "distances.csv")
        matrix = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
        assert np.allclose(matrix, matrix.T)
        assert np.allclose(np.diag(matrix), 0)

    def test_statistics(self, photo, tmp_path):
        report = explain.statistics_report(photo, "mosaic", size=64, iterations=3)
        (table,) = report.sections[0].tables
        assert len(table.rows) == 5
        assert all(value >= 0 for row in table.rows for value in row[1:])

    def test_representations_fade_with_depth(self, photo):
        report = explain.representations(photo, "mosaic", size=64, iterations=30)
        (table,) = report.sections[0].tables
        errors = [row[1] for row in table.rows]
        assert errors[0] < errors[2] < errors[4]

    def test_run(self, photo, tmp_path):
        import impasto

        steps = impasto.iterate(photo, "mosaic", preset("default", size=64, iterations=4, scales=2))
        explain.run_report(steps).write(tmp_path / "report")
        rows = rows_of(tmp_path / "report" / "run.csv")
        assert rows[0][:3] == ["evaluations", "scale", "loss"]
        assert {row[1] for row in rows[1:]} == {"1.0", "2.0"}

    def test_a_run_that_was_put_away(self, photo, tmp_path):
        import impasto

        kept = impasto.Checkpoints(tmp_path / "out.png.checkpoint", every=1e-9)
        steps = impasto.iterate(photo, "mosaic", preset("default", size=64, iterations=9, scales=2), checkpoints=kept)
        seen = [next(steps) for _ in range(6)]
        steps.close()
        report = explain.checkpoint_report(kept.path)
        report.write(tmp_path / "report")
        rows = rows_of(tmp_path / "report" / "run.csv")
        assert [float(row[2]) for row in rows[1:]] == [step.loss for step in seen]
        assert ["size", "64"] in rows_of(tmp_path / "report" / "settings.csv")

    def test_a_resumed_run_tells_of_what_was_before(self, photo, tmp_path):
        import impasto

        options = preset("default", size=64, iterations=6, scales=1)
        kept = impasto.Checkpoints(tmp_path / "c", every=1e-9, resume=True)
        steps = impasto.iterate(photo, "mosaic", options, None, kept)
        before = [next(steps) for _ in range(3)]
        steps.close()
        first, *_ = impasto.iterate(photo, "mosaic", options, None, kept)
        assert [row[2] for row in first.earlier] == [step.loss for step in before]
        assert before[0].earlier == ()

    def test_opens_in_a_browser(self, tmp_path, photo):
        playwright = pytest.importorskip("playwright.sync_api")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            pytest.skip("no Chromium")
        path = explain.gram_report("mosaic", "swirls", "relu1_2").write(tmp_path / "report")
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            trouble: list[str] = []
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on(
                "request",
                lambda request: (
                    trouble.append(request.url) if not request.url.startswith(("file:", "data:")) else None
                ),
            )
            page.goto(path.as_uri())
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 50)")
            assert page.title() == "What a Gram matrix says"
            browser.close()
        assert not trouble


def test_from_the_command_line(folder, tmp_path, capsys, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(units, "STEPS", 2)
    assert cli.run(["explain", "units", str(folder), "--layer", "relu1_2", "--unit", "3", "-o", "r"]) == 0
    assert "r/report.html" in capsys.readouterr().out
    write("photo.png", images.read(photo))
    assert (
        cli.run(["stylize", "photo.png", "mosaic", "-o", "out.png", "--size", "48", "--iterations", "2", "-q"]) == 0
    )
    assert cli.run(["explain", "run", "out.png", "-o", "run", "-q"]) == 0
    assert (tmp_path / "run" / "losses.png").exists()
    for wrong, said in (
        (["explain", "run", "photo.png", "-o", "x"], "carries no settings"),
        (["explain", "units", "nowhere", "-o", "x"], "no such folder"),
        (["explain", "units", str(folder), "--layer", "relu9_1", "-o", "x"], "unknown layer"),
        (["explain", "units", str(folder), "--layer", "relu1_1", "--unit", "64", "-o", "x"], "has 64, from 0 to 63"),
        (["explain", "gram", "mosaik", "swirls", "-o", "x"], "swirls, mosaic"),
    ):
        assert cli.run(wrong) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
