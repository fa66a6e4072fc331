"""`impasto weights`."""

from impasto.vgg import weights


def test_weights(run):
    code, out, _ = run("weights", "list")
    assert code == 0
    for name, source in weights.CATALOGUE.items():
        assert name in out
        assert source.licence in out
    assert run("weights", "verify")[:2] == (0, f"vgg19: verified ({weights.locate(weights.CATALOGUE['vgg19'])})\n")
    assert run("weights", "fetch", "vgg19")[0] == 0
    code, _, err = run("weights", "verify", "vgg16-original")
    assert code == 2
    assert "impasto weights fetch vgg16-original" in err
    assert run("weights", "fetch", "vgg11")[0] == 2
