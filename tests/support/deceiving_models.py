"""Models made to deceive a proof of batching, of each kind that did, and honest models of the same operators."""

# ruff: noqa: E501 - models as text, a line each

from __future__ import annotations

from batching_models import Trap

# --- rows that change each other ------------------------------------------------------------------------------------

_TABLE = "<float[5,3] table = {0.1,0.2,0.3,0.4,-0.5,0.6,0.7,0.8,-0.9,1.0,1.1,1.2,-1.3,1.4,1.5}>"
_WEIGHTS = "float[4,3] w = {0.5,-0.3,0.2,-0.6,0.4,0.1,0.3,-0.2,0.5,0.1,0.7,-0.4}"


def _deceiver(name: str, graph: str) -> Trap:
    return Trap(name, graph, "not_batchable")


SIDE_INPUTS = (
    _deceiver(
        "temperature_of_the_first_row",
        """(float[N,8] logits, float[N,1] temperature) => (float[N,8] y) <int64[1] first = {0}> {
            t = Gather<axis=0>(temperature, first) d = Div(logits, t) y = Softmax<axis=1>(d)
        }""",
    ),
    _deceiver(
        "highest_conf_threshold",
        """(float[N,6] scores, float[N,1] conf_threshold) => (float[N,6] y) {
            m = ReduceMax<keepdims=0>(conf_threshold) k = Greater(scores, m) f = Cast<to=1>(k) y = Mul(f, scores)
        }""",
    ),
    _deceiver(
        "orig_target_sizes_of_the_first_row",
        """(float[N,3,8,8] images, int64[N,2] orig_target_sizes) => (float[N,2] boxes) <int64 zero = {0}> {
            s = Gather<axis=0>(orig_target_sizes, zero) f = Cast<to=1>(s)
            m = ReduceMean<axes=[1,2,3], keepdims=0>(images) a = Constant<value_ints=[1]>() u = Unsqueeze(m, a)
            boxes = Mul(u, f)
        }""",
    ),
    _deceiver(
        "largest_scale_factor",
        """(float[N,3,8,8] image, float[N,2] scale_factor) => (float[N,1] y) {
            f = ReduceMax<keepdims=0>(scale_factor) m = ReduceMean<axes=[1,2,3], keepdims=0>(image)
            a = Constant<value_ints=[1]>() u = Unsqueeze(m, a) y = Div(u, f)
        }""",
    ),
    _deceiver(
        "highest_sampling_rate",
        """(float[N,16] audio, int64[N] sampling_rate) => (float[N,16] y) <float k = {16000.0}> {
            r = ReduceMax<keepdims=0>(sampling_rate) f = Cast<to=1>(r) q = Div(f, k) y = Mul(audio, q)
        }""",
    ),
    _deceiver(
        "a_number_without_a_name",
        """(float[N,5] a, float[N,1] b) => (float[N,5] y) <int64[1] i = {0}> {
            t = Gather<axis=0>(b, i) y = Pow(a, t)
        }""",
    ),
    _deceiver(
        "speaker_of_the_last_row",
        "(float[N,3] x, int64[N] sid) => (float[N,3] y) "
        + _TABLE[:-1]
        + """, int64 last = {-1}> {
            s = Gather<axis=0>(sid, last) e = Gather(table, s) y = Add(x, e)
        }""",
    ),
    _deceiver(
        "slowest_speed",
        """(float[N,6] x, float[N] speed) => (float[N,6] y) {
            s = ReduceMin<keepdims=0>(speed) y = Mul(x, s)
        }""",
    ),
    _deceiver(
        "one_flag_for_all",
        """(float[N,4] x, bool[N] flip) => (float[N,4] y) {
            f = Cast<to=1>(flip) m = ReduceMax<keepdims=0>(f) n = Mul(x, m) y = Sub(x, n)
        }""",
    ),
    _deceiver(
        "word_of_the_first_row",
        """(float[N,4] x, string[N] mode) => (float[N,4] y) <int64 zero = {0}> {
            c = ai.onnx.ml.LabelEncoder<keys_strings=["fast","good"], values_floats=[0.5,2.0], default_float=1.0>(mode)
            f = Gather<axis=0>(c, zero) y = Mul(x, f)
        }""",
    ),
)
INTEGERS = (
    _deceiver(
        "bytes_by_their_maximum",
        """(uint8[N,3,16,16] image) => (float[N,3,16,16] y) {
            f = Cast<to=1>(image) m = ReduceMax<keepdims=0>(f) y = Div(f, m)
        }""",
    ),
    _deceiver(
        "counts_less_their_minimum",
        """(int32[N,12] counts) => (int32[N,12] y) {
            m = ReduceMin<keepdims=0>(counts) y = Sub(counts, m)
        }""",
    ),
    _deceiver(
        "bytes_centred_a_little",
        """(uint8[N,16] x) => (float[N,16] y) <float w = {0.00001}> {
            f = Cast<to=1>(x) m = ReduceMean<axes=[0]>(f) s = Mul(m, w) y = Add(f, s)
        }""",
    ),
    _deceiver(
        "signed_bytes_by_their_range",
        """(int8[N,3,12,12] x) => (float[N,3,12,12] y) <float one = {1.0}> {
            f = Cast<to=1>(x) a = ReduceMax<keepdims=0>(f) b = ReduceMin<keepdims=0>(f) r = Sub(a, b) s = Add(r, one)
            z = Sub(f, b) y = Div(z, s)
        }""",
    ),
)


def _longest(pad: int, vocabulary: int) -> str:
    return f"""(int64[N,seq] ids) => (float[N,1] y) <int64 pad = {{{pad}}}, int64 size = {{{vocabulary}}}> {{
        m = Mod(ids, size) f = Cast<to=1>(m) e = Equal(m, pad) n = Not(e) k = Cast<to=1>(n)
        l = ReduceSum<keepdims=0>(k, axis) longest = ReduceMax<keepdims=0>(l)
        s = ReduceSum<keepdims=1>(f, axis) y = Div(s, longest)
    }}""".replace("(int64[N,seq] ids)", "(int64[N,seq] ids)").replace("> {", ", int64[1] axis = {1}> {", 1)


PADDING = (
    _deceiver("longest_by_pad_0", _longest(0, 30000)),
    _deceiver("longest_by_pad_1", _longest(1, 30000)),
    _deceiver("longest_by_pad_at_the_end", _longest(9, 10)),
    _deceiver(
        "longest_by_mask",
        """(float[N,seq] x, int64[N,seq] attention_mask) => (float[N,1] y) <int64[1] axis = {1}> {
            m = Cast<to=1>(attention_mask) l = ReduceSum<keepdims=1>(m, axis) longest = ReduceMax<keepdims=0>(l)
            v = Mul(x, m) s = ReduceSum<keepdims=1>(v, axis) y = Div(s, longest)
        }""",
    ),
)


def _special(find: str, initializers: str = "") -> str:
    return (
        "(int64[N,seq] ids) => (float[N,seq] y) <int64 special = {103}"
        + initializers
        + "> { "
        + find
        + " k = Cast<to=1>(e) any = ReduceMax<keepdims=0>(k) f = Cast<to=1>(ids) y = Add(f, any) }"
    )


TOKENS = (
    _deceiver("special_token_in_any_row", _special("e = Equal(ids, special)")),
    _deceiver("special_token_by_subtraction", _special("d = Sub(ids, special) e0 = Cast<to=9>(d) e = Not(e0)")),
    _deceiver("special_token_by_greater", _special("e = Greater(ids, special)")),
    _deceiver(
        "any_row_without_a_start",
        """(int64[N,seq] ids) => (float[N,seq] y) <int64 start = {5}, int64 zero = {0}> {
            c = Gather<axis=1>(ids, zero) e = Equal(c, start) n = Not(e) k = Cast<to=1>(n)
            any = ReduceMax<keepdims=0>(k) f = Cast<to=1>(ids) y = Mul(f, any)
        }""",
    ),
)

_LOOP = """(float[N,4] x) => (float[N,4] y) <int64 most = {{20}}, bool go = {{1}}> {{
    y = Loop<body = step (int64 i, bool c, float[N,4] h) => (bool more, float[N,4] next)
    <float rate = {{0.7}}, float enough = {{0.5}}> {{
        {step} a = Abs(next) m = {measure} more = Greater(m, enough)
    }}>(most, go, x)
}}"""
LOOPS = (
    _deceiver("until_all_rows_are_small", _LOOP.format(step="next = Mul(h, rate)", measure="ReduceMax<keepdims=0>(a)")),
    _deceiver("until_any_row_is_small", _LOOP.format(step="next = Mul(h, rate)", measure="ReduceMin<keepdims=0>(a)")),
    _deceiver("until_the_mean_is_small", _LOOP.format(step="next = Mul(h, rate)", measure="ReduceMean<keepdims=0>(a)")),
    _deceiver(
        "decodes_until_all_have_ended",
        """(int64[N] start) => (int64[N] last) <int64 most = {12}, bool go = {1}> {
            last = Loop<body = step (int64 i, bool c, int64[N] t) => (bool more, int64[N] next)
            <int64 three = {3}, int64 one = {1}, int64 size = {11}, int64 eos = {0}> {
                a = Mul(t, three) b = Add(a, one) next = Mod(b, size)
                e = Equal(next, eos) n = Not(e) k = Cast<to=7>(n) m = ReduceMax<keepdims=0>(k) more = Cast<to=9>(m)
            }>(most, go, start)
        }""",
    ),
)
ZEROS = (
    _deceiver(
        "rows_of_zeros_dropped",
        """(float[N,4] x) => (float[M,4] y) <int64[1] axis = {1}, int64[1] flat = {-1}> {
            a = Abs(x) s = ReduceSum<keepdims=0>(a, axis) i = NonZero(s) r = Reshape(i, flat) y = Gather<axis=0>(x, r)
        }""",
    ),
    _deceiver(
        "mean_over_the_rows_that_are_not_zero",
        """(float[N,4] x) => (float[N,4] y) <int64[1] axis = {1}, float w = {0.5}> {
            a = Abs(x) s = ReduceSum<keepdims=1>(a, axis) z = Cast<to=9>(s) k = Cast<to=1>(z)
            n = ReduceMean<keepdims=0>(k) y = Mul(x, n)
        }""",
    ),
    _deceiver(
        "integers_of_zero_dropped",
        """(int64[N,6] x) => (int64[M,6] y) <int64[1] axis = {1}, int64[1] flat = {-1}> {
            s = ReduceSum<keepdims=0>(x, axis) i = NonZero(s) r = Reshape(i, flat) y = Gather<axis=0>(x, r)
        }""",
    ),
)


def _capacity(capacity: str) -> str:
    return (
        "(float[N,4] x) => (float[N,4] y) <int64 axis = {0}, int64 depth = {4}, float[2] onoff = {0,1}, "
        "int64[1] one = {1}, float cap = {" + capacity + "}> { "
        """e = ArgMax<axis=1, keepdims=0>(x) h = OneHot(e, depth, onoff) c = CumSum(h, axis) p = Mul(c, h)
        q = ReduceMax<axes=[1], keepdims=1>(p) late = Greater(q, cap) n = Not(late) k = Cast<to=1>(n) y = Mul(x, k) }"""
    )


EXPERTS = (
    _deceiver("expert_capacity_of_2", _capacity("2.0")),
    _deceiver("expert_capacity_of_5", _capacity("5.0")),
    _deceiver("expert_capacity_of_7", _capacity("7.0")),
)


def _duplicates(near: str) -> str:
    return (
        "(float[N,4] x) => (float[N,4] y) <int64[1] two = {2}, int64[1] a0 = {0}, int64[1] a1 = {1}, float near = {"
        + near
        + """}, float half = {0.5}, float one = {1.0}> {
        p = Unsqueeze(x, a1) q = Unsqueeze(x, a0) d = Sub(p, q) m = Abs(d) s = ReduceSum<keepdims=0>(m, two)
        c = Less(s, near) k = Cast<to=1>(c) n = ReduceSum<keepdims=1>(k, a1) y = Div(x, n) }"""
    )


DUPLICATES = (
    _deceiver("equal_rows_share", _duplicates("0.0000001")),
    _deceiver("rows_within_a_thousandth_share", _duplicates("0.001")),
    _deceiver("rows_within_a_half_share", _duplicates("0.5")),
    _deceiver(
        "equal_ids_count_once",
        """(int64[N,3] ids) => (int64[N,3] y) <int64[1] two = {2}, int64[1] a0 = {0}, int64[1] a1 = {1}> {
            p = Unsqueeze(ids, a1) q = Unsqueeze(ids, a0) d = Sub(p, q) m = Abs(d) s = ReduceSum<keepdims=0>(m, two)
            c = Cast<to=9>(s) n = Not(c) k = Cast<to=7>(n) r = ReduceSum<keepdims=1>(k, a1) y = Mul(ids, r)
        }""",
    ),
)


def _quantised(answer: str, returned: str) -> str:
    return (
        f"(float[N,4] x) => ({returned} y) <uint8[4,3] w = {{200,90,130,50,160,140,170,100,190,120,210,70}}, "
        "uint8 zero = {128}, float by = {0.01}, float[3] bias = {0.1,-0.2,0.05}, int64[1] axis = {1}> { "
        "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, z, zero) f = Cast<to=1>(i) g = Mul(f, s) "
        f"h = Mul(g, by) l = Add(h, bias) {answer} }}"
    )


LABELS = (
    _deceiver("label_of_a_quantised_model", _quantised("y = ArgMax<axis=1, keepdims=0>(l)", "int64[N]")),
    _deceiver(
        "yes_or_no_of_a_quantised_model",
        _quantised("t = ReduceSum<keepdims=0>(l, axis) u = Cast<to=6>(t) n = Sign(t) y = Cast<to=6>(n)", "int32[N]"),
    ),
    _deceiver(
        "name_of_a_quantised_model",
        _quantised(
            "a = ArgMax<axis=1, keepdims=0>(l) "
            'y = ai.onnx.ml.LabelEncoder<keys_int64s=[0,1,2], values_strings=["cat","dog","owl"]>(a)',
            "string[N]",
        ),
    ),
)
SCALES = (
    _deceiver(
        "scores_beside_boxes_of_4k",
        """(float[N,8] x) => (float[N,12] y) <float big = {3840.0}, float w = {0.02}, int64[4] first = {0,1,2,3}> {
            s = Sigmoid(x) c = Gather<axis=1>(s, first) boxes = Mul(c, big) m = ReduceMean<axes=[0]>(s) n = Mul(m, w)
            scores = Add(s, n) y = Concat<axis=1>(boxes, scores)
        }""",
    ),
    _deceiver(
        "small_numbers_beside_large_ones",
        """(float[N,4] a) => (float[N,8] b) <float big = {1000000.0}, float small = {0.001}, float w = {0.1}> {
            l = Mul(a, big) t = Tanh(a) m = ReduceMean<axes=[0]>(t) n = Mul(m, w) o = Add(t, n) s = Mul(o, small)
            b = Concat<axis=1>(l, s)
        }""",
    ),
    _deceiver(
        "a_ten_millionth_of_the_mean",
        """(float[N,4] x) => (float[N,4] y) <float w = {0.00001}> {
            t = Sigmoid(x) m = ReduceMean<axes=[0]>(t) n = Mul(m, w) y = Add(t, n)
        }""",
    ),
)


def _at_size(condition: str, size: int) -> str:
    return (
        "(float[N,4] x) => (float[N,4] y) <int64 size = {" + str(size) + "}, int64 axis = {0}> { "
        "s = Shape<start=0, end=1>(x) " + condition + " k = Cast<to=1>(e) m = ReduceMean<axes=[0]>(x) n = Mul(m, k) "
        "y = Sub(x, n) }"
    )


SIZES = (
    _deceiver("mixes_at_five_rows_only", _at_size("e = Equal(s, size)", 5)),
    _deceiver("mixes_at_seven_rows_only", _at_size("e = Equal(s, size)", 7)),
    _deceiver("mixes_from_eight_rows_on", _at_size("e = GreaterOrEqual(s, size)", 8)),
    _deceiver("mixes_at_multiples_of_four", _at_size("r = Mod(s, size) b = Cast<to=9>(r) e = Not(b)", 4)),
)


def _beyond(value: str, what: str = "a = Abs(x) m = ReduceMax<keepdims=0>(a) e = Greater(m, t)") -> str:
    return (
        "(float[N,4] x) => (float[N,4] y) <float t = {" + value + "}, float w = {0.5}> { "
        + what
        + " k = Cast<to=1>(e) s = Mul(k, w) y = Sub(x, s) }"
    )  # fmt: skip


EXTREMES = (
    _deceiver("values_above_a_hundred_thousand", _beyond("100000.0")),
    _deceiver("values_above_a_million", _beyond("3000000.0")),
    _deceiver("values_below_a_limit", _beyond("-250000.0", "m = ReduceMin<keepdims=0>(x) e = Less(m, t)")),
    _deceiver(
        "a_value_that_is_not_a_number", _beyond("0", "n = IsNaN(x) f = Cast<to=1>(n) e = ReduceMax<keepdims=0>(f)")
    ),
    _deceiver("an_infinite_value", _beyond("0", "n = IsInf(x) f = Cast<to=1>(n) e = ReduceMax<keepdims=0>(f)")),
    _deceiver(
        "a_value_of_exactly_pi", _beyond("3.1415927", "n = Equal(x, t) f = Cast<to=1>(n) e = ReduceMax<keepdims=0>(f)")
    ),
)
OTHERS = (
    _deceiver(
        "a_bonus_for_the_best_row",
        """(float[N,4] x) => (float[N,4] y) {
            s = ReduceSum<keepdims=1>(x, axis) m = ReduceMax<keepdims=0>(s) e = Equal(s, m) k = Cast<to=1>(e) y = Add(x, k)
        }""".replace("(float[N,4] y) {", "(float[N,4] y) <int64[1] axis = {1}> {"),
    ),
    _deceiver(
        "rows_sorted_by_length",
        """(float[N,seq] x, int64[N] lengths) => (float[N,seq] y) {
            n = Shape<start=0, end=1>(x) v, i = TopK<axis=0>(lengths, n) y = Gather<axis=0>(x, i)
        }""",
    ),
    _deceiver(
        "an_empty_text_in_any_row",
        """(string[N] text, float[N,2] x) => (float[N,2] y) {
            e = ai.onnx.ml.LabelEncoder<keys_strings=[""], values_floats=[1.0], default_float=0.0>(text)
            m = ReduceMax<keepdims=0>(e) y = Add(x, m)
        }""",
    ),
    _deceiver(
        "a_negative_number_in_any_row",
        """(float[N,3,8,8] x) => (float[N,3,8,8] y) <float zero = {0.0}> {
            m = ReduceMin<keepdims=0>(x) n = Less(m, zero) k = Cast<to=1>(n) y = Add(x, k)
        }""",
    ),
    _deceiver(
        "all_masks_full",
        """(float[N,seq] x, int64[N,seq] mask) => (float[N,seq] y) <float two = {2.0}> {
            m = ReduceMin<keepdims=0>(mask) f = Cast<to=1>(m) y = Mul(x, f)
        }""",
    ),
    _deceiver(
        "one_branch_for_all_rows",
        """(float[N,4] x) => (float[N,4] y) <float limit = {30.0}> {
            m = ReduceMax<keepdims=0>(x) c = Greater(m, limit)
            y = If<then_branch = a () => (float[N,4] p) { p = Neg(x) }, else_branch = b () => (float[N,4] q) { q = Identity(x) }>(c)
        }""",
    ),
    _deceiver(
        "the_first_row_as_a_reference",
        """(float[N,16] x) => (float[N,16] y) <int64[1] i = {0}> { r = Gather<axis=0>(x, i) d = Sub(x, r) m = Relu(d) y = Add(x, m) }""",
    ),
    _deceiver(
        "half_precision_by_the_maximum",
        "(float16[N,8] x) => (float16[N,8] y) { a = Abs(x) m = ReduceMax<keepdims=0>(a) y = Div(x, m) }",
    ),
)
DECEIVERS = (
    *SIDE_INPUTS, *INTEGERS, *PADDING, *TOKENS, *LOOPS, *ZEROS, *EXPERTS, *DUPLICATES, *LABELS, *SCALES, *SIZES,
    *EXTREMES, *OTHERS,
)  # fmt: skip


# --- honest models of the same operators ----------------------------------------------------------------------------


def _honest(name: str, graph: str) -> Trap:
    return Trap(name, graph, "batchable")


HONEST = (
    _honest(
        "temperature_of_each_row",
        "(float[N,8] logits, float[N,1] temperature) => (float[N,8] y) { d = Div(logits, temperature) y = Softmax<axis=1>(d) }",
    ),
    _honest(
        "conf_threshold_of_each_row",
        """(float[N,6] scores, float[N,1] conf_threshold) => (float[N,6] y) {
            k = Greater(scores, conf_threshold) f = Cast<to=1>(k) y = Mul(f, scores)
        }""",
    ),
    _honest(
        "orig_target_sizes_of_each_row",
        """(float[N,3,8,8] images, int64[N,2] orig_target_sizes) => (float[N,2] boxes) <int64[1] a = {1}> {
            f = Cast<to=1>(orig_target_sizes) m = ReduceMean<axes=[1,2,3], keepdims=0>(images) u = Unsqueeze(m, a)
            boxes = Mul(u, f)
        }""",
    ),
    _honest(
        "sampling_rate_of_each_row",
        """(float[N,16] audio, int64[N] sampling_rate) => (float[N,16] y) <float k = {16000.0}, int64[1] a = {1}> {
            f = Cast<to=1>(sampling_rate) q = Div(f, k) u = Unsqueeze(q, a) y = Mul(audio, u)
        }""",
    ),
    _honest(
        "speaker_of_each_row",
        "(float[N,3] x, int64[N] sid) => (float[N,3] y) " + _TABLE + " { e = Gather(table, sid) y = Add(x, e) }",
    ),
    _honest(
        "bytes_by_the_maximum_of_their_row",
        """(uint8[N,3,16,16] image) => (float[N,3,16,16] y) <float one = {1.0}> {
            f = Cast<to=1>(image) m = ReduceMax<axes=[1,2,3], keepdims=1>(f) d = Max(m, one) y = Div(f, d)
        }""",
    ),
    _honest(
        "normalised_by_row",
        """(float[N,3,8,8] x) => (float[N,3,8,8] y) <float[3] scale = {1,2,3}, float[3] bias = {0,1,0}> {
            y = InstanceNormalization(x, scale, bias)
        }""",
    ),
    _honest(
        "layer_normalised",
        """(float[N,8] x) => (float[N,8] y) <float[8] scale = {1,2,3,1,2,3,1,2}, float[8] bias = {0,1,0,1,0,1,0,1}> {
            y = LayerNormalization<axis=-1>(x, scale, bias)
        }""",
    ),
    _honest(
        "attention_with_padding",
        """(int64[N,seq] ids, int64[N,seq] attention_mask) => (float[N,3] y)
        <float[5,3] table = {0.1,0.2,0.3,0.4,-0.5,0.6,0.7,0.8,-0.9,1.0,1.1,1.2,-1.3,1.4,1.5}, int64[1] a1 = {1},
        int64[1] a2 = {2}, float one = {1.0}, float low = {-10000.0}> {
            e = Gather(table, ids) t = Transpose<perm=[0,2,1]>(e) s = MatMul(e, t)
            m = Cast<to=1>(attention_mask) k = Sub(one, m) p = Mul(k, low) u = Unsqueeze(p, a1) l = Add(s, u)
            w = Softmax<axis=2>(l) c = MatMul(w, e) q = Unsqueeze(m, a2) d = Mul(c, q) n = ReduceSum<keepdims=0>(d, a1)
            g = ReduceSum<keepdims=1>(m, a1) h = Max(g, one) y = Div(n, h)
        }""",
    ),
    _honest(
        "pooled_by_length",
        """(float[N,seq,4] x, int64[N] lengths) => (float[N,4] y)
        <int64 zero = {0}, int64 step = {1}, int64[1] a1 = {1}, int64[1] a2 = {2}, int64[1] flat = {-1}, float one = {1.0}> {
            s = Shape<start=1, end=2>(x) q = Squeeze(s) r = Range(zero, q, step) u = Unsqueeze(lengths, a1) c = Less(r, u)
            k = Cast<to=1>(c) m = Unsqueeze(k, a2) v = Mul(x, m) t = ReduceSum<keepdims=0>(v, a1)
            f = Cast<to=1>(lengths) g = Unsqueeze(f, a1) h = Max(g, one) y = Div(t, h)
        }""",
    ),
    _honest(
        "length_by_pad_id",
        """(int64[N,seq] ids) => (float[N,1] y) <int64 pad = {0}, int64[1] axis = {1}, float one = {1.0}> {
            f = Cast<to=1>(ids) e = Equal(ids, pad) n = Not(e) k = Cast<to=1>(n) l = ReduceSum<keepdims=1>(k, axis)
            d = Max(l, one) s = ReduceSum<keepdims=1>(f, axis) y = Div(s, d)
        }""",
    ),
    _honest(
        "special_token_in_its_row",
        """(int64[N,seq] ids) => (float[N,seq] y) <int64 special = {103}, int64[1] axis = {1}> {
            e = Equal(ids, special) k = Cast<to=1>(e) any = ReduceMax<axes=[1], keepdims=1>(k) f = Cast<to=1>(ids) y = Add(f, any)
        }""",
    ),
    _honest("best_three_of_each_row", "(float[N,9] x) => (float[N,3] y, int64[N,3] i) <int64[1] k = {3}> { y, i = TopK<axis=1>(x, k) }"),
    _honest(
        "quantised_by_a_constant",
        "(float[N,4] x) => (float[N,3] y) <uint8[4,3] w = {200,90,130,50,160,140,170,100,190,120,210,70}, "
        "uint8 zero = {128}, float s = {0.02}> { q = QuantizeLinear(x, s, zero) i = MatMulInteger(q, w, zero, zero) "
        "f = Cast<to=1>(i) g = Mul(f, s) y = Mul(g, s) }",
    ),
    _honest(
        "label_of_a_model_quantised_by_a_constant",
        "(float[N,4] x) => (int64[N] y) <uint8[4,3] w = {200,90,130,50,160,140,170,100,190,120,210,70}, "
        "uint8 zero = {128}, float s = {0.02}> { q = QuantizeLinear(x, s, zero) i = MatMulInteger(q, w, zero, zero) "
        "y = ArgMax<axis=1, keepdims=0>(i) }",
    ),
    _honest(
        "recurrent_with_transposes",
        """(float[N,time,2] x) => (float[N,3] y)
        <float[1,12,2] w = {0.1,0.2,-0.3,0.4,0.5,-0.6,0.7,0.8,-0.9,0.1,0.2,-0.3,0.4,0.5,-0.6,0.7,0.8,-0.9,0.1,0.2,0.3,0.4,-0.5,0.6},
        float[1,12,3] r = {0.1,0.2,-0.3,0.4,0.5,-0.6,0.7,0.8,-0.9,0.1,0.2,-0.3,0.4,0.5,-0.6,0.7,0.8,-0.9,0.1,0.2,0.3,0.4,-0.5,0.6,0.1,-0.2,0.3,0.4,0.5,-0.6,0.7,0.8,-0.9,0.1,0.2,-0.3},
        int64[1] a = {0}> {
            t = Transpose<perm=[1,0,2]>(x) all, h, c = LSTM<hidden_size=3>(t, w, r) y = Squeeze(h, a)
        }""",
    ),
    _honest(
        "boxes_of_4k_and_scores",
        """(float[N,3,16,16] image) => (float[N,4] boxes, float[N,6] scores)
        <float[10,3,3,3] w0 = {""" + ",".join(str(((7 * i) % 19 - 9) / 30) for i in range(270)) + """}, float big = {3840.0},
        int64[2] s = {4,6}> {
            f = Conv<pads=[1,1,1,1], strides=[2,2]>(image, w0) g = Relu(f) p = GlobalAveragePool(g) l = Flatten<axis=1>(p)
            o = Sigmoid(l) b, scores = Split<axis=1>(o, s) boxes = Mul(b, big)
        }""",
    ),
    _honest(
        "chosen_expert_without_a_capacity",
        """(float[N,4] x) => (float[N,4] y) <int64 depth = {4}, float[2] onoff = {0,1}> {
            e = ArgMax<axis=1, keepdims=0>(x) h = OneHot(e, depth, onoff) y = Mul(x, h)
        }""",
    ),
    _honest(
        "loop_of_a_fixed_count",
        """(float[N,4] x) => (float[N,4] y) <int64 most = {5}, bool go = {1}> {
            y = Loop<body = step (int64 i, bool c, float[N,4] h) => (bool more, float[N,4] next) <float rate = {0.7}> {
                next = Mul(h, rate) more = Identity(c)
            }>(most, go, x)
        }""",
    ),
    _honest(
        "nearest_of_the_training_points",
        """(float[N,2] x) => (int64[N] y, float[N] d) <float[1,3,2] points = {0.5,0.5,-1.0,2.0,3.0,-2.0}, int64[1] a1 = {1}, int64[1] a2 = {2}> {
            u = Unsqueeze(x, a1) s = Sub(u, points) q = Mul(s, s) t = ReduceSum<keepdims=0>(q, a2)
            y = ArgMin<axis=1, keepdims=0>(t) d = ReduceMin<axes=[1], keepdims=0>(t)
        }""",
    ),
    _honest(
        "reshaped_by_its_own_shape",
        """(float[N,4,2] x) => (float[N,8] y) <int64[1] rest = {-1}> {
            n = Shape<start=0, end=1>(x) s = Concat<axis=0>(n, rest) r = Reshape(x, s) y = Softmax<axis=1>(r)
        }""",
    ),
    _honest(
        "running_sum_along_the_row",
        "(float[N,6] x) => (float[N,6] y) <int64 axis = {1}> { y = CumSum(x, axis) }",
    ),
    _honest(
        "clipped_at_a_hundred_thousand",
        "(float[N,4] x) => (float[N,4] y) <float low = {-100000.0}, float high = {100000.0}> { y = Clip(x, low, high) }",
    ),
    _honest(
        "words_of_each_row",
        """(string[N] text, float[N,1] x) => (float[N,1] y) <int64[1] a = {1}> {
            e = ai.onnx.ml.LabelEncoder<keys_strings=["", "the"], values_floats=[1.0, 2.0], default_float=0.5>(text)
            u = Unsqueeze(e, a) y = Add(x, u)
        }""",
    ),
)  # fmt: skip


# --- kinds that came later, and were not looked at while the proof was written ---------------------------------------

UNSEEN = (
    _deceiver(
        "sum_of_ids_beyond_a_limit",
        "(int64[N,seq] ids) => (float[N,seq] y) <int64 t = {5000}> { s = ReduceSum<keepdims=0>(ids) c = Greater(s, t) k = Cast<to=1>(c) f = Cast<to=1>(ids) y = Add(f, k) }",
    ),
    _deceiver(
        "first_feature_near_one_in_any_row",
        "(float[N,4] x) => (float[N,4] y) <int64[1] i = {0}, float low = {0.995}, float high = {1.001}> { f = Gather<axis=1>(x, i) a = Greater(f, low) b = Less(f, high) c = And(a, b) k = Cast<to=1>(c) m = ReduceMax<keepdims=0>(k) y = Add(x, m) }",
    ),
    _deceiver(
        "spread_over_the_batch",
        "(float[N,6] x) => (float[N,6] y) <float e = {0.000001}> { m = ReduceMean<axes=[0]>(x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean<axes=[0]>(q) w = Add(v, e) s = Sqrt(w) y = Div(d, s) }",
    ),
    _deceiver(
        "previous_row_added",
        "(float[N,4] x) => (float[N,4] y) <int64[2] front = {1,0}, int64[2] back = {0,0}, int64[1] z = {0}, int64[1] e = {-1}, int64[4] pads = {1,0,0,0}, float w = {0.001}> { a = Slice(x, z, e, z) b = Pad(a, pads) c = Mul(b, w) y = Add(x, c) }",
    ),
    _deceiver(
        "best_k_of_all_rows",
        "(float[N,4] x) => (float[N,4] y) <int64[1] flat = {-1}, int64[1] k = {2}, float zero = {0.0}> { r = Reshape(x, flat) v, i = TopK<axis=0>(r, k) m = ReduceMin<keepdims=0>(v) c = GreaterOrEqual(x, m) y = Where(c, x, zero) }",
    ),
    _deceiver(
        "a_row_of_equal_numbers",
        "(float[N,4] x) => (float[N,4] y) <int64[1] a = {1}> { h = ReduceMax<axes=[1], keepdims=1>(x) l = ReduceMin<axes=[1], keepdims=1>(x) e = Equal(h, l) k = Cast<to=1>(e) m = ReduceMax<keepdims=0>(k) y = Sub(x, m) }",
    ),
    _deceiver(
        "logits_by_the_log_sum_of_all",
        "(float[N,5] x) => (float[N,5] y) { s = ReduceLogSumExp<keepdims=0>(x) y = Sub(x, s) }",
    ),
    _deceiver(
        "halves_swapped",
        "(float[N,4] x) => (float[N,4] y) <int64[2] s = {2,-1}, int64[1] f = {0}, int64[2] back = {-1,4}> { y0 = Reshape(x, back) a = Shape<start=0, end=1>(x) i = Cast<to=1>(a) m = ReduceMean<axes=[0]>(y0) n = Div(m, i) y = Sub(x, n) }",
    ),
    _deceiver(
        "votes_of_all_rows",
        "(float[N,3] x) => (int64[N] y) <int64 depth = {3}, float[2] onoff = {0,1}, int64[1] a = {0}, float w = {0.01}> { e = ArgMax<axis=1, keepdims=0>(x) h = OneHot(e, depth, onoff) v = ReduceSum<keepdims=1>(h, a) s = Mul(v, w) z = Add(x, s) y = ArgMax<axis=1, keepdims=0>(z) }",
    ),
    _deceiver(
        "attention_over_the_batch",
        "(float[N,4] x) => (float[N,4] y) { t = Transpose<perm=[1,0]>(x) s = MatMul(x, t) w = Softmax<axis=1>(s) y = MatMul(w, x) }",
    ),
    _deceiver(
        "bytes_in_the_dark",
        "(uint8[N,3,8,8] x) => (uint8[N,3,8,8] y) <float t = {40.0}, uint8 one = {1}, uint8 zero = {0}> { f = Cast<to=1>(x) m = ReduceMean<keepdims=0>(f) c = Less(m, t) k = Where(c, one, zero) y = Add(x, k) }",
    ),
    _deceiver(
        "noise_by_a_seed_of_the_first_row",
        "(float[N,4] x, int64[N,1] seed) => (float[N,4] y) <int64[1] i = {0}> { s = Gather<axis=0>(seed, i) f = Cast<to=1>(s) r = Sin(f) y = Add(x, r) }",
    ),
    _deceiver(
        "as_many_steps_as_the_longest",
        """(float[N,4] x, int64[N] steps) => (float[N,4] y) <bool go = {1}> {
            m = ReduceMax<keepdims=0>(steps)
            y = Loop<body = step (int64 i, bool c, float[N,4] h) => (bool more, float[N,4] next) <float rate = {0.9}> {
                next = Mul(h, rate) more = Identity(c)
            }>(m, go, x)
        }""",
    ),
    _deceiver(
        "one_hot_of_the_best_row",
        "(float[N,4] x) => (float[N,4] y) <float w = {0.1}> { a = Hardmax<axis=0>(x) b = Mul(a, w) y = Add(x, b) }",
    ),
    _deceiver(
        "median_of_the_batch",
        "(float[N,4] x) => (float[N,4] y) <int64[1] one = {1}, int64[1] a = {0}, int64[1] two = {2}> { n = Shape<start=0, end=1>(x) v, i = TopK<axis=0>(x, n) h = Div(n, two) m = Gather<axis=0>(v, h) y = Sub(x, m) }",
    ),
    _deceiver(
        "double_precision_a_little_mixed",
        "(double[N,4] x) => (double[N,4] y) <double w = {0.0000000001}> { m = ReduceMean<axes=[0]>(x) s = Mul(m, w) y = Add(x, s) }",
    ),
    _deceiver(
        "label_by_the_mean_of_the_batch",
        "(float[N,4] x) => (int64[N] y) <float w = {0.001}> { m = ReduceMean<axes=[0]>(x) n = Mul(m, w) d = Add(x, n) y = ArgMax<axis=1, keepdims=0>(d) }",
    ),
    _deceiver(
        "all_rows_alike_share",
        "(float[N,4] x) => (float[N,4] y) <float zero = {0.0}> { h = ReduceMax<axes=[0]>(x) l = ReduceMin<axes=[0]>(x) d = Sub(h, l) s = ReduceMax<keepdims=0>(d) e = Greater(s, zero) k = Cast<to=1>(e) y = Add(x, k) }",
    ),
    _deceiver(
        "true_in_every_row",
        "(bool[N,4] x, float[N,4] z) => (float[N,4] y) { f = Cast<to=1>(x) m = ReduceMin<keepdims=0>(f) y = Add(z, m) }",
    ),
    _deceiver(
        "text_of_the_longest_word",
        """(string[N] a, string[N] b) => (string[N] c) {
            i = ai.onnx.ml.LabelEncoder<keys_strings=["the","dog"], values_floats=[1.0,2.0], default_float=0.0>(a)
            m = ReduceMax<keepdims=0>(i) n = Cast<to=8>(m) c = StringConcat(b, n)
        }""",
    ),
)
