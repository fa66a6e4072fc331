"""From frames to sRGB: known values of the standards."""

import av
import numpy as np
import pytest
import torch

from impasto.video.pixels import FrameConverter, complete_tags, hdr_table, pq_code, pq_luminance

LIMITED = 1
BT2020, P3 = 9, 12
PQ, HLG, SRGB, BT709 = 16, 18, 13, 1


def grey_frame(codes, primaries, transfer, matrix=9, pixel_format="yuv420p10le"):
    """A frame of grey squares; `codes` are of [0, 1], limited range."""
    values = np.round(64 + 876 * np.asarray(codes)).astype(np.uint16).repeat(16)
    frame = av.VideoFrame(len(values), 16, pixel_format)
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
        rows[:] = 512
        if index == 0:
            rows[:, : len(values)] = values
    frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = matrix, primaries, transfer, LIMITED
    return frame


def greys(frame):
    image = FrameConverter("a.mp4")(frame)
    assert image.dtype == torch.float32
    assert (image.amax(0) - image.amin(0)).max() < 0.004  # grey stays grey
    return image[1, 8, 8::16].numpy()


def test_pq_values_of_the_standard():
    assert pq_code(100) == pytest.approx(0.5081, abs=1e-4)
    assert pq_code(203) == pytest.approx(0.5807, abs=1e-4)
    assert pq_code(1000) == pytest.approx(0.7518, abs=1e-4)
    assert pq_luminance(pq_code(203)) == pytest.approx(203)


def test_the_table_keeps_dark_and_mid_tones_and_rolls_highlights_off():
    table = hdr_table()
    assert (np.diff(table) >= 0).all()
    value = {nits: table[round(pq_code(nits) * 65280)] for nits in (10, 50, 203, 400, 1000)}
    for nits in (10, 50):  # as they are, relative to reference white
        assert value[nits] == pytest.approx(1.055 * (nits / 203) ** (1 / 2.4) - 0.055, abs=1e-3)
    assert 0.85 < value[203] < 0.95 < value[400] < value[1000] == 1


def test_pq_and_hlg():
    nits = np.array([0, 1, 10, 50, 100, 203, 400, 1000])
    found = greys(grey_frame(pq_code(nits), BT2020, PQ))
    assert (np.diff(found) > 0).all()
    assert np.abs(found - hdr_table()[np.round(pq_code(nits) * 65280).astype(int)]).max() < 0.01
    found = greys(grey_frame([0, 0.25, 0.5, 0.75, 1], BT2020, HLG))
    assert (np.diff(found) > 0).all()
    assert found[2] == pytest.approx(0.53, abs=0.02)  # half is 50 cd/m²
    assert found[3] == pytest.approx(0.9, abs=0.02)  # 75 % is reference white


def test_missing_tags():
    """Of HDR those of BT.2020; of SDR by size, as players guess; RGB has no matrix."""
    for size, transfer, expected in ((96, PQ, (9, 9)), (96, 2, (6, 1)), (1280, 2, (1, 1))):
        frame = av.VideoFrame(size, 64, "yuv420p")
        frame.color_trc = transfer
        complete_tags(frame, transfer == PQ)
        assert (frame.colorspace, frame.color_primaries) == expected
    frame = av.VideoFrame(96, 64, "rgb24")
    complete_tags(frame, False)
    assert frame.colorspace == 2


def test_ten_bits_of_sdr_reach_white():
    assert greys(grey_frame([0, 0.5, 1], 1, 1, 1)) == pytest.approx([0, 0.5, 1], abs=2e-3)


def in_bt709(linear, matrix):
    return np.clip(np.asarray(matrix) @ np.asarray(linear), 0, 1)


@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix"),
    [
        (BT2020, BT709, [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
        (P3, SRGB, [[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]]),
    ],
)
def test_wide_gamuts(primaries, transfer, matrix):
    """BT.2087's matrix, and that of Display P3."""
    color = np.array([170, 110, 90], np.uint8)
    frame = av.VideoFrame.from_ndarray(np.broadcast_to(color, (16, 16, 3)).copy(), "rgb24")
    frame.color_primaries, frame.color_trc = primaries, transfer
    linear = ((color / 255 + 0.055) / 1.055) ** 2.4
    expected = 1.055 * in_bt709(linear, matrix) ** (1 / 2.4) - 0.055
    assert FrameConverter("a.mp4")(frame)[:, 8, 8].numpy() == pytest.approx(expected, abs=6e-3)


@pytest.mark.parametrize("pixel_format", ["rgba", "argb", "yuva420p", "yuva444p10le", "rgba64le", "ya8"])
def test_transparency_is_blended_with_white(pixel_format, caplog):
    rgba = np.zeros((16, 32, 4), np.uint8)
    rgba[:, :16] = (60, 60, 60, 255)
    rgba[:, 16:24, :3] = 60
    rgba[:, 16:24, 3] = 128
    frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pixel_format)
    convert = FrameConverter("a.mov")
    image = convert(frame)
    assert image[:, 8, 4].numpy() == pytest.approx(60 / 255, abs=0.01)
    assert image[:, 8, 20].numpy() == pytest.approx(1 - 128 / 255 * (1 - 60 / 255), abs=0.01)
    assert image[:, 8, 28].numpy() == pytest.approx(1, abs=0.005)
    convert(frame)
    assert caplog.text.count("blended with white") == 1
