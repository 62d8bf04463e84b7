"""LightGBM models as text.

Source: LightGBM, src/boosting/gbdt_model_text.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, reading
from serve_deploy.frameworks.fil import Trees, describe_trees

# Names of features stand in one line; a longer one is no line of a model.
_LONGEST_LINE = 64 << 20
_MULTICLASS = ("multiclass", "multiclassova")
_BINARY = ("binary", "cross_entropy", "cross_entropy_lambda")


def read_lightgbm(path: Path, parameters: Mapping[str, str]) -> Artefact:
    """Read a model that `save_model("….txt")` wrote; InvalidModelError where it is none."""
    with reading(path, "a LightGBM model"):
        header, trees = _read(path)
        objective = header.get("objective", "").split()[:1]
        if not objective:
            raise InvalidModelError(
                f"{path} has no objective, so that nothing tells a classifier from a regressor",
                hint="train it with one of LightGBM's own objectives",
            )
        number = int(header["num_class"])
        classes = number if objective[0] in _MULTICLASS else 2 if objective[0] in _BINARY else 0
        described = Trees(
            library="LightGBM",
            model_type="lightgbm",
            file_name="model.txt",
            features=int(header["max_feature_idx"]) + 1,
            classes=classes,
            objective=objective[0],
            version=None,
            trees=trees,
            notes=_note_linear(header),
        )
    return describe_trees(path, described, parameters)


def _read(path: Path) -> tuple[dict[str, str], int]:
    """The lines of the header, and how many trees follow; EOFError where their end is missing."""
    header: dict[str, str] = {}
    trees = 0
    with path.open(encoding="utf-8") as stream:
        while line := stream.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise ValueError("a line without end")
            if line.rstrip("\n") == "end of trees":
                break
            if line.startswith("Tree="):
                trees += 1
            elif trees == 0 and "=" in line:
                name, _equals, value = line.rstrip("\n").partition("=")
                header[name] = value
            elif line.startswith("is_linear=") and line.strip() != "is_linear=0":
                header["is_linear"] = "1"
        else:
            raise EOFError
        # The parameters of the training follow, where the file has them.
        if "parameters:\n" in (rest := list(stream)) and "end of parameters\n" not in rest:
            raise EOFError
    if trees != len(header["tree_sizes"].split()):
        raise EOFError
    return header, trees


def _note_linear(header: Mapping[str, str]) -> tuple[str, ...]:
    return ("its leaves are linear models, which FIL does not know: it may refuse to load it",) * (
        "is_linear" in header
    )
