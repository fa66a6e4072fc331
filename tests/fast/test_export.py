"""ONNX graphs: ONNX Runtime and PyTorch agree, at any size, and both with what `impasto fast` paints."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from making_models import random_vectors

from impasto import extras, images
from impasto.errors import ExtraError, WeightsError
from impasto.fast import export as exporting
from impasto.fast.export import ExportableModel, export
from impasto.fast.inference import StyledRegion, paint
from impasto.fast.models import Model


@pytest.fixture(scope="module")
def small_model(network):
    return Model(network, dict(zip(["one", "größer"], random_vectors(network, 2), strict=True)))


@pytest.fixture(scope="module")
def exported(small_model, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return path, export(small_model, path)


@pytest.fixture(scope="module")
def session(exported):
    import onnxruntime

    return onnxruntime.InferenceSession(exported[0].read_bytes())


@pytest.fixture(scope="module")
def tiled(small_model, exported, tmp_path_factory):
    import onnxruntime

    path = tmp_path_factory.mktemp("tiled") / "model.onnx"
    assert export(small_model, path, tiles=True) < 1e-4
    return onnxruntime.InferenceSession(path.read_bytes())


class TestGraph:
    def test_agrees_with_pytorch(self, exported):
        assert 0 <= exported[1] < 1e-4

    def test_is_one_file(self, exported):
        assert [path.name for path in exported[0].parent.iterdir()] == ["model.onnx"]

    def test_has_names(self, session, small_model):
        assert {each.name: each.type for each in session.get_inputs()} == dict.fromkeys(
            ("photo", "shares", "vector"), "tensor(float)"
        )
        assert [each.name for each in session.get_outputs()] == ["painted"]
        assert json.loads(session.get_modelmeta().custom_metadata_map["styles"]) == ["one", "größer"]
        shapes = {each.name: each.shape for each in session.get_inputs()}
        assert shapes["shares"] == [1, 2]
        assert shapes["vector"] == [1, small_model.network.length]

    @pytest.mark.parametrize("size", [(64, 96), (33, 47), (100, 40), (300, 24), (5, 60), (1, 40)], ids=str)
    def test_paints_pictures_of_any_size(self, session, small_model, photo, size):
        """A blend of styles at part of their strength, to which a learnt one is added."""
        given = images.read(photo).resized(*size).rgb
        shares, vector = torch.tensor([[0.7, 0.2]]), random_vectors(small_model.network, 1, seed=2) / 10
        feed = {"photo": given[None].numpy(), "shares": shares.numpy(), "vector": vector.numpy()}
        (found,) = session.run(None, feed)
        one, two = small_model.styles.values()
        *_, wanted = paint(small_model.network, given, [StyledRegion(None, 0.7 * one + 0.2 * two + vector[0])])
        assert found.shape == (1, 3, *size)
        assert np.abs(found[0] - wanted.numpy()).max() < 2e-4


class TestTiles:
    def test_tiles_with_the_statistics_of_the_picture_make_up_the_picture(self, tiled, small_model, photo):
        """Tiles begin at multiples of the noise's side, and what is within 96 px of their inner borders is cut off."""
        given = images.read(photo).resized(300, 700).rgb[None].numpy()
        length = ExportableModel(small_model).statistics_length
        style = {
            "shares": np.array([[0.7, 0.2]], np.float32),
            "vector": np.zeros((1, small_model.network.length), np.float32),
        }
        own = {"statistics": np.zeros((1, length), np.float32), "share": np.zeros(1, np.float32)}
        whole, used = tiled.run(None, {"photo": given} | style | own)
        fixed = {"statistics": used, "share": np.ones(1, np.float32)}
        left, _ = tiled.run(None, {"photo": given[..., :512]} | style | fixed)
        right, _ = tiled.run(None, {"photo": given[..., 256:]} | style | fixed)
        pieces = np.concatenate([left[..., :384], right[..., 128:]], -1)
        assert np.abs(pieces - whole).max() < 1e-4
        assert np.abs(left[..., -8:] - whole[..., 504:512]).max() > 1e-3  # the borders do differ


class TestMistakes:
    def test_a_wrong_name(self, model, tmp_path):
        with pytest.raises(ValueError, match="its suffix must be .onnx"):
            export(model, tmp_path / "model.pt")

    def test_a_folder_that_does_not_exist(self, model, tmp_path):
        with pytest.raises(WeightsError, match="there is no folder"):
            export(model, tmp_path / "none" / "model.onnx")

    def test_without_the_extra(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(extras, "find_spec", lambda module: None)
        with pytest.raises(ExtraError, match='pip install "onnx>=1.17" "onnxscript'):
            export(model, tmp_path / "model.onnx")

    def test_without_a_gallery(self, model, tmp_path):
        pytest.importorskip("onnxruntime")
        with pytest.raises(ValueError, match="no gallery of styles to export"):
            export(dataclasses.replace(model, styles={}), tmp_path / "model.onnx")

    def test_a_graph_that_differs_is_not_written(self, small_model, exported, tmp_path, monkeypatch):
        """As if PyTorch painted otherwise than the graph that it exported."""
        content, forward = exported[0].read_bytes(), ExportableModel.forward
        monkeypatch.setattr(torch.onnx, "export", lambda module, inputs, path, **kwargs: path.write_bytes(content))
        monkeypatch.setattr(ExportableModel, "forward", lambda self, *given: forward(self, *given) + 0.01)
        with pytest.raises(ValueError, match="the graph differs from the model by 1.0e-02, more than 1e-04"):
            export(small_model, tmp_path / "model.onnx")
        assert list(tmp_path.glob("*.onnx")) == []

    def test_the_hosts_logging_is_left_alone(self, exported):
        assert exporting.logging.root.manager.disable == 0
