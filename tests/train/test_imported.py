"""A user's own Keras network: what it says is what the integer model says, and what the device cannot
compute is refused by name.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from serq_mcu.cli import main
from serq_mcu.errors import SerqError
from serq_mcu.quantization.run_folder import load_run
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.store import load_model
from serq_mcu.training.imported import for_labels, import_model, read_network
from tests.support.imported import answers, as_saved
from tests.support.keras_files import dense, keras_archive
from tests.support.keras_models import CHANNELS, FEATURES, FRAMES, inputs, sequences

LABELS = ("calm", "loud", "low")
CONFIG = """
[features]
name = "own"
fft_length = 256
hop_length = 256
mel_bands = 16
speech_frames = 0
blocks = [{ kind = "mfcc", size = 8, statistics = ["mean", "sd"] }]
[training]
folds = 3
validation_fraction = 0.4
"""
# Saves a model and what it answers to the features in an .npy file: in a process of its own, because tf_keras
# and Keras 3 exclude each other.
MAKER = """
import os, sys
kind, features, path, normalized = sys.argv[1:]
if kind == "tf_keras":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras as keras
else:
    import keras
import numpy as np
x = np.load(features).astype("float32")
keras.utils.set_random_seed(1)
first = []
if normalized == "yes":
    first = [keras.layers.Normalization()]
    first[0].adapt(x)
else:
    x = (x - x.mean(axis=0)) / x.std(axis=0)
one = [keras.layers.Dense(48, activation="relu")]
relu = [keras.layers.Dense(48), keras.layers.ReLU()] if normalized == "yes" else one
layers = [keras.layers.Input((x.shape[1],)), *first, *relu]
layers += [keras.layers.Dropout(0.1), keras.layers.Dense(32, activation="relu")]
network = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax", name="emotions")])
network.save(path)
np.save(path + ".npy", network.predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of 0.4 s for each of three classes."""
    folder, rng, time = tmp_path_factory.mktemp("own"), np.random.default_rng(3), np.arange(6400) / 16000
    for number in range(10):
        for label, pitch in zip(LABELS, (150, 300, 80), strict=True):
            tone = sum(np.sin(2 * np.pi * (pitch + 3 * number) * k * time) / k for k in range(1, 9))
            place = folder / "clips" / label
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                place / f"{label}{number}.wav",
                0.1 * tone + 0.02 * rng.normal(size=time.size),
                16000,
                subtype="PCM_16",
            )
    (folder / "own.toml").write_text(CONFIG)
    return folder / "clips"


@pytest.fixture(scope="module")
def pooled(corpus: Path) -> np.ndarray:
    """What the front end computes of the clips."""
    from serq_mcu.config import load_config
    from serq_mcu.corpus.loaders import load_corpus
    from serq_mcu.extraction.recordings import recorded_features
    from serq_mcu.frontend.tables import build_tables

    spec = load_config(corpus.parent / "own.toml").features
    return recorded_features(spec, build_tables(spec), load_corpus(corpus).clips)


def _import(model: Path, corpus: Path, out: Path, labels: str = ",".join(LABELS)) -> Result:
    arguments = [
        str(model),
        "--corpus",
        str(corpus),
        "--labels",
        labels,
        "--config",
        str(corpus.parent / "own.toml"),
        "--out",
        str(out),
    ]
    return CliRunner().invoke(main, ["import-model", *arguments])


@pytest.mark.slow(6)
@pytest.mark.parametrize("normalized", ["yes", "no"])
@pytest.mark.parametrize("kind", ["keras", "tf_keras"])
def test_keras_and_the_integer_model_agree(
    kind: str, normalized: str, corpus: Path, pooled: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", pooled)
    made = tmp_path / "own.keras"
    subprocess.run(
        [sys.executable, "-c", MAKER, kind, str(tmp_path / "x.npy"), str(made), normalized],
        check=True,
        capture_output=True,
    )
    expected = np.load(tmp_path / "own.keras.npy")
    done = _import(made, corpus, tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "imported from own.keras" in done.output
    assert "accuracy means something only on clips that it never saw" in done.output
    run = load_run(tmp_path / "run")
    logits = run.network.logits(run.network.standardise(run.pooled[0]))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    if normalized == "yes":  # else the statistics are those of the training clips, and Keras's were of all
        inside = (np.abs((run.pooled[0] - run.network.mean) / run.network.sd) <= 4).all(axis=1)
        assert inside.sum() > 20
        assert np.allclose(shares[inside], expected[inside], atol=1e-4)  # float32 in Keras
    assert (
        CliRunner()
        .invoke(main, ["quantize", str(tmp_path / "run"), "--method", "8", "--out", str(tmp_path / "m.serq")])
        .exit_code
        == 0
    )
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "m.serq"), "--corpus", str(corpus), "--json"])
    report = json.loads(done.stdout)
    assert not report["held_out"]
    assert "whether it was trained on them is not known" in report["basis"]
    model = load_model(tmp_path / "m.serq")
    apart = scores(model, run.pooled[0]) * model.score_scale - logits
    calibrated = run.members("train")  # of a dozen clips; others go beyond their activations' ranges
    assert (
        apart[calibrated].std() < 0.05 * logits[calibrated].std()
    )  # 2.3 to 2.7 % were seen: 8-bit weights, 7-bit activations


def _layer(kind: str, **config: object) -> dict[str, object]:
    return {"class_name": kind, "config": {"name": kind.lower(), **config}}


ARRAYS = {
    "layers/dense/vars/0": np.ones((16, 4)),
    "layers/dense/vars/1": np.zeros(4),
    "layers/dense_1/vars/0": np.ones((4, 3)),
    "layers/dense_1/vars/1": np.zeros(3),
    "layers/dense_2/vars/0": np.ones((3, 2)),
    "layers/dense_2/vars/1": np.zeros(2),
}
CODE = dense(4, {"class_name": "function"})  # type: ignore[arg-type]
HIDDEN, LAST = dense(4), dense(3, "softmax")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            [_layer("Conv2D", activation="relu"), LAST],
            r"layer 0 \(Conv2D 'conv2d'\) cannot be imported; Dense,.*take Conv1D",
        ),
        ([HIDDEN, _layer("MaxPooling1D"), LAST], r"layer 1 \(MaxPooling1D .* reads a sequence of frames"),
        ([HIDDEN, _layer("BatchNormalization"), LAST], r"arrays of layer 1 \(BatchNormalization"),
        ([HIDDEN, _layer("LayerNormalization"), LAST], "train with BatchNormalization, which is folded"),
        ([dense(4, "leaky_relu"), LAST], "activation 'leaky_relu'"),
        ([HIDDEN, dense(3, "sigmoid")], "a sigmoid of 3 units, which answer independently"),
        (
            [{**_layer("PruneLowMagnitude"), "registered_name": "tfmot>PruneLowMagnitude"}, LAST],
            "strip the wrapper with tfmot.sparsity.keras.strip_pruning",
        ),
        (
            [HIDDEN, _layer("Rescaling", scale=2.0, offset=1.0), _layer("ReLU"), LAST],
            r"layer 2 \(ReLU 'relu'\) follows layer 1 \(Rescaling 'rescaling'\), which follows a ReLU",
        ),
        ([HIDDEN, _layer("Lambda", function="__import__('os').system('false')"), LAST], r"layer 1 \(Lambda"),
        ([dense(4, "tanh"), LAST], "activation 'tanh'"),
        ([dense(4, "linear"), LAST], "follows a Dense layer without ReLU"),
        ([dense(4, "linear"), _layer("ReLU", max_value=6.0), LAST], "not a plain ReLU"),
        ([HIDDEN, dense(3, "relu")], "its last layer has a ReLU"),
        ([dense(4, "softmax"), LAST], "can only be the last"),
        (
            [HIDDEN, _layer("Normalization", axis=[-1], mean=[0.0] * 3, variance=[1.0] * 3), LAST],
            "does not fit",
        ),
        ([_layer("Dropout")], "has no Dense layer"),
        ([HIDDEN, LAST, dense(2)], "follows a"),
        ([_layer("ReLU"), HIDDEN, LAST], r"layer 0 \(ReLU 'relu'\) comes before the first layer"),
        ([_layer("Activation", activation="relu"), HIDDEN, LAST], "comes before the first layer"),
        (
            [{**HIDDEN, "module": "mine.layers", "registered_name": "mine>Dense"}, LAST],
            r"layer 0 is a class of your own \(mine>Dense\)",
        ),
        (
            [dense(4, quantization_config={"class_name": "Int8QuantizationConfig"}), LAST],
            "was quantized, or adapted by LoRA",
        ),
        (
            [dense(4, dtype={"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}), LAST],
            "was quantized, or adapted by LoRA",
        ),
        ([HIDDEN, dense(3, "softmax", lora_rank=2)], "layer 1 .* was quantized, or adapted by LoRA"),
        (
            [_layer("Normalization", axis=[-1], mean="all", variance=[1.0] * 16), HIDDEN, LAST],
            "mean or variance that are not numbers",
        ),
        (
            [_layer("Normalization", axis=[-1], mean=[0.0] * 16), HIDDEN, LAST],
            "mean or variance that are not numbers",
        ),
        (
            [_layer("Normalization", axis=[-1], mean=[0.0] * 16, variance=[np.nan] * 16), HIDDEN, LAST],
            "some that are not finite",
        ),
        (
            [_layer("Normalization", axis=[-1], mean=[0.0] * 5, variance=[1.0] * 5), HIDDEN, LAST],
            "of 5 features, and its first layer takes 16",
        ),
        ([CODE, LAST], "the activation that is code of your own"),
        (
            [
                HIDDEN,
                {
                    "class_name": "Dense",
                    "config": {"name": {"class_name": "evil"}, "activation": {"class_name": "evil"}},
                },
            ],
            "activation",
        ),
    ],
)
def test_what_the_device_cannot_compute_is_refused_by_name(
    layers: list[dict[str, object]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SerqError, match=words):
        read_network(keras_archive(tmp_path / "m.keras", layers, ARRAYS))


OVER_TIME = {
    "layers/conv1d/vars/0": np.ones((3, 4, 5)),
    "layers/conv1d/vars/1": np.zeros(5),
    "layers/depthwise_conv1d/vars/0": np.ones((3, 4, 2)),
    "layers/gru/cell/vars/0": np.ones((4, 15)),
    "layers/gru/cell/vars/1": np.ones((5, 15)),
    "layers/gru/cell/vars/2": np.zeros((2, 15)),
    "layers/lstm/cell/vars/0": np.ones((4, 15)),
    "layers/lstm/cell/vars/1": np.ones((5, 15)),
    "layers/lstm/cell/vars/2": np.zeros(15),
    "layers/dense/vars/0": np.ones((5, 3)),
    "layers/dense/vars/1": np.zeros(3),
}
GATES = {"activation": "tanh", "recurrent_activation": "sigmoid"}
CONV, POOL = _layer("Conv1D", activation="relu"), _layer("GlobalMaxPooling1D")
PADDED = _layer("Conv1D", padding="same", activation="relu")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([_layer("GRU", reset_after=False, **GATES)], "reset_after=True, Keras's default"),
        ([_layer("GRU", activation="relu")], "has other activations than tanh and sigmoid"),
        ([_layer("LSTM", go_backwards=True, **GATES)], r"layer 0 \(LSTM 'lstm'\) has go_backwards"),
        ([_layer("LSTM", **GATES)], "has arrays that do not fit each other"),  # 15 rows are no four gates
        ([_layer("Bidirectional")], "take a GRU or LSTM that goes forward"),
        ([_layer("SimpleRNN")], "train a GRU or an LSTM"),
        ([_layer("SeparableConv1D")], "build it of DepthwiseConv1D with activation='relu' and Conv1D"),
        ([_layer("DepthwiseConv1D")], r"has a kernel of shape \(3, 4, 2\)"),
        ([_layer("DepthwiseConv1D", depth_multiplier=2)], "build it with groups=1, depth_multiplier=1"),
        ([_layer("Conv1D", groups=2)], "build it with groups=1"),
        ([_layer("Conv1D", activation="elu"), POOL], "activation 'elu'"),
        ([_layer("Conv1D"), POOL, LAST], r"layer 1 \(GlobalMax.* follows a convolution layer without ReLU"),
        ([_layer("AveragePooling1D", padding="same")], "build it with padding='valid'"),
        ([CONV, _layer("MaxPooling1D", pool_size=8)], r"layer 1 \(Max.*: windows of 8 frames do not fit"),
        ([_layer("InputLayer", batch_shape=[None, 12, 4]), CONV], "has 12 frames, and 9 arrive"),
        ([CONV, _layer("Reshape", target_shape=[5, 7])], "has 5 frames, and 7 arrive"),
        ([CONV, CONV], "layer 1 .* cannot be read"),
        ([_layer("MaxPooling1D"), _layer("ReLU")], "whose values it would change"),
        (
            [_layer("Rescaling", scale=1.0, offset=2.0), PADDED, POOL, LAST],
            "pads with 0 what a scaling before it has shifted",
        ),
        ([_layer("Rescaling", scale=2.0, offset=0.0), POOL, dense(3, "softmax")], "Normalization before it"),
        ([CONV, POOL, POOL], r"layer 2 .* reads a sequence of frames, and a vector arrives"),
        ([CONV, POOL], "has no Dense layer at its end"),
    ],
)
def test_layers_on_sequences_that_the_device_cannot_compute_are_refused_by_name(
    layers: list[dict[str, object]], words: str, tmp_path: Path
) -> None:
    made = keras_archive(tmp_path / "m.keras", layers, OVER_TIME)
    with pytest.raises(SerqError, match=words):
        read_network(made, 9, 4).standardised(np.ones(4), np.ones(4))


def test_frames_of_other_values_are_refused(tmp_path: Path) -> None:
    made = keras_archive(tmp_path / "m.keras", [CONV, POOL, dense(3, "softmax")], OVER_TIME)
    assert read_network(made, 9, 4).features == 36
    with pytest.raises(SerqError, match=r"reads frames of 4 values, and 5 arrive; give a --config"):
        read_network(made, 9, 5)


def test_an_imported_network_on_a_sequence_is_quantized_and_fine_tuned(corpus: Path, tmp_path: Path) -> None:
    """As a run it is like one that was trained here, and its integers are near its floats."""
    rng = np.random.default_rng(5)
    arrays = {
        name: np.zeros(array.shape) if "vars/2" in name else rng.normal(0, 0.5, array.shape)
        for name, array in OVER_TIME.items()
        if "lstm" not in name
    } | {"layers/gru/cell/vars/0": rng.normal(0, 0.5, (5, 15))}
    adapted = _layer("Normalization", axis=[-1], mean=[0.0] * 4, variance=[9e5] * 4)
    layers = [adapted, CONV, _layer("GRU", reset_after=True, **GATES), dense(3, "softmax")]
    made = keras_archive(tmp_path / "m.keras", layers, arrays)
    config = corpus.parent / "frames.toml"
    config.write_text(
        CONFIG.replace('statistics = ["mean", "sd"]', "statistics = []")
        .replace("size = 8", "size = 4")
        .replace('name = "own"', 'name = "frames"\nsequence_frames = 9')
        + "[quantization]\nfolds = 0\n[tuning]\nepochs = 1\n"
    )
    given = ["--corpus", str(corpus), "--labels", ",".join(LABELS), "--config", str(config)]
    done = CliRunner().invoke(main, ["import-model", str(made), *given, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = load_run(tmp_path / "run")
    assert [layer.kind for layer in run.network.layers] == ["conv1d", "gru", "dense"]
    np.testing.assert_array_equal(run.network.sd, np.full(4, 9e5**0.5))
    logits = run.network.logits(run.network.standardise(run.pooled[0]))
    for method in ("8,8,8,8", "8,4,8,8"):
        model = tmp_path / f"{method}.serq"
        asked = ["quantize", str(tmp_path / "run"), "--method", method, "--out", str(model)]
        done = CliRunner().invoke(main, asked)
        assert done.exit_code == 0, done.output
        found = load_model(model)
        assert found.widths == tuple(map(int, method.split(",")))
        apart = scores(found, run.pooled[0]) * found.score_scale - logits
        assert apart.std() < 0.15 * logits.std()


OTHER_FILES = {
    "text": (b"no network", r"is not a \.keras, \.h5 or \.onnx file"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(20), r"is a \.tflite file, .* save the float model"),
    "pickle": (b"\x80\x04\x95", "is a pickle, which could run code"),
    "pytorch": (b"PK\x03\x04" + bytes(26) + b"m/data.pkl", "is a PyTorch file, .* torch.onnx.export"),
    "json": (b'{"class_name": "Sequential"}', "is JSON, layers without weights"),
    "archive": (b"PK\x03\x04" + bytes(30), "cannot be read"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(30), "cannot be read"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_files_that_are_something_else_are_refused(name: str, tmp_path: Path) -> None:
    content, words = OTHER_FILES[name]
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(SerqError, match=words) as refused:
        read_network(tmp_path / "m.keras")
    assert "\n" not in str(refused.value)


def test_what_is_no_model_at_all_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "list.keras", "w") as archive:
        archive.writestr("config.json", "[]")
        archive.writestr("model.weights.h5", "x")
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 2))
    for place, words in (
        ("list.keras", "cannot be read"),
        ("missing.keras", "cannot read"),
        (".", "is a folder, such as a SavedModel"),
        ("w.weights.h5", "holds weights alone"),
    ):
        with pytest.raises(SerqError, match=words):
            read_network(tmp_path / place)
    with pytest.raises(SerqError, match="arrays of layer 1"):
        read_network(keras_archive(tmp_path / "a.keras", [HIDDEN, LAST], dict(list(ARRAYS.items())[:2])))


@pytest.mark.parametrize(
    ("wires", "outputs", "words"),
    [
        ({"b": ["a"], "c": ["b"]}, ["c"], ""),
        ({"b": ["a"], "c": ["a", "b"]}, ["c"], r"layer 'c' joins several \(a, b\)"),
        ({"b": ["a"], "c": ["a"]}, ["c"], "layer 'b' is not on the way"),
        ({"b": ["a"], "c": ["b"]}, ["b", "c"], "it has 2 outputs"),
        ({"b": ["c"], "c": ["b"]}, ["c"], "joins several"),
    ],
)
def test_a_functional_model_must_be_a_chain(
    wires: dict[str, list[str]], outputs: list[str], words: str, tmp_path: Path
) -> None:
    """As Keras 2 writes connections; those of Keras 3 are among the models that it saves itself."""
    layers = [
        {**layer, "name": name, "inbound_nodes": [[[source, 0, 0, {}] for source in wires.get(name, [])]]}
        for name, layer in (("a", _layer("InputLayer")), ("b", HIDDEN), ("c", LAST))
    ]
    config = {"layers": layers, "output_layers": [[name, 0, 0] for name in outputs]}
    path = keras_archive(tmp_path / "m.keras", [], ARRAYS)
    _replace_config(path, {"class_name": "Functional", "config": config})
    if not words:
        assert read_network(path).features == 16
        return
    with pytest.raises(SerqError, match=words):
        read_network(path)


def _replace_config(path: Path, config: object) -> None:
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)


@pytest.mark.slow(12)
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_models_as_keras_saves_them_answer_as_they_do_there(framework: str, tmp_path: Path) -> None:
    """Within 1e-5: float32 there, float64 here."""
    subprocess.run(
        [sys.executable, "-m", "tests.support.keras_models", framework, str(tmp_path)],
        check=True,
        capture_output=True,
    )
    files = [path for path in sorted(tmp_path.iterdir()) if path.suffix != ".npy"]
    assert len(files) == 44 + 26
    for path in files:
        expected = np.load(path.with_suffix(".npy")).astype(np.float64)
        over_time = path.name.startswith("frames")
        shape, given = ((FRAMES, CHANNELS), sequences()) if over_time else ((1, FEATURES), inputs())
        found = as_saved(answers(read_network(path, *shape), given.reshape(100, -1)), expected)
        assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max()), path.name


def _bombs(folder: Path) -> Iterator[tuple[str, str]]:
    """Networks' files that unpack to far more than they are, and how they are refused."""
    layers = json.dumps({"class_name": "Sequential", "config": {"layers": [LAST]}})

    def archive(name: str, config: str, weights: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
        with zipfile.ZipFile(folder / name, "w", method) as made:
            made.writestr("config.json", config)
            made.writestr("model.weights.h5", weights)
        return folder / name

    archive("zip.keras", layers, bytes(2**27))
    yield "zip.keras", "is larger than 64 MiB"
    lying = archive("lying.keras", layers, bytes(2**28))
    data = bytearray(lying.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")  # the size unpacked
    lying.write_bytes(data)
    yield "lying.keras", "cannot be read"
    archive("bzip2.keras", layers, bytes(2**27), zipfile.ZIP_BZIP2)
    yield "bzip2.keras", "is packed as Keras packs nothing"
    archive("text.keras", "[" + "[]," * 2**21 + "[]]", b"")
    yield "text.keras", "config.json is larger than 4 MiB"
    with h5py.File(folder / "text.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = "[" + "[]," * 2**21 + "[]]"
    yield "text.h5", "its description of layers is larger than 4 MiB"
    for tag, name in ((b"\x0a", "nodes"), (b"\x2a", "constants")):
        parts = (tag + b"\0") * 2**20  # empty ones, in the graph, after the version of the format
        length = bytes((len(parts) >> shift & 127) | (128 if shift < 21 else 0) for shift in (0, 7, 14, 21))
        (folder / f"{name}.onnx").write_bytes(b"\x08\x07\x3a" + length + parts)
        yield f"{name}.onnx", "it has more than 131072 parts"
    with (folder / "large.onnx").open("wb") as sparse:
        sparse.truncate(2**32)
    yield "large.onnx", "is larger than 64 MiB"
    with (folder / "zeros.onnx").open("wb") as sparse:
        sparse.truncate(2**25)
    yield "zeros.onnx", "is larger than 17 MiB"
    with h5py.File(folder / "array.h5", "w") as file:
        group = file.create_group("model_weights/dense")
        group.create_dataset(
            "k", (2**14, 2**14), "<f4", chunks=(2**10, 2**10), compression="gzip", fillvalue=1
        )
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        group["dense/kernel:0"] = group["k"]
        file.attrs["model_config"] = layers
    yield "array.h5", "holds 268435456 values"


def test_bombs_end_within_two_seconds_and_500_megabytes(tmp_path: Path) -> None:
    """In a process of its own, whose memory and time are its own."""
    bombs = dict(_bombs(tmp_path))
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from serq_mcu.errors import SerqError\n"
        "from serq_mcu.training.imported import read_network\n"
        "for path in sys.argv[1:]:\n"
        "    begin = time.process_time()\n"
        "    try:\n"
        "        read_network(Path(path))\n"
        "    except SerqError as error:\n"
        "        print(Path(path).name, time.process_time() - begin, error)\n"
        "(peak,) = [x for x in open('/proc/self/status') if x.startswith('VmHWM')]\n"
        "print('peak', int(peak.split()[1]) / 1024, '')\n"
    )
    words = [sys.executable, "-c", script, *(str(tmp_path / name) for name in bombs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [line.split(" ", 2) for line in done.stdout.splitlines()]
    said = {name: (float(figure), text) for name, figure, text in rows}
    assert said.pop("peak")[0] < 500
    for name, match in bombs.items():
        seconds, text = said[name]
        assert seconds < 2 and match in text, (name, seconds, text)


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_one_unit_becomes_two_classes(activation: str, tmp_path: Path) -> None:
    """Half of the unit against half: the softmax of both is its sigmoid, and no weight is 0."""
    rng = np.random.default_rng(5)
    kernel, bias = rng.normal(size=(4, 1)), rng.normal(size=1)
    arrays = {**ARRAYS, "layers/dense_1/vars/0": kernel, "layers/dense_1/vars/1": bias}
    made = read_network(keras_archive(tmp_path / "m.keras", [HIDDEN, dense(1, activation)], arrays))
    found = for_labels(made, ["calm", "loud"])
    assert np.allclose(found.kernels[-1], np.hstack([-kernel / 2, kernel / 2]))
    assert np.allclose(found.biases[-1], np.concatenate([-bias / 2, bias / 2]))
    assert for_labels(found, ["calm", "loud"]) is found


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_values_that_lie_in_other_files_are_not_read(kind: str, tmp_path: Path) -> None:
    secret = np.arange(6, dtype="<f4").reshape(3, 2)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["values"] = secret
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        place = file.create_group("layers/dense/vars")
        place["1"] = np.zeros(2, "<f4")
        if kind == "external":
            place.create_dataset(
                "0", shape=(3, 2), dtype="<f4", external=[(str(tmp_path / "secret.bin"), 0, secret.nbytes)]
            )
        else:
            layout = h5py.VirtualLayout((3, 2), "<f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "values", (3, 2))
            place.create_virtual_dataset("0", layout)
    made = tmp_path / "m.keras"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(
            "config.json",
            json.dumps({"class_name": "Sequential", "config": {"layers": [dense(2, "softmax")]}}),
        )
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    with pytest.raises(SerqError, match="lies in another file"):
        read_network(made)


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "elsewhere.h5", "w") as other:
        other["secret"] = np.ones((16, 4))
    path = keras_archive(tmp_path / "m.keras", [HIDDEN, LAST], {**ARRAYS, "layers/dense/vars/1": np.zeros(4)})
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        for name, array in ARRAYS.items():
            if name != "layers/dense/vars/0":
                file[name] = array
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), "secret")
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", stored.getvalue())
    with pytest.raises(SerqError, match="not stored in the file itself"):
        read_network(path)


@pytest.mark.parametrize(
    ("arrays", "labels", "words"),
    [
        (
            {**ARRAYS, "layers/dense/vars/0": np.ones((9, 4))},
            ",".join(LABELS),
            "takes 9 features, and specification own has 16",
        ),
        (ARRAYS, "calm,loud", "has 3 outputs"),
        (ARRAYS, "calm,loud,calm", "as many different --labels"),
        (ARRAYS, "calm,loud,joy", "they must be the same"),
        (
            {**ARRAYS, "layers/dense_1/vars/0": np.ones((5, 3))},
            ",".join(LABELS),
            "does not fit the layer before",
        ),
        ({**ARRAYS, "layers/dense_1/vars/0": np.full((4, 3), np.nan)}, ",".join(LABELS), "not finite"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_and_nothing_written(
    arrays: dict[str, np.ndarray], labels: str, words: str, corpus: Path, tmp_path: Path
) -> None:
    done = _import(
        keras_archive(tmp_path / "m.keras", [HIDDEN, LAST], arrays), corpus, tmp_path / "run", labels
    )
    assert done.exit_code == 1
    assert words in done.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.float64(1),
        np.ones((2, 16, 4)),
        np.ones((16, 4), np.int8),
        np.ones((16, 4), complex),
        np.bytes_(b"kernel"),
    ],
)
def test_arrays_that_are_no_kernel_are_refused_by_the_layer_s_name(array: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=r"layer 0 \(Dense 'dense'\)"):
        read_network(
            keras_archive(tmp_path / "m.keras", [HIDDEN, LAST], {**ARRAYS, "layers/dense/vars/0": array})
        )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_file_is_refused_or_read_and_nothing_else(compression: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(
        keras_archive(tmp_path / "m.keras", [HIDDEN, _layer("Dropout"), LAST], ARRAYS)
    ) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "m.keras", "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    whole, rng, refused = (tmp_path / "m.keras").read_bytes(), np.random.default_rng(1), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "damaged.keras").write_bytes(
            damaged[: rng.integers(0, len(whole))] if rng.random() < 0.2 else damaged
        )
        try:
            assert [kernel.ndim for kernel in read_network(tmp_path / "damaged.keras").kernels] == [2, 2]
        except SerqError:
            refused += 1
    assert refused > 150  # the rest of the bytes are headers that zip and HDF5 do not look at


@pytest.mark.slow(8)
def test_a_network_of_librosa_s_features_takes_the_integers_in_their_place(
    corpus: Path, tmp_path: Path
) -> None:
    """What is said of the difference is what is found here, and the run's scores are as near as that says."""
    from serq_mcu.config import load_config
    from serq_mcu.corpus.loaders import load_corpus
    from serq_mcu.extraction.recordings import read_recordings
    from serq_mcu.training.librosa_features import librosa_means

    rng = np.random.default_rng(6)
    kernels = {
        "layers/dense/vars/0": rng.normal(size=(13, 4)),
        "layers/dense_1/vars/0": rng.normal(size=(4, 3)),
    }
    arrays = ARRAYS | kernels
    made = keras_archive(tmp_path / "m.keras", [HIDDEN, LAST], arrays)
    config = load_config().changed(training={"folds": 3, "validation_fraction": 0.4})
    run, notes = import_model(made, corpus, LABELS, tmp_path / "run", config, features="librosa-mfcc13-16k")
    clips = {clip.name: clip for clip in load_corpus(corpus).clips}
    chosen = [clips[name] for name in run.names]
    means, _ = librosa_means(run.config.features, read_recordings(chosen, 16000))
    expected = read_network(made).scores(means)
    found = run.network.logits(run.network.standardise(run.pooled[0]))
    train = run.members("train")
    same = int((expected[train].argmax(axis=1) == found[train].argmax(axis=1)).sum())
    assert notes[1].startswith(f"{same} of {len(train)} calibration clips") and same >= 0.9 * len(train)
    assert (found - expected)[train].std() < 0.1 * expected[train].std()
    assert run.config.features.log_floor > 1e-10
    with pytest.raises(SerqError, match="name librosa-mfcc13, librosa-mfcc20 or librosa-mfcc40"):
        import_model(made, corpus, LABELS, tmp_path / "run", config, features="librosa-180")
