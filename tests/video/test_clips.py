"""Reading and writing clips: all but the pictures is kept."""

from fractions import Fraction

import av
import numpy as np
import PIL.Image
import pytest

from impasto import images
from impasto.errors import ClipError
from impasto.video import clips


def through(clip_path, out_path, tmp_path, crf=10):
    """A clip read and written again."""
    clip = clips.open_clip(clip_path)
    pictures = []
    for number, frame in enumerate(clips.frames(clip), start=1):
        file = tmp_path / f"frame-{number:04}.png"
        images.write(file, images.read(frame.image))
        pictures.append((file, frame.time, frame.duration))
    clips.write(out_path, pictures, clip, crf)
    return clip, clips.open_clip(out_path)


def times(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def sound(path):
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(container.streams.audio) if packet.dts is not None]
        return b"".join(packets)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_sound_and_size_survive(moving, tmp_path, suffix):
    before, after = through(moving, tmp_path / f"out{suffix}", tmp_path)
    assert after.size == before.size == (64, 96)
    assert after.frames == before.frames or suffix == ".mkv"
    # Matroska begins at 0 with what comes first, here the sound, which AAC begins 23 ms before.
    one, two = (np.array([float(t) for t in times(path)]) for path in (moving, after.path))
    assert np.allclose(one - one[0], two - two[0], atol=2e-3)
    assert sound(after.path) == sound(moving)
    with av.open(str(moving)) as one, av.open(str(after.path)) as two:
        assert abs(one.duration - two.duration) < 0.06 * av.time_base


def test_pictures_survive(moving, tmp_path):
    _, after = through(moving, tmp_path / "out.mp4", tmp_path, crf=5)
    for one, two in zip(clips.frames(clips.open_clip(moving)), clips.frames(after), strict=True):
        assert (one.image - two.image).abs().mean() < 0.02
        assert (one.image.mean((1, 2)) - two.image.mean((1, 2))).abs().max() < 0.01  # no tint


def test_variable_frame_rates_survive(make_scene, write_clip, tmp_path):
    moments = [0, 40, 300, 350, 1000]
    source = write_clip(tmp_path / "a.mp4", make_scene(5), moments)
    _, after = through(source, tmp_path / "out.mp4", tmp_path)
    assert np.allclose([float(t) * 1000 for t in times(after.path)], moments, atol=2)


def test_pixel_aspect_and_colours_survive(make_scene, write_clip, tmp_path):
    source = write_clip(tmp_path / "a.mp4", make_scene(3), aspect=Fraction(4, 3), colors=(1, 1, 1))
    before, after = through(source, tmp_path / "out.mp4", tmp_path)
    assert after.aspect == before.aspect == Fraction(4, 3)
    assert after.colors[:3] == before.colors[:3] == (1, 1, 1)


def test_a_rotated_clip_is_upright(make_scene, write_clip, tmp_path):
    """As phones write it: the pixels lie on their side, and metadata says so."""
    source = write_clip(tmp_path / "a.mp4", make_scene(3))
    turned = tmp_path / "turned.mp4"
    with av.open(str(source)) as given, av.open(str(turned), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        bits = av.BitStreamFilterContext(
            "h264_metadata=display_orientation=insert:rotate=90", given.streams.video[0], stream
        )
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                for part in bits.filter(packet):
                    part.stream = stream
                    out.mux(part)
    clip = clips.open_clip(turned)
    assert clip.size == (96, 64)
    (first, *_), (lying, *_) = (list(clips.frames(c)) for c in (clip, clips.open_clip(source)))
    upright = np.rot90(lying.image.permute(1, 2, 0).numpy(), 1)
    assert np.abs(first.image.permute(1, 2, 0).numpy() - upright).mean() < 0.01


def test_odd_sizes_are_exact(make_scene, write_clip, tmp_path):
    source = write_clip(tmp_path / "a.mkv", [frame[:63, :95] for frame in make_scene(3)], pix_fmt="yuv444p")
    for suffix in (".mp4", ".webm", ".mkv"):
        _, after = through(source, tmp_path / f"out{suffix}", tmp_path)
        assert after.size == (63, 95)


def test_sound_that_the_format_cannot_hold_is_re_encoded(moving, tmp_path, caplog):
    before, after = through(moving, tmp_path / "out.webm", tmp_path)
    assert (before.audio_codecs, after.audio_codecs) == (("aac",), ("opus",))
    assert "re-encoded as Opus" in caplog.text
    with av.open(str(moving)) as one, av.open(str(after.path)) as two:
        assert abs(one.duration - two.duration) < 0.1 * av.time_base


def test_gif_in_and_out(make_scene, write_clip, tmp_path):
    frames = [PIL.Image.fromarray(frame) for frame in make_scene(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 200, 100, 80], loop=0)
    through(tmp_path / "a.gif", tmp_path / "out.gif", tmp_path)
    with PIL.Image.open(tmp_path / "out.gif") as out:
        assert out.n_frames == 4
        durations = []
        for index in range(4):
            out.seek(index)
            durations.append(out.info["duration"])
    assert durations[:3] == [50, 200, 100]


def test_folders_of_pictures(make_scene, tmp_path):
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(make_scene(11)):
        PIL.Image.fromarray(frame).save(tmp_path / "in" / f"f{number}.png")
    clip = clips.open_clip(tmp_path / "in", Fraction(30))
    assert (clip.frames, clip.rate, clip.size) == (11, 30, (64, 96))
    order = [path.name for path in clips.pictures_in(tmp_path / "in")]
    assert order[1:3] == ["f1.png", "f2.png"]
    assert order[-1] == "f10.png"
    through(tmp_path / "in", tmp_path / "out.mp4", tmp_path)
    clip = clips.open_clip(tmp_path / "out.mp4")
    pictures = [(tmp_path / "in" / name, index, 1) for index, name in enumerate(order)]
    clips.write(tmp_path / "out", pictures, clip)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == "000001.png"


class TestBadFiles:
    @pytest.mark.parametrize("content", [b"", b"no clip at all" * 100])
    def test_no_clip(self, tmp_path, content):
        (tmp_path / "a.mp4").write_bytes(content)
        with pytest.raises(ClipError, match="not a clip, or damaged"):
            clips.open_clip(tmp_path / "a.mp4")

    def test_no_file(self, tmp_path):
        with pytest.raises(ClipError, match="no such file"):
            clips.open_clip(tmp_path / "a.mp4")

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(ClipError, match="no pictures in"):
            clips.open_clip(tmp_path)

    def test_sound_alone(self, moving, tmp_path):
        with av.open(str(moving)) as given, av.open(str(tmp_path / "a.m4a"), "w") as out:
            stream = out.add_stream_from_template(given.streams.audio[0])
            for packet in given.demux(given.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        with pytest.raises(ClipError, match="only sound"):
            clips.open_clip(tmp_path / "a.m4a")

    def test_a_truncated_file_gives_what_it_has(self, make_scene, write_clip, tmp_path, caplog):
        whole = write_clip(tmp_path / "a.mkv", make_scene(20)).read_bytes()
        (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
        found = list(clips.frames(clips.open_clip(tmp_path / "cut.mkv")))
        assert 1 <= len(found) < 20

    def test_broken_frames_are_skipped(self, make_scene, write_clip, tmp_path, caplog):
        bytes_of = bytearray(write_clip(tmp_path / "a.mkv", make_scene(20, step=1), codec="mpeg4").read_bytes())
        rng = np.random.default_rng(0)
        for place in rng.integers(len(bytes_of) // 3, len(bytes_of) * 2 // 3, 60):
            bytes_of[place] ^= 0xFF
        (tmp_path / "broken.mkv").write_bytes(bytes_of)
        assert 5 <= len(list(clips.frames(clips.open_clip(tmp_path / "broken.mkv")))) <= 20

    def test_a_format_that_is_not_written(self, tmp_path):
        with pytest.raises(ValueError, match="its suffix must be one of .mp4"):
            clips.check_output(tmp_path / "a.avi")

    def test_nothing_is_left_where_writing_fails(self, moving, tmp_path, monkeypatch):
        monkeypatch.setattr(clips, "_AudioCopier", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            through(moving, tmp_path / "out.mp4", tmp_path)
        assert not list(tmp_path.glob("*out*"))
