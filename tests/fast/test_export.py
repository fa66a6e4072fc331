"""ONNX graphs: ONNX Runtime and PyTorch agree."""

import dataclasses

import numpy as np
import pytest
import torch

from impasto import extras, images
from impasto.errors import ExtraError
from impasto.fast import models
from impasto.fast.export import ExportableModel, export
from impasto.fast.models import Model


@pytest.fixture
def model(net) -> Model:
    """The bundled model, for its kind."""
    return models.load() if net.kind == "vgg" else Model(net)


def test_equals_the_model_at_other_sizes(model, photo, painting, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    assert export(model, path) < 1e-4
    session = onnxruntime.InferenceSession(path.read_bytes())
    assert [each.name for each in session.get_inputs()] == ["photo", "painting"]
    for size in ((64, 96), (33, 47), (100, 40)):
        given = [images.read(photo).resized(*size).rgb[None], images.read(painting).rgb[None]]
        (found,) = session.run(None, {"photo": given[0].numpy(), "painting": given[1].numpy()})
        with torch.no_grad():
            wanted = ExportableModel(model)(*given).numpy()
        assert found.shape == (1, 3, *size)
        assert np.abs(found - wanted).max() < 2e-4


ONE_KIND = pytest.mark.parametrize("net", ["compact"], indirect=True)


@ONE_KIND
def test_a_model_of_one_painting_takes_none(model, painting, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    code = model.network.code(images.read(painting).resized(64, 88).rgb[None])
    export(dataclasses.replace(model, code=code), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "model.onnx").read_bytes())
    assert [each.name for each in session.get_inputs()] == ["photo"]


@ONE_KIND
def test_a_wrong_name(model, tmp_path):
    with pytest.raises(ValueError, match="its suffix must be .onnx"):
        export(model, tmp_path / "model.pt")


@ONE_KIND
def test_without_the_extra(model, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ExtraError, match=r"pip install 'impasto\[export\]'"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
