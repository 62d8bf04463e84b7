"""Runs in the environment of an onnx package: writes its backend cases' names and models, each after its length."""

import struct
import sys
import warnings


def main():
    """All cases but those of downloaded models."""
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    seen = set()
    for kind in ("node", "simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            if case.name in seen:
                continue
            seen.add(case.name)
            if case.model is not None:
                model = case.model.SerializeToString()
            else:
                with open(f"{case.model_dir}/model.onnx", "rb") as file:
                    model = file.read()
            for part in (case.name.encode(), model):
                sys.stdout.buffer.write(struct.pack("<I", len(part)) + part)


if __name__ == "__main__":
    main()
