"""Silero's detector of speech, asked frame by frame: speech of Debian's test data, with noise.

Each frame comes with the state that the original had before it: what a variant's own states add up to is not in the figures.
"""

import wave

import numpy as np
import onnxruntime
from scipy.signal import resample_poly

RATE, FRAME, BEFORE = 16000, 512, 64
# How much louder speech is than noise, in dB.
NOISES = (30, 20, 10)
SILENCE = RATE // 2


def make(place):
    file = place.material / "silero_vad/data/silero_vad_openvino_16k.onnx"
    session = onnxruntime.InferenceSession(file.read_bytes())
    frames, states, labels, tracks = [], [], [], []
    for number, sound in enumerate(sounds(place)):
        for above in NOISES:
            heard, speech = with_noise(place, sound, above)
            state, before = np.zeros((2, 1, 128), np.float32), np.zeros(BEFORE, np.float32)
            for at in range(0, len(heard) - FRAME + 1, FRAME):
                frame = np.concatenate([before, heard[at : at + FRAME]])[None]
                frames.append(frame[0])
                states.append(state)
                labels.append(speech[at : at + FRAME].mean() > 0.5)
                tracks.append(number)
                _, state = session.run(None, {"input": frame, "state": state})
                before = frame[0, -BEFORE:]
    place.model(file)
    # The model has no dimension for a batch in front, so each row is all of an input.
    frames = np.array(frames)[:, None]
    place.samples(input=frames, state=np.array(states), speech=np.array(labels, np.int64), track=np.array(tracks))


def sounds(place):
    """Everything that is said in the packages, one recording after the other."""
    for path in place.files(place.debian / "usr/share", ".wav", ".raw"):
        if path.stem == "Noise":
            continue
        rate, content = RATE, path.read_bytes()
        if path.suffix == ".wav":
            with wave.open(str(path)) as file:
                rate, content = file.getframerate(), file.readframes(file.getnframes())
        samples = np.frombuffer(content, "<i2").astype(np.float32) / 32768
        yield resample_poly(samples, RATE, rate).astype(np.float32) if rate != RATE else samples


def with_noise(place, sound, above):
    """The sound between silences, in noise; and where somebody speaks."""
    sound = np.pad(sound * (0.3 / np.abs(sound).max()), SILENCE)
    # A tenth of a second around each sample.
    around = np.ones(RATE // 10, np.float32) / (RATE // 10)
    loud = np.sqrt(np.convolve(sound**2, around, "same"))
    speech = loud > 0.1 * loud.max()
    noise = place.random.normal(0, 1, len(sound)).astype(np.float32)
    level = np.sqrt((sound[speech] ** 2).mean()) * 10 ** (-above / 20)
    return (sound + level * noise).astype(np.float32), speech
