"""Reading and writing clips: all but the pictures is kept."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from av.stream import Disposition

from impasto import images
from impasto.errors import ClipError
from impasto.video import clips, live


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


def test_pixel_aspect_survives_and_becomes_square_where_a_format_has_none(make_scene, write_clip, tmp_path):
    source = write_clip(tmp_path / "a.mp4", make_scene(3), aspect=Fraction(4, 3))
    before, after = through(source, tmp_path / "out.mp4", tmp_path)
    assert after.aspect == before.aspect == Fraction(4, 3)
    for name, file in (("out.gif", "out.gif"), ("out", "out/000001.png")):
        through(source, tmp_path / "other.mkv", tmp_path)
        pictures = [(tmp_path / f"frame-{number:04}.png", number, 1) for number in (1, 2, 3)]
        clips.write(tmp_path / name, pictures, before)
        with PIL.Image.open(tmp_path / file) as picture:
            assert picture.size == (128, 64)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("tags", [(9, 9, 16), (9, 9, 18), (5, 5, 5), (2, 2, 2)])
def test_tags_describe_what_is_written(make_scene, tmp_path, suffix, tags):
    """Painted frames are sRGB, whatever the source was."""
    PIL.Image.fromarray(make_scene(1)[0]).save(tmp_path / "frame.png")
    clip = clips.Clip(tmp_path / "a.mp4", (64, 96), 1, Fraction(1, 10), Fraction(10), colors=(*tags, 2))
    clips.write(tmp_path / f"out{suffix}", [(tmp_path / "frame.png", 0, 1)], clip, 5)
    written = clips.open_clip(tmp_path / f"out{suffix}")
    assert written.colors == (1, 1, 1, 1)
    (frame,) = clips.frames(written)
    assert (frame.image - images.read(tmp_path / "frame.png").rgb).mean((1, 2)).abs().max() < 0.01


def packets(path, kind="video"):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(**{kind: 0}) if packet.dts is not None]


def shifted(source, path, seconds, muxer=None):
    """The same file, its timestamps `seconds` later."""
    with av.open(str(source)) as given, av.open(str(path), "w", muxer) as out:
        streams = {track.index: out.add_stream_from_template(track) for track in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                later = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mov"])
def test_a_clip_starts_at_zero(moving, tmp_path, suffix):
    source = shifted(moving, tmp_path / f"late{suffix}", 1000)
    _, after = through(source, tmp_path / "out.mp4", tmp_path)
    with av.open(str(after.path)) as out:
        assert abs(out.start_time) < 0.1 * av.time_base
        assert out.duration == pytest.approx(0.6 * av.time_base, abs=0.1 * av.time_base)
    assert len(packets(after.path, "audio")) >= 20
    assert np.allclose(np.diff([float(time) for time in times(after.path)]), 0.1, atol=2e-3)


def test_timestamps_that_begin_anew(moving, tmp_path):
    """Two recordings in one file, as cameras and `cat` leave them; the second is earlier, or hours later."""
    for later in (-1000, 5, 20000):
        parts = [shifted(moving, tmp_path / f"{number}.ts", 1500 + number * later) for number in (0, 1)]
        joined = tmp_path / "joined.ts"
        joined.write_bytes(b"".join(part.read_bytes() for part in parts))
        _, after = through(joined, tmp_path / "out.mp4", tmp_path)
        steps = np.diff([float(time) for time in times(after.path)])
        assert len(steps) == 11
        assert (0.03 < steps).all()
        assert steps.max() < 0.2 or later == 5  # five seconds may be a still scene
        assert len(packets(after.path, "audio")) >= 40


def test_every_frame_of_an_avi_is_read(make_scene, tmp_path):
    """Of H.264 with B-frames, which AVI gives no presentation timestamps."""
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number, pixels in enumerate(make_scene(12, step=2)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = [frame.time for frame in clips.frames(clips.open_clip(tmp_path / "a.avi"))]
    assert np.array_equal(np.diff(found), np.ones(11))


def test_a_cover_is_no_clip_and_is_not_taken_for_one(moving, make_scene, tmp_path):
    with av.open(str(moving)) as given:
        with av.open(str(tmp_path / "cover.mp4"), "w") as out:
            cover = out.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            tracks = {track.index: out.add_stream_from_template(track) for track in given.streams}
            frame = av.VideoFrame(32, 32, "yuvj420p")
            out.mux(cover.encode(frame))
            for packet in given.demux():
                if packet.dts is not None:
                    packet.stream = tracks[packet.stream.index]
                    out.mux(packet)
    assert clips.open_clip(tmp_path / "cover.mp4").size == (64, 96)


def test_sound_without_a_decoder_is_left_out(moving, tmp_path, caplog):
    """As of phones that are newer than FFmpeg."""
    source = tmp_path / "apac.mp4"
    source.write_bytes(moving.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    _, after = through(source, tmp_path / "out.mp4", tmp_path)
    assert after.audio_codecs == ()
    assert after.frames == 6
    assert "no decoder for 1 of its sound tracks" in caplog.text


def test_every_sound_track_is_kept_with_its_language(moving, tmp_path):
    with av.open(str(moving)) as given, av.open(str(tmp_path / "two.mkv"), "w") as out:
        tracks = {0: [out.add_stream_from_template(given.streams[0])]}
        tracks[1] = [out.add_stream_from_template(given.streams[1]) for _ in range(2)]
        for track, language in zip(tracks[1], ("eng", "deu"), strict=True):
            track.metadata["language"] = language
        for packet in given.demux():
            for stream in tracks[packet.stream.index] if packet.dts is not None else ():
                packet.stream = stream
                out.mux(packet)
    _, after = through(tmp_path / "two.mkv", tmp_path / "out.mp4", tmp_path)
    with av.open(str(after.path)) as out:
        assert [track.metadata["language"] for track in out.streams.audio] == ["eng", "deu"]


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s16le", ".mov"), ("mp2", ".ts"), ("libmp3lame", ".avi")])
@pytest.mark.parametrize("out", [".mp4", ".m4v", ".mov", ".mkv", ".webm"])
def test_sound_of_any_codec_is_kept_in_any_format(make_scene, write_clip, tmp_path, codec, suffix, out):
    source = write_clip(tmp_path / f"a{suffix}", make_scene(6), rate=25, sound=codec)
    _, after = through(source, tmp_path / f"out{out}", tmp_path)
    assert len(after.audio_codecs) == 1
    with av.open(str(after.path)) as container:
        seconds = sum(float(frame.samples / frame.sample_rate) for frame in container.decode(audio=0))
    assert seconds == pytest.approx(0.25, abs=0.1)


def test_transparent_clips_are_read_on_white(tmp_path):
    """Also WebM, whose transparency FFmpeg's own decoder ignores, and folders of PNG files."""
    rgba = np.full((64, 96, 4), (0, 255, 0, 0), np.uint8)
    rgba[:, 48:] = (200, 30, 30, 255)
    for name, codec, pixel_format in (
        ("a.mov", "qtrle", "argb"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("b.webm", "libvpx", "yuva420p"),
    ):
        with av.open(str(tmp_path / name), "w") as out:
            stream = out.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
            stream.options = {"auto-alt-ref": "0"}  # VP8 has no alpha with it
            if "webm" in name:
                stream.metadata["alpha_mode"] = "1"
            for _ in range(3):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pixel_format)))
            out.mux(stream.encode(None))
    (tmp_path / "folder").mkdir()
    PIL.Image.fromarray(rgba).save(tmp_path / "folder" / "1.png")
    PIL.Image.fromarray(rgba).save(tmp_path / "a.gif")
    for name in ("a.mov", "a.mkv", "a.webm", "b.webm", "a.gif", "folder"):
        found = list(clips.frames(clips.open_clip(tmp_path / name)))
        assert len(found) in (1, 3)
        for frame in found:
            assert frame.image[:, 8, 8].min() > 0.97, name
            assert frame.image[:, 8, 88].numpy() == pytest.approx(np.array([200, 30, 30]) / 255, abs=0.03), name


@pytest.mark.parametrize("name", [b"\xff\xe9 clip", "Ünïcödé ☃".encode(), b"12:30", b"-i", b"a%03d[1]", b"file:x"])
def test_any_file_name(moving, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, out = (Path(os.fsdecode(name + suffix)) for suffix in (b".mp4", b".out.mkv"))
    try:
        source.write_bytes(moving.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    _, after = through(source, out, tmp_path)
    assert (after.size, after.audio_codecs) == ((64, 96), ("aac",))
    assert len(list(live.frames_of(str(source)))) == 6


def test_text_in_another_encoding(moving, tmp_path):
    source = tmp_path / "a.mkv"
    with av.open(str(moving)) as given, av.open(str(source), "w") as out:
        out.metadata["title"] = "Zuerich"
        tracks = {track.index: out.add_stream_from_template(track) for track in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                out.mux(packet)
    source.write_bytes(source.read_bytes().replace(b"Zuerich", b"Z\xfcrich "))
    _, after = through(source, tmp_path / "out.mp4", tmp_path)
    assert after.size == (64, 96)


def test_an_interlaced_clip_is_painted_as_it_is_and_that_is_said(make_scene, write_clip, tmp_path, caplog):
    source = write_clip(tmp_path / "a.mkv", make_scene(3), interlaced=True)
    assert len(list(clips.frames(clips.open_clip(source)))) == 3
    assert caplog.text.count("is interlaced") == 1


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_rotated_clip_is_upright(make_scene, write_clip, tmp_path, angle, mirror):
    """As phones write it: the pixels lie on their side, and metadata says so."""
    source = write_clip(tmp_path / "a.mp4", make_scene(3))
    turned = tmp_path / "turned.mp4"
    with av.open(str(source)) as given, av.open(str(turned), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        settings = f"display_orientation=insert:rotate={angle}" + (":flip=horizontal" if mirror else "")
        bits = av.BitStreamFilterContext(f"h264_metadata={settings}", given.streams.video[0], stream)
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                for part in bits.filter(packet):
                    part.stream = stream
                    out.mux(part)
    clip = clips.open_clip(turned)
    assert clip.size == ((96, 64) if angle % 180 else (64, 96))
    (first, *_), (lying, *_) = (list(clips.frames(c)) for c in (clip, clips.open_clip(source)))
    upright = lying.image.permute(1, 2, 0).numpy()
    upright = np.rot90(upright[:, ::-1] if mirror else upright, angle // 90)
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


@pytest.mark.parametrize("codec", ["aac", "mp2"])
@pytest.mark.parametrize("suffix", [".webm", ".m4v"])
def test_sound_that_changes_is_re_encoded(make_scene, write_clip, tmp_path, codec, suffix):
    """Two recordings in one file, whose sound differs in layout and rate."""
    joined = b""
    for layout, rate in (("mono", 44100), ("stereo", 48000), ("mono", 32000)):
        part = write_clip(tmp_path / "part.ts", make_scene(6), sound=codec, layout=layout, sound_rate=rate)
        joined += part.read_bytes()
    (tmp_path / "joined.ts").write_bytes(joined)
    _, after = through(tmp_path / "joined.ts", tmp_path / f"out{suffix}", tmp_path)
    if clips.FORMATS[suffix][1] >= {codec}:
        return  # copied
    with av.open(str(after.path)) as out:
        heard = list(out.decode(audio=0))
    assert sum(part.samples / part.sample_rate for part in heard) == pytest.approx(1.8, abs=0.15)
    assert {part.layout.name for part in heard} == {"stereo"}
    samples = np.concatenate([part.to_ndarray()[0] for part in heard])
    rate = heard[0].sample_rate
    for start in (0.2, 0.8, 1.4):
        piece = samples[round(rate * start) :][: rate // 5]
        assert np.abs(np.fft.rfft(piece)).argmax() * 5 == pytest.approx(351, abs=6)


def test_gif_durations_are_right_on_the_whole(make_scene, tmp_path):
    """GIF holds hundredths of a second: at 30 frames a second some last 3, others 4."""
    pictures = []
    for index, frame in enumerate(make_scene(7)):
        PIL.Image.fromarray(frame).save(tmp_path / f"{index}.png")
        pictures.append((tmp_path / f"{index}.png", index, 1))
    for rate, expected in ((30, [30, 40, 30, 30, 40, 30, 30]), (100, [20] * 7)):
        clip = clips.Clip(tmp_path / "a.mp4", (64, 96), 7, Fraction(1, rate), Fraction(rate))
        clips.write(tmp_path / "out.gif", pictures, clip)
        with PIL.Image.open(tmp_path / "out.gif") as out:
            durations = []
            for index in range(out.n_frames):
                out.seek(index)
                durations.append(out.info["duration"])
        assert durations == expected


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


def test_a_shorter_clip_replaces_a_longer_one_in_a_folder(make_scene, tmp_path):
    PIL.Image.fromarray(make_scene(1)[0]).save(tmp_path / "a.png")
    clip = clips.Clip(tmp_path / "a.mp4", (64, 96), 3, Fraction(1, 25), Fraction(25))
    (tmp_path / "out").mkdir()
    for name in ("cover.png", "12.png", "000002.jpg", "20261129.png"):
        (tmp_path / "out" / name).touch()
    for count, complete in ((12, True), (5, False), (2, True)):
        frames = [(tmp_path / "a.png", index, 1) for index in range(count)]
        clips.write(tmp_path / "out", frames, clip, complete=complete)
        if not complete:  # after an interruption, the earlier clip stays
            assert (tmp_path / "out" / "000012.png").exists()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"000001.png", "000002.png", "cover.png", "12.png", "000002.jpg", "20261129.png"}


class TestBadFiles:
    def test_damaged_pictures_of_a_folder_are_skipped(self, make_scene, tmp_path, caplog):
        for number, frame in enumerate(make_scene(4)):
            PIL.Image.fromarray(frame).save(tmp_path / f"{number}.png")
        (tmp_path / "2.png").write_bytes(b"no picture")
        assert [frame.time for frame in clips.frames(clips.open_clip(tmp_path))] == [0, 1, 3]
        assert "2.png" in caplog.text
        assert "skipped" in caplog.text

    def test_a_folder_where_a_file_is(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(ClipError, match="out: it is a file"):
            clips.check_output(tmp_path / "out")

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

    def test_a_truncated_clip_is_written_with_the_sound_it_has(self, make_scene, write_clip, tmp_path, caplog):
        whole = write_clip(tmp_path / "a.mkv", make_scene(20, step=1), sound=True).read_bytes()
        (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 6 // 10])
        _, after = through(tmp_path / "cut.mkv", tmp_path / "out.mp4", tmp_path)
        assert 1 <= after.frames < 20
        assert after.audio_codecs == ("aac",)
        assert "it may be truncated" in caplog.text

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
