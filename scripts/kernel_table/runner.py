"""Runs in the environment of one ONNX Runtime, and needs nothing else: lists its kernels, and tries models.

python runner.py list            print its kernels and its schemas of the com.microsoft domains as JSON
python runner.py try < models    for each model (4 bytes of length before it) print one line: "" or the error
"""

import json
import struct
import sys


def list_kernels():
    """Its kernels, as far as this build can list them, and its own operators' schemas."""
    import onnxruntime
    from onnxruntime.capi import _pybind_state as state

    if not hasattr(state, "get_all_opkernel_def"):
        return {"version": onnxruntime.__version__, "kernels": None, "schemas": None}
    kernels = [
        [k.domain, k.op_name, *k.version_range, dict(k.type_constraints)]
        for k in state.get_all_opkernel_def()
        if k.provider == "CPUExecutionProvider"
    ]
    schemas = [read_schema(s) for s in state.get_all_operator_schema() if s.domain.startswith("com.microsoft")]
    return {"version": onnxruntime.__version__, "kernels": kernels, "schemas": schemas}


def read_schema(schema):
    """What probes need of a schema."""
    return {
        "domain": schema.domain,
        "name": schema.name,
        "since": schema.since_version,
        "inputs": [[f.typeStr, f.option.name.lower()] for f in schema.inputs],
        "outputs": [[f.typeStr, f.option.name.lower()] for f in schema.outputs],
        "constraints": {c.type_param_str: list(c.allowed_type_strs) for c in schema.type_constraints},
        "attributes": {a.name: [int(getattr(a.type, "value", a.type)), a.required] for a in schema.attributes.values()},
    }


def try_models(source, out, optimise):
    """Load each model; without optimisations, they cannot remove the node in question."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    while head := source.read(4):
        model = source.read(struct.unpack("<I", head)[0])
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            answer = ""
        except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises is its answer
            answer = " ".join(str(error).split()) or type(error).__name__
        out.write(answer[:400] + "\n")
        out.flush()


if __name__ == "__main__":
    if sys.argv[1] == "list":
        json.dump(list_kernels(), sys.stdout)
    else:
        try_models(sys.stdin.buffer, sys.stdout, optimise=sys.argv[1] == "load")
