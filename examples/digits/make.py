"""Make the example: train a small network on scikit-learn's handwritten digits and write all that is beside this file.

    pip install scikit-learn pillow
    OMP_NUM_THREADS=1 python examples/digits/make.py

The result is committed, so nobody has to run this. The same library versions give the same files.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
HELD_OUT = 297  # of the 1,797 images; the network never sees them
SAMPLES = 50
# Read by the ONNX Runtime of every Triton release since 23.05.
OPSET, IR_VERSION = 17, 8


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Return images [1797, 1, 8, 8] float32 in 0..1, and the digit each shows."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    return images, digits.target


def normalise(images: np.ndarray) -> np.ndarray:
    """Do what the model's first nodes do: divide each image by its brightest pixel, and flatten."""
    return (images / images.max(axis=(1, 2, 3), keepdims=True)).reshape(len(images), -1)


def train(images: np.ndarray, digits: np.ndarray) -> MLPClassifier:
    """Train two hidden layers from a fixed seed, on the images and on copies moved by one pixel each way."""
    moved = [np.roll(images, step, axis) for axis in (2, 3) for step in (-1, 1)]
    images, digits = np.concatenate([images, *moved]), np.tile(digits, 5)
    return MLPClassifier((64, 32), alpha=0.01, max_iter=100, random_state=7).fit(normalise(images), digits)


def build_model(network: MLPClassifier) -> onnx.ModelProto:
    """Write the network as ONNX: image [batch, 1, 8, 8] of any brightness scale → probabilities [batch, 10]."""
    # Dividing by the brightest pixel makes 0..1, 0..16 and 0..255 the same image to the network.
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["brightest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Max", ["brightest", "darkest_allowed"], ["scale"]),
        helper.make_node("Div", ["image", "scale"], ["normalised"]),
        helper.make_node("Flatten", ["normalised"], ["layer_0"], axis=1),
    ]
    weights = {"darkest_allowed": np.array([1e-6], np.float32)}
    last = len(network.coefs_) - 1
    for index, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        weights |= {f"weight_{index}": weight.astype(np.float32), f"bias_{index}": bias.astype(np.float32)}
        inputs = [f"layer_{index}", f"weight_{index}", f"bias_{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"sum_{index}"]))
        nodes.append(
            helper.make_node("Softmax", [f"sum_{index}"], ["probabilities"], axis=1)
            if index == last
            else helper.make_node("Relu", [f"sum_{index}"], [f"layer_{index + 1}"])
        )
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
        doc_string="Which handwritten digit does an 8x8 image show?",
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="examples/digits")
    helper.set_model_props(model, {"labels": json.dumps(LABELS)})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write what numpy.load reads, without the date that numpy.savez would put in."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)


def write_pictures(images: np.ndarray, digits: np.ndarray) -> None:
    """Write the first held-out image of each digit as an 8x8 grey PNG."""
    (HERE / "images").mkdir(exist_ok=True)
    for digit in range(len(LABELS)):
        pixels = images[digits == digit][0, 0]
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(HERE / "images" / f"{digit}.png")


def main() -> None:
    """Train, write, and print how often the written model is right on images it never saw."""
    images, digits = load_images()
    network = train(images[:-HELD_OUT], digits[:-HELD_OUT])
    model = build_model(network)
    (HERE / "digits.onnx").write_bytes(model.SerializeToString(deterministic=True))

    images, digits = images[-HELD_OUT:], digits[-HELD_OUT:]
    session = onnxruntime.InferenceSession(HERE / "digits.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": images})
    right = int((probabilities.argmax(axis=1) == digits).sum())
    print(f"right on {right} of {len(digits)} held-out images")

    write_npz(HERE / "samples.npz", image=images[:SAMPLES])
    write_npz(HERE / "expected.npz", probabilities=probabilities[:SAMPLES])
    np.save(HERE / "digits.npy", digits[:SAMPLES])
    np.save(HERE / "image.npy", images[:1])
    write_pictures(images, digits)


if __name__ == "__main__":
    main()
