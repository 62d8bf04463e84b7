"""The standard steps against what Pillow, tokenizers and numpy do themselves."""

from __future__ import annotations

import ast
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizer_files import byte_bpe, word_piece, write_tokenizer

from serve_deploy import python_models
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.python_models.decode_image_step import DecodeImageSettings
from serve_deploy.python_models.standard_steps import standard_step
from serve_deploy.python_models.step_settings import StepSettings
from serve_deploy.python_models.tokenize_step import TokenizeSettings
from serve_deploy.python_models.top_k_step import TopKSettings

HERE = Path()
_ROOM = Path(python_models.__file__).parent
_WRITTEN = [*_ROOM.glob("adapter/*.py"), *_ROOM.glob("standard/*.py")]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def requests(*items: str | bytes) -> np.ndarray:
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * height)
    pixels = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decode(settings: dict[str, Any], *files: bytes, folder: Path = HERE) -> np.ndarray:
    return np.asarray(standard_step("decode_image", settings, folder).run({"image": requests(*files)})["pixel_values"])


# --- decode_image ---------------------------------------------------------------------------------------------------


def test_pixels_are_resized_cropped_scaled_and_normalised() -> None:
    """As torchvision's Resize, CenterCrop, ToTensor and Normalize, which is Pillow's resize with float arithmetic."""
    image = picture(90, 60)
    resized = np.asarray(image.resize((int(48 * 90 / 60), 48), Image.Resampling.BILINEAR)).astype(np.float32)
    cropped = resized[8:40, 20:52]
    wanted = (cropped / np.float32(255) - np.float32(_MEAN)) / np.float32(_STD)
    found = decode({"size": 48, "crop": 32, "mean": _MEAN, "std": _STD}, encode(image))
    assert (found.shape, found.dtype) == ((1, 3, 32, 32), np.float32)
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("library", "first"), [("torchvision", 2), ("transformers", 1)])
def test_the_centre_is_rounded_as_the_library_does(library: str, first: int) -> None:
    """Of 3 rows too many, torchvision cuts off 2 above, transformers 1."""
    image = picture(16, 16)
    found = decode({"size": [13, 13], "crop": 10, "crop_as": library, "type": "uint8", "layout": "nhwc"}, encode(image))
    resized = np.asarray(image.resize((13, 13), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found[0], resized[first : first + 10, first : first + 10])


@pytest.mark.parametrize(("library", "before"), [("torchvision", 1), ("transformers", 2)])
def test_a_crop_larger_than_the_picture_is_filled_with_black(library: str, before: int) -> None:
    """3 missing columns are shared as the library shares them."""
    found = decode({"crop": [5, 8], "crop_as": library, "type": "uint8"}, encode(Image.new("RGB", (5, 5), "white")))
    columns = np.flatnonzero(found[0, 0, 0])
    assert (columns[0], len(columns)) == (before, 5)


@pytest.mark.parametrize(
    ("picture_size", "frame", "rows", "columns"),
    [
        ((40, 20), [20, 20], (5, 15), (0, 20)),
        ((10, 33), [33, 13], (0, 33), (1, 11)),
        ((8, 8), [15, 20], (0, 15), (2, 17)),
    ],
)
def test_a_picture_can_keep_its_shape_in_a_filled_frame(
    picture_size: tuple[int, int], frame: list[int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """As YOLO's letterbox: as large as it fits, in the middle, an odd pixel more below or on the right."""
    image = picture(*picture_size)
    found = decode({"size": frame, "pad": 114, "type": "uint8", "layout": "nhwc"}, encode(image))[0]
    wanted = np.full((*frame, 3), 114)
    size = (columns[1] - columns[0], rows[1] - rows[0])
    wanted[slice(*rows), slice(*columns)] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("settings", [{"pad": 0}, {"size": 20, "pad": 0}, {"size": [20, 20], "crop": 10, "pad": 0}])
def test_a_frame_needs_a_size_and_nothing_else(settings: dict[str, Any]) -> None:
    """What would not be a frame is refused."""
    with pytest.raises(UsageError, match=r"`pad` needs a `size` of \[height, width\], and no `crop`"):
        standard_step("decode_image", settings, HERE)


def test_the_picture_stands_as_it_was_taken() -> None:
    """A camera's orientation is undone before anything else."""
    image = picture(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(image, "PNG", exif=exif)
    found = decode({"size": [40, 20], "type": "uint8", "layout": "nhwc"}, turned)
    np.testing.assert_array_equal(found[0], np.asarray(image.transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """Grey, palettes, transparency and print colours."""
    image = picture(8, 8, mode)
    content = encode(image, "TIFF" if mode == "CMYK" else "PNG")
    found = decode({"size": [8, 8], "type": "uint8", "layout": "nhwc"}, content)
    np.testing.assert_array_equal(found[0], np.asarray(image.convert("RGB")))


def test_sixteen_bits_of_grey_are_not_cut_at_255() -> None:
    """Pillow's own conversion would make nearly all of it white."""
    values = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    found = decode({"size": [8, 8], "type": "uint8", "channels": "grey"}, encode(Image.fromarray(values)))
    np.testing.assert_array_equal(found[0, 0], values >> 8)


@pytest.mark.parametrize(("channels", "order"), [("rgb", [0, 1, 2]), ("bgr", [2, 1, 0])])
def test_channels_come_in_the_order_asked_for(channels: str, order: list[int]) -> None:
    """OpenCV's models take blue first."""
    image = picture(8, 8)
    found = decode({"size": [8, 8], "type": "uint8", "channels": channels}, encode(image))
    np.testing.assert_array_equal(found[0], np.asarray(image).transpose(2, 0, 1)[order])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(kind: str) -> None:
    """The usual formats; several rows share a request, whatever the size of each picture."""
    found = decode({"size": [16, 16]}, encode(picture(40, 24), kind), encode(picture(24, 40), kind))
    assert found.shape == (2, 3, 16, 16)
    assert np.abs(found[0] - found[1]).max() > 0.1


def _bomb() -> bytes:
    return encode(Image.new("1", (10001, 10000)), "PNG")


BROKEN = {
    "empty": (lambda: b"", "the image is empty"),
    "text": (lambda: b"a text", "this is no image in a format that is read here: JPEG, PNG"),
    "cut off": (lambda: encode(picture(64, 64))[:200], "the image is broken: "),
    "a bomb": (_bomb, "the image has 10001×10000 pixels, more than max_pixels=50000000"),
    "PostScript": (lambda: encode(picture(8, 8), "EPS"), "this is no image in a format that is read here"),
    "too narrow": (
        lambda: encode(Image.new("1", (60000, 1))),
        "the image would be resized to 3840000×64 pixels: it is too narrow",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_picture_is_refused_in_words(case: str) -> None:
    """Nothing is decoded that is too large, and no other program is started for a rare format."""
    make, message = BROKEN[case]
    with pytest.raises(InvalidModelError, match=message):
        decode({"size": 64, "crop": 32}, make())
    with pytest.raises(InvalidModelError, match=f"image 1: {message}"):
        decode({"size": 64, "crop": 32}, encode(picture(8, 8)), make())


def test_its_samples_are_pictures_of_several_formats() -> None:
    """A pipeline that begins here can be verified without files of the user's."""
    model = standard_step("decode_image", {"size": [32, 32]}, HERE)
    content = [str(sample["image"][0, 0]).encode("utf-8", "surrogateescape") for sample in model.samples]
    assert {Image.open(BytesIO(item)).format for item in content} == {"JPEG", "PNG", "GIF"}
    assert not any(item.endswith(b"\0") for item in content)  # which samples.npz would lose
    answers = [model.run(sample)["pixel_values"] for sample in model.samples]
    assert len({answer.tobytes() for answer in answers}) == len(answers)


def test_without_a_fixed_size_each_picture_is_alone() -> None:
    """Results of different sizes cannot share a batch."""
    model = standard_step("decode_image", {"size": 20}, HERE)
    assert (model.max_batch_size, model.signature.outputs[0].shape) == (0, (1, 3, -1, -1))
    assert model.run({"image": requests(encode(picture(40, 20)))[0]})["pixel_values"].shape == (1, 3, 20, 40)


PREPROCESSORS = {
    "CLIP": (
        {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 20, "height": None}},
        {"size": 20, "crop": 224, "filter": "bicubic", "mean": (0.48145466, 0.4578275, 0.40821073)},
    ),
    "an old ViT": (
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 30, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]},
        {"size": [30, 30], "filter": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]},
    ),
    "ConvNext": (
        {
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": 28},
            "resample": 3,
            "do_normalize": False,
        },
        {"size": 32, "crop": 28, "filter": "bicubic", "mean": 0.0},
    ),
    "a large ConvNext": (
        {"image_processor_type": "ConvNextImageProcessor", "resample": 2, "do_rescale": False, "do_normalize": False},
        {"size": [384, 384], "crop": None, "scale": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PREPROCESSORS)
def test_transformers_settings_are_read(tmp_path: Path, case: str) -> None:
    """What a preprocessor_config.json says, and what its class does where it says nothing."""
    config, wanted = PREPROCESSORS[case]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    model = standard_step("decode_image", {"preprocessor": "preprocessor_config.json"}, tmp_path)
    read = json.loads(model.files["1/function/settings.json"])
    normal = json.loads(json.dumps(wanted))
    if normal.get("crop") and not isinstance(normal["crop"], list):
        normal["crop"] = [normal["crop"]] * 2
    assert {name: read[name] for name in normal} == normal
    assert read["crop_as"] == "transformers"


_PUBLISHED = np.load(Path(__file__).parents[2] / "support" / "preprocessors.npz")


@pytest.mark.parametrize("processor", sorted({name.partition("/")[0] for name in _PUBLISHED.files if "/" in name}))
def test_pixels_equal_those_of_transformers(tmp_path: Path, processor: str) -> None:
    """Bit for bit what its processors with the PIL backend returned (scripts/preprocessor_examples.py)."""
    (tmp_path / "preprocessor_config.json").write_text(str(_PUBLISHED[f"{processor}/config"]))
    found = decode({"preprocessor": "preprocessor_config.json"}, _PUBLISHED["picture"].tobytes(), folder=tmp_path)
    np.testing.assert_array_equal(found, _PUBLISHED[f"{processor}/pixels"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image_processor_type": "DetrImageProcessor"}, "is for DetrImageProcessor, which this step does not know"),
        ({}, "does not say its image_processor_type"),
        ({"image_processor_type": "BeitImageProcessor"}, "does not say `do_center_crop`, in which versions of"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True}, "`do_pad` is not among what this step does"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 3}}, "a size of longest_edge is not"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 9}, "`resample` is 9, not a filter of Pillow's"),
    ],
)
def test_what_another_processor_does_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    """A processor that does more than this step is not taken for one that does not."""
    (tmp_path / "p.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message):
        standard_step("decode_image", {"preprocessor": "p.json"}, tmp_path)


# --- tokenize -------------------------------------------------------------------------------------------------------


def test_ids_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    """Each text alone gives the ids of the tokenizer itself, with masks; together the shorter is padded."""
    tokenizer = word_piece()
    write_tokenizer(tmp_path, tokenizer)
    tokenizer.no_padding()
    model = standard_step("tokenize", {"pad_token": "[UNK]"}, tmp_path)
    wanted = [tokenizer.encode(text).ids for text in ("the other two words", "no")]
    alone = model.run({"text": requests("the other two words")})
    assert alone["input_ids"].tolist() == [wanted[0]]
    both = model.run({"text": requests("the other two words", b"no")})
    lengths = [len(ids) for ids in wanted]
    assert both["input_ids"][1].tolist() == wanted[1] + [0] * (lengths[0] - lengths[1])
    assert both["attention_mask"].sum(axis=1).tolist() == lengths
    assert {array.dtype.name for array in both.values()} == {"int64"}
    assert json.loads(model.files["1/function.json"])["merges"] is False


def test_a_fixed_length_cuts_and_fills(tmp_path: Path) -> None:
    """With `padding: max_length` all rows are equally long, whatever comes in."""
    write_tokenizer(tmp_path, byte_bpe())
    settings = {"max_length": 12, "padding": "max_length", "pad_token": "!", "type": "int32", "outputs": ["input_ids"]}
    model = standard_step("tokenize", settings, tmp_path)
    answer = model.run({"text": requests("word " * 40, "")})
    assert {name: (array.shape, array.dtype.name) for name, array in answer.items()} == {
        "input_ids": ((2, 12), "int32")
    }
    assert json.loads(model.files["1/function.json"])["merges"] is True


def test_pairs_are_two_inputs(tmp_path: Path) -> None:
    """Cross-encoders take two texts a row, and know them by their type ids."""
    write_tokenizer(tmp_path, byte_bpe())
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": {"content": "!"}, "model_max_length": 32}')
    model = standard_step("tokenize", {"pair": "passage", "multiple_of": 8}, tmp_path)
    answer = model.run({"text": requests("a question"), "passage": requests("an answer")})
    assert answer["input_ids"].shape[1] % 8 == 0
    assert set(answer["token_type_ids"][0].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither tokenizer.json nor a tokenizer_config.json beside it says how long a text may be"),
        ({"max_length": 8}, "tokenizer.json has no padding token"),
        ({"max_length": 8, "pad_token": "[PAD]"}, "tokenizer.json has no token '\\[PAD\\]' to pad with"),
        ({"tokenizer": "text.txt"}, "text.txt is not a tokenizer.json"),
        ({"tokenizer": "none.json"}, "none.json cannot be read: No such file"),
        ({"max_length": 0}, "`max_length` must be at least 1"),
    ],
)
def test_a_tokenizer_that_lacks_something_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """What is missing is named, and the setting that gives it."""
    write_tokenizer(tmp_path, byte_bpe())
    (tmp_path / "text.txt").write_text("no tokenizer")
    with pytest.raises(UsageError, match=message):
        standard_step("tokenize", settings, tmp_path)


# --- top_k ----------------------------------------------------------------------------------------------------------


def test_the_highest_classes_come_with_labels() -> None:
    """Scores by softmax, the highest first, of equal ones the first first."""
    model = standard_step("top_k", {"k": 2, "labels": ["cat", "dog", "é"]}, HERE)
    answer = model.run({"logits": np.array([[1, 3, 2], [5, 5, 5]], np.float32)})
    assert answer["labels"].tolist() == [[b"dog", "é".encode()], [b"cat", b"dog"]]
    assert answer["indices"].tolist() == [[1, 2], [0, 1]]
    powers = np.exp([3.0, 2.0]) / np.exp([1.0, 2.0, 3.0]).sum()
    np.testing.assert_allclose(answer["scores"], [powers, [1 / 3, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [("softmax", [[1, 0]]), ("sigmoid", [[1, 0]]), ("none", [[1000, -1000]])],
)
def test_scores_do_not_overflow(activation: str, wanted: list[list[float]]) -> None:
    """Large values make no NaN and no warning."""
    model = standard_step("top_k", {"k": 2, "activation": activation}, HERE)
    answer = model.run({"logits": np.array([[-1000, 1000]], np.float32)})
    np.testing.assert_allclose(answer["scores"], wanted)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labels.txt", "\ufeffcat\ndog\n"),
        ("labels.json", '["cat", "dog"]'),
        ("by_index.json", '{"1": "dog", "0": "cat"}'),
        ("config.json", '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}'),
    ],
)
def test_labels_come_from_a_file(tmp_path: Path, file: str, content: str) -> None:
    """One on each line, a JSON list or object, or a model's config.json."""
    (tmp_path / file).write_text(content)
    model = standard_step("top_k", {"k": 1, "labels": file}, tmp_path)
    assert model.run({"logits": np.array([[0, 1]], np.float32)})["labels"].tolist() == [[b"dog"]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 3, "labels": ["a", "b"]}, "`k` is 3, and there are only 2 classes"),
        ({"labels": ["a", "b"], "classes": 3}, "there are 2 labels for 3 classes"),
        ({"labels": "none.txt"}, "none.txt cannot be read: No such file"),
        ({"labels": "empty.txt"}, "`labels`: there are none in empty.txt"),
        ({"labels": "odd.json"}, "odd.json holds no labels"),
        ({"label": ["a"]}, "top_k has no setting `label`"),
        ({"k": "five"}, "`k` must be a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """Before anything is written, by the name of the setting."""
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "odd.json").write_text('{"1": "b"}')
    with pytest.raises(UsageError, match=message):
        standard_step("top_k", settings, tmp_path)


def test_fewer_classes_than_asked_for_are_refused() -> None:
    """Where the number of classes shows only in the request."""
    with pytest.raises(InvalidModelError, match="there are 3 classes, fewer than k=5"):
        standard_step("top_k", {}, HERE).run({"logits": np.zeros((1, 3), np.float32)})


@pytest.mark.parametrize(
    ("activation", "rows", "is_doubted"),
    [
        ("softmax", [[0.25, 0.75], [1, 0]], True),
        ("softmax", [[0.25, 0.75], [0.5, 0.9]], False),
        ("softmax", [[-1, 2]], False),
        ("sigmoid", [[0.5, 0.9]], True),
        ("none", [[0.25, 0.75]], False),
    ],
)
def test_probabilities_need_no_softmax(activation: str, rows: list[list[float]], is_doubted: bool) -> None:
    """What a model's own softmax returned would come out nearly equal for all classes, so that is said."""
    model = standard_step("top_k", {"k": 2, "activation": activation}, HERE)
    doubt = model.doubt([{"logits": np.array([row], np.float32)} for row in rows])
    assert doubt.startswith("its inputs are probabilities already") is is_doubted


def test_an_unknown_step_is_refused() -> None:
    """The steps that there are, are named."""
    with pytest.raises(UsageError, match="there is no standard step 'resize'") as refusal:
        standard_step("resize", {}, HERE)
    assert refusal.value.hint == "there are decode_image, tokenize, top_k"


@pytest.mark.parametrize("settings", [DecodeImageSettings, TokenizeSettings, TopKSettings])
def test_every_setting_is_documented(settings: type[StepSettings]) -> None:
    """docs/functions.md lists each of them, under the heading of its step."""
    step = {DecodeImageSettings: "decode_image", TokenizeSettings: "tokenize", TopKSettings: "top_k"}[settings]
    text = (Path(__file__).parents[3] / "docs" / "functions.md").read_text(encoding="utf-8")
    section = text.partition(f"### `{step}`")[2].partition("\n##")[0]
    assert [name for name in settings.model_fields if f"`{name}`" not in section] == []


@pytest.mark.parametrize("file", sorted(_WRITTEN, key=lambda file: file.name), ids=lambda file: file.name)
def test_what_is_written_is_python_that_every_container_has(file: Path) -> None:
    """Triton's containers had Python 3.10 until the end of 2024."""
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 10))
