"""A rule for each operator, by family: what becomes of the rows of a batch in it."""

from serve_deploy.batch_axis.rules import (
    along_axes,
    attention,
    control_flow,
    cutting,
    elementwise,
    picking,
    products,
    quantised,
    recurrent,
    shaping,
    sources,
    spatial,
    traditional,
)
from serve_deploy.batch_axis.rules.table import Rule

RULES: dict[str, Rule] = {
    **sources.RULES,
    **elementwise.RULES,
    **shaping.RULES,
    **cutting.RULES,
    **along_axes.RULES,
    **products.RULES,
    **spatial.RULES,
    **attention.RULES,
    **picking.RULES,
    **quantised.RULES,
    **recurrent.RULES,
    **traditional.RULES,
    **control_flow.RULES,
}

# These look at the shape of their first input alone: what was mixed into its values does not matter.
READS_SHAPES_ONLY = {"Shape", "Size"}

# With an index that comes from a sort, these put sorted rows back into their order, or sort further.
PUTS_BACK = {"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"}

# These know what becomes of a row's number in its batch; to every other operator it is not a value like others.
KNOWS_POSITIONS = {
    "Add", "Cast", "Concat", "Expand", "Flatten", "Gather", "GatherND", "Identity", "Mul", "Reshape", "ScatterND",
    "Shape", "Size", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
