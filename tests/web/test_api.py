"""The endpoint for programs."""

import PIL.Image
import pytest
from serving import QUICK, WARNINGS

pytest.importorskip("gradio")
from gradio_client import Client, handle_file

from impasto import images
from impasto.settings.fields import fields_of, text_of
from impasto.settings.options import StylizeOptions

pytestmark = WARNINGS


@pytest.fixture
def client(server):
    return Client(server.address, verbose=False)


def test_styles_by_name_and_paintings_as_files(client, portrait, tmp_path):
    picture, settings = client.predict(
        photo=handle_file(portrait), styles=["mosaic", "my noise"], options=QUICK, api_name="/stylize"
    )
    assert images.read(picture).shape == (85, 128)
    assert images.read_settings(picture) == settings
    assert settings["pictures"] == [portrait.name, "mosaic", "my_noise.png"]
    fields = fields_of(StylizeOptions)
    assert settings["options"]["iterations"] == 12
    assert text_of(fields["style_layers"], settings["options"]["style_layers"]) == QUICK["style_layers"]
    own, _ = client.predict(
        photo=handle_file(portrait), paintings=[handle_file(picture)], options=QUICK, api_name="/stylize"
    )
    assert images.read(own).shape == (85, 128)


def test_feed_forward(client, portrait):
    picture, settings = client.predict(
        photo=handle_file(portrait), styles=["mosaic"], options={"size": 96}, fast=True, api_name="/stylize"
    )
    assert images.read(picture).shape == (64, 96)
    assert settings["operation"] == "fast"


@pytest.mark.parametrize("name", ["The Starry Night", "starry-night"])
def test_a_painting_of_the_gallery_has_two_names(client, portrait, name):
    _, settings = client.predict(
        photo=handle_file(portrait), styles=[name], options={"size": 96}, fast=True, api_name="/stylize"
    )
    assert settings["pictures"] == [portrait.name, "starry-night"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fast": True}, "unknown option 'iterations'"),
        ({"fast": True, "options": {"model": "/etc/passwd"}}, "models"),
        ({"styles": []}, "choose a style"),
        ({"styles": ["nothing"]}, "unknown style 'nothing'"),
        ({"options": {"size": 4000}}, "at most 256 px"),
        ({"options": {"iteration": 5}}, "unknown option 'iteration'"),
        ({"options": {"iterations": -1}}, "iterations"),
        ({"options": {"scales": 10**9}}, "scales is 1000000000; at most 8"),
        ({"options": {"weights": "/etc/passwd"}}, "unknown weights"),
        ({"options": {"init": "/etc/passwd"}}, "unknown init"),
        ({"options": {"style_mask": {"1": "/etc/passwd"}}}, "masks"),
        ({"options": 5}, "options"),
        ({"photo": "text"}, "cannot read"),
        ({"photo": "empty"}, "cannot read"),
        ({"photo": "large"}, "at most 4 million"),
    ],
)
def test_invalid_requests(client, portrait, tmp_path, changes, message):
    files = {"text": b"no picture", "empty": b""}
    photo = portrait
    if kind := changes.get("photo"):
        photo = tmp_path / f"{kind}.jpg"
        photo.write_bytes(files.get(kind, b""))
        if kind == "large":
            PIL.Image.new("1", (4000, 2000)).save(photo)
    arguments = {"photo": handle_file(photo), "styles": ["mosaic"], "options": QUICK} | {
        key: value for key, value in changes.items() if key != "photo"
    }
    with pytest.raises(Exception, match=message) as caught:
        client.predict(**arguments, api_name="/stylize")
    assert "/tmp" not in str(caught.value)


def test_a_full_queue_rejects_jobs(server, portrait):
    clients = [Client(server.address, verbose=False) for _ in range(6)]
    options = QUICK | {"iterations": 60}
    jobs = [
        c.submit(photo=handle_file(portrait), styles=["mosaic"], options=options, api_name="/stylize") for c in clients
    ]
    messages = []
    for job in jobs:
        try:
            assert images.read(job.result(timeout=120)[0]).shape == (85, 128)
        except Exception as error:
            messages.append(str(error))
    assert 0 < len(messages) < 6
    assert all("full" in message for message in messages), messages
