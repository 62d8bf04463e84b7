"""Pipelines that cannot be, each with one mistake; their steps are those of `pipeline_steps`."""

from __future__ import annotations

WRONG = {
    "an_input_misspelt": """
        steps: {decode: {model: decode}, classifier: {model: classifier, inputs: {pixel: decode.image}}}""",
    "an_output_misspelt": """
        steps: {decode: {model: decode}, classifier: {model: classifier, inputs: {pixels: decode.imgae}}}""",
    "a_step_misspelt": """
        steps: {decode: {model: decode}, classifier: {model: classifier, inputs: {pixels: decod.image}}}""",
    "a_step_without_its_output": """
        steps: {decode: {model: decode}, classifier: {model: classifier, inputs: {pixels: decode}}}""",
    "another_type": """
        steps: {decode: {model: decode_raw}, classifier: {model: classifier, inputs: {pixels: decode.image}}}""",
    "another_size_by_name": """
        steps: {decode: {model: decode}, classifier: {model: by_name}}""",
    "channels_last": """
        steps: {decode: {model: decode_last}, classifier: {model: classifier, inputs: {pixels: decode.image}}}""",
    "no_batch_axis": """
        steps: {decode: {model: decode}, classifier: {model: unbatched, inputs: {pixels: decode.image}}}""",
    "nothing_gives_it": """
        steps: {decode: {model: decode_raw}, classifier: {model: classifier}}""",
    "two_give_it": """
        steps: {one: {model: classifier}, other: {model: classifier_2}, labels: {model: labels}}""",
    "two_give_it_by_name": """
        steps: {one: {model: masked}, other: {model: masked}, needs_mask: {model: needs_mask, inputs: {mask: mask}}}""",
    "two_want_it": """
        steps: {classifier: {model: classifier}, blend: {model: blend}}""",
    "a_step_without_an_input": """
        steps: {classifier: {model: classifier}, free: {model: free}}
        outputs: [classifier.logits, free.y]""",
    "a_circle_of_two": """
        steps:
          one: {model: echo, inputs: {x: other.x}}
          other: {model: echo, inputs: {x: one.x}}""",
    "a_circle_of_one": """
        steps: {echo: {model: echo, inputs: {x: echo.x}}}""",
    "a_circle_behind_a_step": """
        steps:
          one: {model: echo}
          blend: {model: blend, inputs: {a: masked.scores, b: masked.scores}}
          masked: {model: masked, inputs: {scores: blend.scores}}""",
    "a_step_that_nobody_needs": """
        steps: {decode: {model: decode}, classifier: {model: classifier}, text: {model: text, inputs: {ids: ids}}}
        outputs: [classifier.logits]""",
    "an_output_of_the_request": """
        steps: {decode: {model: decode}, classifier: {model: classifier}}
        outputs: {logits: classifier.logits, data: data}""",
    "an_output_that_nobody_returns": """
        steps: {decode: {model: decode}, classifier: {model: classifier}}
        outputs: [classifier.probabilities]""",
    "one_output_twice": """
        steps: {classifier: {model: classifier}}
        outputs: {logits: classifier.logits, scores: classifier.logits}""",
    "an_output_named_as_an_input": """
        steps: {echo: {model: echo}}""",
    "one_input_of_two_types": """
        steps:
          classifier: {model: classifier, inputs: {pixels: image}}
          text: {model: text, inputs: {ids: image}}
        outputs: [classifier.logits, text.vector]""",
    "one_input_of_two_shapes": """
        steps:
          one: {model: classifier, inputs: {pixels: image}}
          other: {model: by_name, inputs: {image: image}}
        outputs: {one: one.logits, other: other.logits}""",
    "a_batch_above_a_members": """
        max_batch_size: 12
        steps: {decode: {model: decode}, classifier: {model: classifier}}""",
    "a_batch_of_a_model_that_mixes_rows": """
        max_batch_size: 8
        steps: {decode: {model: decode}, classifier: {model: mixing}}""",
    "a_batch_of_a_model_with_one_row": """
        max_batch_size: 8
        steps: {decode: {model: decode}, classifier: {model: single}}""",
    "more_rows_than_a_member_takes": """
        steps:
          classifier: {model: sixteen}
          labels: {model: labels}
          blend: {model: blend, inputs: {a: classifier.logits, b: classifier.logits}}
        outputs: [labels.label, blend.scores]""",
    "rows_that_differ_over_two_wires": """
        steps:
          classifier: {model: sixteen}
          labels: {model: masked}
          last: {model: four, inputs: {rows: labels.scores}}""",
    "only_a_batch_axis": """
        max_batch_size: 4
        steps: {classifier: {model: classifier}, count: {model: count}}""",
}
