"""Make the sample archive: eight synthetic recordings in the layout of DVS128 Gesture.

A drawn person moves in front of a modelled DVS pixel array (see README.md); the files are AEDAT 3.1.

    python sample_data/make.py [--out DIR] [--seed 0]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import struct
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

ARCHIVE = "DvsGesture.tar.gz"
GESTURES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
CYCLES = (4.2, 2.5, 2.5, 1.5, 1.5, 1.5, 1.5, 2.5, 2.2, 4.4, 0.75)  # of the motion in one row, by class
ROW_CLASSES = (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11)  # as in the real set: arm roll is done twice
TRAIN = (
    (1, "fluorescent"),
    (2, "fluorescent_led"),
    (3, "lab"),
    (4, "led"),
    (5, "natural"),
    (6, "fluorescent"),
)
TEST = ((24, "led"), (25, "natural"))
WRAPS = 4  # this user's clock passes 2^31 us in the middle of the recording

SIZE = 128
STEP = 1000  # us between two rendered images
REFRACTORY = 700  # us
LOG_UNIT = 4096  # log intensities are integers in these units, so that every comparison is exact
# Brightness 0..4095 -> log. An integer table, because the last bit of log() differs between machines.
LOG = np.round(np.log(np.maximum(np.arange(4096), 1)) * LOG_UNIT).astype(np.int64)

SHOULDER = np.array([17.0, -16.0])  # from the chest, for the arm on the viewer's right
LINK = 22.0  # length of upper arm and forearm
RIGHT, LEFT = -1, 1  # the person faces the camera: their right arm is on the viewer's left

EVENT = np.dtype([("t", "<i8"), ("x", "<i4"), ("y", "<i4"), ("p", "<i4"), ("valid", "<i4")])


class User(NamedTuple):
    """How one recording differs from another."""

    scale: float
    speed: float
    centre: np.ndarray
    hand: float
    backdrop: np.ndarray
    on: np.ndarray
    off: np.ndarray
    noise_rate: int
    hot: np.ndarray


def make_user(rng: np.random.Generator) -> User:
    """Draw a person, a light and a sensor."""
    # Sum of three uniforms: close enough to a normal, and the same bits under every NumPy.
    spread = (rng.random((2, SIZE, SIZE, 3)).sum(axis=3) - 1.5) * 2
    # OFF is a little less sensitive than ON, as in real sensors.
    threshold = np.round((np.array([0.56, 0.59])[:, None, None] + 0.04 * spread) * LOG_UNIT).astype(np.int64)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    slope = rng.uniform(-1.2, [1.2, 0])
    backdrop = 620 + rng.uniform(-60, 60) + slope[0] * (x - 64) + slope[1] * (y - 64)
    return User(
        scale=rng.uniform(0.93, 1.05),
        speed=rng.uniform(0.85, 1.15),
        centre=np.array([64, 66]) + rng.uniform(-2, 2, 2),
        hand=rng.uniform(2450, 3000),
        backdrop=backdrop + rng.uniform(-25, 25, (SIZE, SIZE)),
        on=threshold[0],
        off=threshold[1],
        noise_rate=int(rng.integers(150, 420)),
        hot=rng.integers(0, SIZE, (4, 2)),
    )


def wave(turns: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Return the sine of an angle in turns, rounded so that it is the same on every machine."""
    return np.round(np.sin(2 * np.pi * (turns + shift)) * 4096) / 4096


def hands(label: int, turns: np.ndarray, again: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the hands of class ``label`` are after ``turns`` cycles: right and left (S, 2), from the chest.

    One unit is about a pixel; x points to the viewer's right and y down.
    """
    sin, cos = wave(turns), wave(turns, 0.25)
    zero = np.zeros_like(turns)

    def at(side: int, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        return np.stack([side * (x + zero), y + zero], axis=1)

    def circle(side: int, direction: int) -> np.ndarray:
        # From the top. y points down, so that +1 is clockwise in the image whichever arm does it.
        return np.stack([side * 34 + direction * 21 * sin, -9 - 21 * cos], axis=1)

    rest = {side: at(side, 22, 25) for side in (RIGHT, LEFT)}
    if label == 1:
        apart = 14 + 11 * cos
        return at(RIGHT, apart, -4), at(LEFT, apart, -4)
    if label == 2:
        return at(RIGHT, 34 + 13 * sin, -36 - 3 * cos * cos), rest[LEFT]
    if label == 3:
        return rest[RIGHT], at(LEFT, 34 + 13 * sin, -36 - 3 * cos * cos)
    if label in (4, 5):
        return circle(RIGHT, 1 if label == 4 else -1), rest[LEFT]
    if label in (6, 7):
        return rest[RIGHT], circle(LEFT, 1 if label == 6 else -1)
    if label == 8:
        roll = -1 if again else 1  # the second time backwards
        return at(RIGHT, 2 + 5 * cos, 2 + 12 * roll * sin), at(LEFT, 2 + 5 * cos, 2 - 12 * roll * sin)
    if label == 9:
        return at(RIGHT, 30, 9 + 15 * sin), at(LEFT, 30, 9 - 15 * sin)
    if label == 10:
        slide = wave(turns / 2)
        return at(RIGHT, 3 + 7 * sin, 22 + 10 * sin), at(LEFT, 38 + 3 * slide, -14 + 2 * slide)
    spread_out = (1 - cos) / 2  # 11: a star jump without the jump, from hanging arms to arms overhead
    up = at(LEFT, 20 + 19 * wave(spread_out / 2), 23 - 60 * spread_out)
    return up * [-1, 1], up


def motion(label: int, again: bool, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move for one row, as one person does it once: right and left hand, sway of the body, each (S, 2)."""
    phase = np.arange(steps) / steps
    cycles = CYCLES[label - 1] * rng.uniform(0.94, 1.06)
    if label == 11:
        cycles *= rng.uniform(0.9, 1.25)  # everybody has another idea of what "other" is
    # People do not keep an even pace: a slow modulation, too small to turn the motion back.
    pace = rng.uniform(-0.03, 0.03) + 0.02 * wave(phase, rng.random())
    right, left = hands(label, cycles * phase + pace, again)
    size = rng.uniform(0.93, 1.07)
    tremor = 0.5 * np.stack([wave(phase * f, rng.random()) for f in (2.3, 3.1, 2.7, 1.9)], axis=1)
    sway = [1.4 * wave(phase * 1.3, rng.random()), 0.4 * wave(phase * 2.1, rng.random())]
    return right * size + tremor[:, :2], left * size + tremor[:, 2:], np.stack(sway, axis=1)


def body(user: User, right: np.ndarray, left: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw the person in every step: capsules (S, K, 5) as x0, y0, x1, y1, radius, and their brightness."""
    parts = [(np.array([0, 2]), np.array([0, 40]), 17.0, 880.0)]
    parts += [(np.array([0, -34]), np.array([0, -31]), 9.5, 1500.0)]
    for side, hand in ((RIGHT, right), (LEFT, left)):
        shoulder = SHOULDER * [side, 1]
        reach = np.sqrt(((hand - shoulder) ** 2).sum(axis=1, keepdims=True))
        # Seen from the front, the elbow of a bent arm points out and down.
        bend = np.sqrt(np.maximum(LINK * LINK - reach * reach / 4, 0)) * 0.5
        elbow = (shoulder + hand) / 2 + bend * [side * 0.75, 0.66]
        parts += [(shoulder, elbow, 3.6, 1500.0), (elbow, hand, 3.0, user.hand * 0.8)]
        parts += [(hand, hand, 4.4, user.hand)]
    caps = np.empty((len(place), len(parts), 5))
    for k, (a, b, radius, _) in enumerate(parts):
        caps[:, k, 0:2] = place + user.scale * a
        caps[:, k, 2:4] = place + user.scale * b
        caps[:, k, 4] = user.scale * radius
    return np.round(caps * 1024) / 1024, np.array([part[3] for part in parts])


@numba.njit(cache=False)
def render(image, backdrop, caps, levels):
    """Paint the capsules over the backdrop, later ones on top, with edges two pixels soft."""
    image[:] = backdrop
    for k in range(len(caps)):
        x0, y0, x1, y1, r = caps[k]
        dx, dy = x1 - x0, y1 - y0
        length = max(dx * dx + dy * dy, 1e-6)
        for y in range(max(0, int(min(y0, y1) - r - 2)), min(SIZE, int(max(y0, y1) + r + 3))):
            for x in range(max(0, int(min(x0, x1) - r - 2)), min(SIZE, int(max(x0, x1) + r + 3))):
                along = min(max(((x - x0) * dx + (y - y0) * dy) / length, 0.0), 1.0)
                ex, ey = x - x0 - along * dx, y - y0 - along * dy
                cover = min(max(0.5 - 0.5 * (np.sqrt(ex * ex + ey * ey) - r), 0.0), 1.0)
                image[y, x] += cover * (levels[k] - image[y, x])


@numba.njit(cache=False)
def fire(x, y, before, after, threshold, t0, reference, last, out, count):
    """Let one pixel fire while its log intensity goes from ``before`` to ``after``; return the new count."""
    sign = 1 if after > before else -1
    while sign * (after - reference[y, x]) >= threshold:
        reference[y, x] += sign * threshold
        t = t0 + min(max(STEP * (reference[y, x] - before) // (after - before), 0), STEP - 1)
        # A crossing in the dead time after an event is lost, yet the pixel starts again from that level.
        if t - last[y, x] >= REFRACTORY and count < len(out):
            out[count] = (t, x, y, 1 if sign > 0 else 0)
            count += 1
            last[y, x] = t
    return count


@numba.njit(cache=False)
def simulate(backdrop, caps, levels, log, on, off, t0, out):
    """Run the pixels over the steps: t, x, y, p into ``out``, unsorted within a step; return the count."""
    image = np.empty((SIZE, SIZE))
    render(image, backdrop, caps[0], levels)
    value = image.astype(np.int64)
    reference = np.empty((SIZE, SIZE), np.int64)
    last = np.full((SIZE, SIZE), t0 - REFRACTORY)
    for y in range(SIZE):
        for x in range(SIZE):
            # As after a long run: a pixel remembers a level within half a threshold of the present one.
            reference[y, x] = log[value[y, x]] + (on[y, x] * ((x * 7 + y * 13) % 17 - 8)) // 17
    count = 0
    for s in range(1, len(caps)):
        render(image, backdrop, caps[s], levels)
        for y in range(SIZE):
            for x in range(SIZE):
                now = int(image[y, x])
                if now != value[y, x]:
                    before, after = log[value[y, x]], log[now]
                    value[y, x] = now
                    threshold = on[y, x] if after > before else off[y, x]
                    count = fire(x, y, before, after, threshold, t0, reference, last, out, count)
        t0 += STEP
    return count


def noise(user: User, start: int, stop: int, rng: np.random.Generator) -> np.ndarray:
    """Background activity of all pixels and of the four hot ones, mostly ON as leakage is."""
    seconds = (stop - start) / 1e6
    n, per_hot = int(user.noise_rate * seconds), int(12 * seconds)
    xy = np.concatenate([rng.integers(0, SIZE, (n, 2)), np.repeat(user.hot, per_hot, axis=0)])
    t = rng.integers(start, stop, len(xy))
    on = rng.integers(0, 10, len(xy)) < 7
    return np.column_stack([t, xy, on])


def make_recording(user_id: int, seed: int = 0) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Make one recording: its events in time order (`EVENT`, some invalid) and the csv rows."""
    rng = np.random.default_rng([seed, user_id])
    user = make_user(rng)
    begin = 2**31 - 14_000_000 if user_id == WRAPS else int(rng.integers(1_000_000, 60_000_000))
    now = begin + int(rng.integers(600_000, 1_200_000))
    pieces, rows = [], []
    buffer = np.empty((60_000, 4), np.int64)
    for k, label in enumerate(ROW_CLASSES):
        length = int(rng.uniform(1_700_000, 1_900_000) / user.speed)
        right, left, sway = motion(label, k > 0 and label == ROW_CLASSES[k - 1], length // STEP, rng)
        caps, levels = body(user, right, left, user.centre + rng.uniform(-1, 1, 2) + sway)
        count = simulate(user.backdrop, caps, levels, LOG, user.on, user.off, now, buffer)
        assert count < len(buffer), "a row of more events than the buffer holds"
        pieces.append(buffer[:count].copy())
        rows.append((label, now, now + length))
        now += length + int(rng.integers(120_000, 350_000))
    pieces.append(noise(user, begin, now, rng))
    table = np.concatenate(pieces)
    table = table[np.argsort(table[:, 0], kind="stable")]
    events = np.zeros(len(table), EVENT)
    for name, column in zip("txyp", table.T, strict=True):
        events[name] = column
    events["valid"] = 1
    # A filter in the camera may mark events as invalid; a reader must leave them out.
    bad = np.sort(rng.integers(0, len(events), 30))
    events = np.insert(events, bad, events[bad])
    events["valid"][bad + np.arange(30)] = 0  # where the copies are, each in front of its original
    return events, rows


def packet(kind: int, size: int, overflow: int, payload: bytes, valid: int) -> bytes:
    """Return one AEDAT 3.1 packet: the 28-byte header and its events."""
    number = len(payload) // size
    return struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, number, number, valid) + payload


def special(t: int, kind: int) -> bytes:
    """Return a packet of one special event."""
    return packet(0, 8, t >> 31, struct.pack("<ii", kind << 1 | 1, t & 0x7FFFFFFF), 1)


def encode(events: np.ndarray, user_id: int, seed: int) -> bytes:
    """Return the AEDAT 3.1 file of a recording."""
    rng = np.random.default_rng([seed, user_id, 1])
    start = f"2024-03-{user_id:02d} 10:00:00 (TZ+0000)"
    head = f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: {start}\r\n#!END-HEADER\r\n"
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["x"] << 17 | events["y"] << 2 | events["p"] << 1 | events["valid"]
    words[:, 1] = events["t"] & 0x7FFFFFFF
    overflow = events["t"] >> 31
    t0 = int(events["t"][0])
    out = [head.encode(), special(t0, 2)]  # 2: a rising edge on the camera's input, the start signal
    i = 0
    while i < len(events):
        # A packet holds one overflow count, so that it ends where the clock wraps.
        stop = min(i + int(rng.integers(200, 4096)), int(np.searchsorted(overflow, overflow[i], "right")))
        valid = int(events["valid"][i:stop].sum())
        out.append(packet(1, 8, int(overflow[i]), words[i:stop].tobytes(), valid))
        if i == 0:
            imu = struct.pack("<ii7f", 1, t0 & 0x7FFFFFFF, 0.0, -1.0, 0.02, 0.1, -0.2, 0.0, 31.5)
            out.append(packet(3, 36, t0 >> 31, imu, 1))
        if stop < len(events) and overflow[stop] != overflow[i]:
            out.append(special((int(overflow[stop]) << 31) - 1, 0))  # 0: TIMESTAMP_WRAP
        i = stop
    return b"".join(out)


def recording_files(user_id: int, light: str, seed: int) -> dict[str, bytes]:
    """Return the two files of one recording by name."""
    events, rows = make_recording(user_id, seed)
    table = ["class,startTime_usec,endTime_usec", *(",".join(map(str, row)) for row in rows)]
    name = f"user{user_id:02d}_{light}"
    return {
        f"{name}.aedat": encode(events, user_id, seed),
        f"{name}_labels.csv": ("\n".join(table) + "\n").encode(),
    }


def make_archive(out: Path, seed: int) -> Path:
    """Write the archive and its MD5SUMS into ``out``; the same bytes in every run."""
    files = {}
    for name, trials in (("trials_to_train.txt", TRAIN), ("trials_to_test.txt", TEST)):
        files[name] = "".join(f"user{user:02d}_{light}.aedat\n" for user, light in trials).encode()
    lines = ["action,label", *(f"{name},{k}" for k, name in enumerate(GESTURES, 1))]
    files["gesture_mapping.csv"] = ("\n".join(lines) + "\n").encode()
    with ProcessPoolExecutor() as pool:
        for made in pool.map(recording_files, *zip(*TRAIN, *TEST, strict=True), [seed] * len(TRAIN + TEST)):
            files.update(made)

    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        top = tarfile.TarInfo("DvsGesture")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name in sorted(files):
            info = tarfile.TarInfo(f"DvsGesture/{name}")  # its mtime, uid and gid are 0
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    packed = gzip.compress(raw.getvalue(), 9, mtime=0)
    (out / ARCHIVE).write_bytes(packed)
    digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    (out / "MD5SUMS").write_text(f"{digest}  {ARCHIVE}\n", encoding="ascii")
    return out / ARCHIVE


def main() -> None:
    """Make the archive from the command line."""
    parser = argparse.ArgumentParser(description="Make the synthetic DVS128 Gesture sample.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: this folder")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = make_archive(options.out, options.seed)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
