"""Each recipe: what it makes loads, is smaller, and answers nearly the same."""

import os

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from rig import FLOAT, Tools, answers, kinds, model, node, perceptron
from test_rewrites import GELUS, activation


class Quantize(Tools):
    def near(self, path, out, inputs, session=None, within=0.1):
        for want, have in zip(answers(path, inputs), answers(out, inputs, session), strict=True):
            self.assertLess(np.abs(want - have).max(), within * np.abs(want).max())

    def of_perceptron(self, recipe, shape=(32,), within=0.1):
        if recipe["kind"] in ("static", "dynamic"):
            # Sums of 16 bits saturate on a CPU without VNNI; of weights of 7 bits they don't: one answer on all.
            recipe = {"reduce_range": True, **recipe}
        whole = perceptron(self.rng, shape)
        rows = self.rows()
        path, samples = self.save(whole), self.samples(rows)
        ranges = self.ranges(path, samples) if recipe["kind"] in ("static", "hybrid") else None
        out, reply = self.quantized(path, recipe, ranges)
        self.near(path, out, rows[0], reply["session"], within)
        return out, reply

    def test_static_has_unsigned_activations_and_signed_weights(self):
        for per_channel in (False, True):
            out, reply = self.of_perceptron({"kind": "static", "ops": ["Gemm", "MatMul"], "per_channel": per_channel})
            self.assertEqual(reply, {"quantized": {"Gemm": 1, "MatMul": 1}, "left": [], "session": {}})
            whole = onnx.load(out)
            zeros = {
                tensor.name: tensor.data_type for tensor in whole.graph.initializer if tensor.name.endswith("zero_point")
            }
            self.assertEqual(zeros["x_zero_point"], TensorProto.UINT8)
            self.assertEqual(zeros["w1_zero_point"], TensorProto.INT8)

    def test_static_per_channel_works_with_a_gemm_bias_of_two_dimensions(self):
        for shape in ((1, 32), (32,), (1,), ()):
            _, reply = self.of_perceptron({"kind": "static", "ops": ["Gemm"], "per_channel": True}, shape)
            self.assertEqual(reply["quantized"], {"Gemm": 1})

    def test_a_bias_of_a_channel_with_tiny_weights_is_kept(self):
        whole = perceptron(self.rng)
        weight = self.rng.normal(size=(16, 32)).astype(np.float32)
        weight[:, 3] = 1e-12
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
        bias = np.zeros(32, np.float32)
        bias[3] = 100
        whole.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "b1"))
        rows = self.rows()
        path = self.save(whole)
        recipe = {"kind": "static", "ops": ["Gemm"], "per_channel": True, "reduce_range": True}
        out, _ = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
        self.near(path, out, rows[0])

    def test_static_sees_weights_that_are_constants(self):
        weight = numpy_helper.from_array(self.rng.normal(size=(16, 16)).astype(np.float32))
        nodes = [node("Constant", [], ["w"], value=weight), node("MatMul", ["x", "w"], ["y"])]
        path = self.save(model(nodes, {"x": [1, 16]}, {"y": [1, 16]}, {}))
        recipe = {"kind": "static", "ops": ["MatMul"], "per_channel": True}
        _, reply = self.quantized(path, recipe, self.ranges(path, self.samples(self.rows())))
        self.assertEqual(reply["quantized"], {"MatMul": 1})

    def test_static_of_convolutions_leaves_what_is_kept(self):
        nodes = [
            node("Conv", ["x", "w"], ["h"], "one"),
            node("Relu", ["h"], ["r"]),
            node("Conv", ["r", "w", "b"], ["y"], "two"),
        ]
        weights = {"w": self.rng.normal(size=(8, 8, 3, 3)).astype(np.float32), "b": np.ones(8, np.float32)}
        path = self.save(model(nodes, {"x": [1, 8, 9, 9]}, {"y": [1, 8, 5, 5]}, weights))
        inputs = [{"x": self.rng.normal(size=(1, 8, 9, 9)).astype(np.float32)} for _ in range(8)]
        ranges = self.ranges(path, self.samples(inputs))
        recipe = {"kind": "static", "ops": ["Conv"], "keep": ["one"], "per_channel": True, "reduce_range": True}
        out, reply = self.quantized(path, recipe, ranges)
        self.assertEqual(reply["quantized"], {"Conv": 1})
        self.assertEqual(reply["left"], [{"node": "one", "op": "Conv", "why": "the recipe keeps it"}])
        self.near(path, out, inputs[0])

    def test_a_product_of_two_activations_is_left(self):
        nodes = [node("MatMul", ["x", "w"], ["h"], "weights"), node("MatMul", ["h", "h"], ["y"], "activations")]
        weights = {"w": self.rng.normal(size=(16, 16)).astype(np.float32)}
        path = self.save(model(nodes, {"x": [16, 16]}, {"y": [16, 16]}, weights))
        rows = [{"x": self.rng.normal(size=(16, 16)).astype(np.float32)}]
        recipe = {"kind": "static", "ops": ["MatMul"]}
        _, reply = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
        self.assertEqual(reply["left"], [{"node": "activations", "op": "MatMul", "why": "it has no constant weight"}])

    def test_a_gather_of_one_number_from_a_range_is_not_broken(self):
        nodes = [
            node("Range", ["zero", "four", "one"], ["steps"]),
            node("Gather", ["steps", "two"], ["step"]),
            node("Cast", ["step"], ["float"], to=FLOAT),
            node("MatMul", ["x", "w"], ["h"]),
            node("Mul", ["h", "float"], ["y"]),
        ]
        weights = {name: np.array(value, np.int64) for name, value in {"zero": 0, "four": 4, "one": 1, "two": 2}.items()}
        weights["w"] = self.rng.normal(size=(16, 16)).astype(np.float32)
        path = self.save(model(nodes, {"x": [1, 16]}, {"y": [1, 16]}, weights))
        for kind in ("static", "dynamic"):
            recipe = {"kind": kind, "ops": ["MatMul", "Gather"], "reduce_range": True}
            rows = self.rows()
            out, _ = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
            self.near(path, out, rows[0])

    def test_gelu_that_was_fused_before_stays_fused(self):
        steps, numbers = GELUS["torch"]
        out, _ = self.rewritten(activation(self.rng, steps, numbers), "gelu")
        samples = self.samples([{"in": self.rng.normal(size=(2, 16)).astype(np.float32)} for _ in range(8)])
        ranges = self.ranges(out, samples)
        variant, reply = self.quantized(out, {"kind": "static", "ops": ["MatMul"], "per_channel": True}, ranges)
        self.assertEqual(reply["quantized"], {"MatMul": 2})
        self.assertIn("Gelu", kinds(variant))

    def test_dynamic_is_of_matmul_and_gemm(self):
        for per_channel in (False, True):
            out, reply = self.of_perceptron({"kind": "dynamic", "ops": ["Gemm", "MatMul"], "per_channel": per_channel})
            self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
            self.assertEqual(kinds(out).count("MatMulInteger"), 2)

    def test_dynamic_leaves_a_gemm_that_is_kept(self):
        out, reply = self.of_perceptron({"kind": "dynamic", "ops": ["Gemm", "MatMul"], "keep": ["first"]})
        self.assertEqual(reply["quantized"], {"MatMul": 1})
        self.assertEqual(kinds(out).count("MatMulInteger"), 1)
        self.assertEqual(reply["left"], [{"node": "first", "op": "Gemm", "why": "the recipe keeps it"}])

    def recurrent(self):
        nodes = [
            node("Conv", ["x", "k"], ["c"], "conv"),
            node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
            node("LSTM", ["t", "w", "r", "b"], ["", "h"], "lstm", hidden_size=8),
            node("Squeeze", ["h", "axis"], ["y"]),
        ]
        shapes = {"k": (8, 4, 3), "w": (1, 32, 8), "r": (1, 32, 8), "b": (1, 64)}
        weights = {name: self.rng.normal(size=shape).astype(np.float32) * np.float32(0.3) for name, shape in shapes.items()}
        weights["axis"] = np.array([0], np.int64)
        samples = [{"x": self.rng.normal(size=(1, 4, 12)).astype(np.float32)} for _ in range(8)]
        return self.save(model(nodes, {"x": [1, 4, 12]}, {"y": [1, 8]}, weights)), samples

    def test_a_hybrid_has_static_convolutions_and_a_dynamic_lstm(self):
        path, samples = self.recurrent()
        ranges = self.ranges(path, self.samples(samples))
        for per_channel in (False, True):
            half = {"per_channel": per_channel, "reduce_range": True}
            recipe = {"kind": "hybrid", "static": {"ops": ["Conv"], **half}, "dynamic": {"ops": ["LSTM"], **half}}
            out, reply = self.quantized(path, recipe, ranges)
            self.assertEqual(reply, {"quantized": {"Conv": 1, "LSTM": 1}, "left": [], "session": {}})
            self.assertIn("DynamicQuantizeLSTM", kinds(out))
            self.near(path, out, samples[0])

    def test_a_kind_in_both_halves_of_a_hybrid_is_refused(self):
        path, samples = self.recurrent()
        recipe = {"kind": "hybrid", "static": {"ops": ["MatMul"]}, "dynamic": {"ops": ["MatMul"]}}
        ranges = self.ranges(path, self.samples(samples))
        self.refused("quantize", "both in the static and", model=path, out=self.path("out"), recipe=recipe, ranges=ranges)

    def test_weights_in_8_bits_say_the_session_entry_they_want(self):
        out, reply = self.of_perceptron({"kind": "weights", "bits": 8}, within=0.02)
        self.assertEqual(reply["session"], {"session.disable_quant_qdq": "1"})
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        self.assertLess(os.path.getsize(out), os.path.getsize(self.path("model.onnx")) / 2)

    def test_weights_in_8_bits_are_of_convolutions_tables_and_lstms_too(self):
        path, samples = self.recurrent()
        out, reply = self.quantized(path, {"kind": "weights", "bits": 8})
        self.assertEqual(reply["left"], [{"node": "conv", "op": "Conv", "why": "its weight has fewer than 256 numbers"}])
        self.near(path, out, samples[0], reply["session"], 0.02)

    def test_weights_in_4_bits_are_in_blocks(self):
        for block in (16, 32, 64):
            recipe = {"kind": "weights", "bits": 4, "block": block}
            out, reply = self.of_perceptron(recipe, within=0.3)
            self.assertEqual(reply["quantized"], {"MatMul": 1})
            self.assertIn("MatMulNBits", kinds(out))

    def test_storage_is_16_bits_in_the_file_and_32_in_the_sum(self):
        for kind, within in (("fp16", 0.002), ("bf16", 0.02)):
            out, reply = self.of_perceptron({"kind": "storage", "type": kind}, within=within)
            self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
            self.assertLess(os.path.getsize(out), os.path.getsize(self.path("model.onnx")) * 0.7)

    def test_weights_that_fp16_can_not_hold_are_left(self):
        whole = perceptron(self.rng)
        weight = self.rng.normal(size=(16, 32)).astype(np.float32)
        weight[0, 0] = 1e6
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
        path = self.save(whole)
        _, reply = self.quantized(path, {"kind": "storage", "type": "fp16"})
        self.assertEqual(
            reply["left"], [{"node": "first", "op": "Gemm", "why": "its weight has numbers that 16 bits can't hold"}]
        )
        self.assertEqual(self.quantized(path, {"kind": "storage", "type": "bf16"})[1]["left"], [])

    def test_static_for_tensorrt_has_zero_points_of_zero_and_biases_in_floats(self):
        recipe = {"kind": "static", "ops": ["Gemm", "MatMul"], "per_channel": True, "for": "tensorrt"}
        out, reply = self.of_perceptron(recipe, within=0.3)
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        whole = onnx.load(out)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
        for one in whole.graph.node:
            if one.op_type in ("QuantizeLinear", "DequantizeLinear"):
                zero = weights[one.input[2]]
                self.assertEqual((zero.dtype, zero.any()), (np.int8, False))
        self.assertEqual(weights["b1"].dtype, np.float32)
        onnx.checker.check_model(whole)

    def test_half_computes_in_16_bits_between_inputs_and_outputs_of_32(self):
        out, reply = self.of_perceptron({"kind": "half"}, within=0.01)
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        whole = onnx.load(out)
        self.assertEqual(whole.graph.input[0].type.tensor_type.elem_type, FLOAT)
        self.assertTrue(all(tensor.data_type == TensorProto.FLOAT16 for tensor in whole.graph.initializer))
        onnx.checker.check_model(whole)
        out, reply = self.of_perceptron({"kind": "half", "keep": ["first"]}, within=0.01)
        self.assertEqual(reply["left"], [{"node": "first", "op": "Gemm", "why": "the recipe keeps it"}])

    def test_half_of_bf16_rounds_the_weights_of_32_bits_once(self):
        whole = perceptron(self.rng)
        # Below what FP16 holds: by way of it they would be another number, or none.
        tiny = (self.rng.normal(size=(16, 32)) * 1e-9).astype(np.float32)
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(tiny, "w1"))
        path = self.save(whole)
        out, reply = self.quantized(path, {"kind": "half", "type": "bf16"})
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        made = onnx.load(out)
        kept = {tensor.name: tensor for tensor in made.graph.initializer}
        self.assertTrue(all(tensor.data_type == TensorProto.BFLOAT16 for tensor in kept.values()))
        np.testing.assert_allclose(numpy_helper.to_array(kept["w1"]).astype(np.float32), tiny, rtol=2**-8)
        casts = [one.attribute[0].i for one in made.graph.node if one.op_type == "Cast"]
        self.assertEqual(sorted(casts), [FLOAT, TensorProto.BFLOAT16])
        self.assertEqual([value.type.tensor_type.elem_type for value in (*made.graph.input, *made.graph.output)], [FLOAT] * 2)

    def test_half_of_bf16_is_made_of_32_bits_and_of_operators_that_have_it(self):
        path = self.save(perceptron(self.rng))
        half, _ = self.quantized(path, {"kind": "half"})
        bf16 = {"kind": "half", "type": "bf16"}
        self.refused("quantize", "has FP16 already", model=half, out=self.path("out2"), recipe=bf16)
        old = self.save(perceptron(self.rng, opset=11), "old.onnx")
        self.refused("quantize", "BF16 wants opset 13", model=old, out=self.path("out2"), recipe=bf16)

    def test_recipes_can_follow_each_other(self):
        path, samples = self.recurrent()
        ranges = self.ranges(path, self.samples(samples))
        out, _ = self.quantized(path, {"kind": "static", "ops": ["Conv"], "per_channel": True, "reduce_range": True}, ranges)
        after = self.path("after.onnx")
        self.good("quantize", model=out, out=after, recipe={"kind": "storage", "type": "fp16"})
        self.near(path, after, samples[0])
        self.assertLess(os.path.getsize(after), os.path.getsize(out))

    def test_recipes_that_are_none_are_refused(self):
        path = self.save(perceptron(self.rng))
        ranges = self.ranges(path, self.samples(self.rows()))
        for recipe, words in (
            ({"kind": "magic"}, "'kind' must be one of static"),
            ({"kind": "static"}, "no 'ops'"),
            ({"kind": "static", "ops": ["LSTM"]}, "no such quantization of LSTM"),
            ({"kind": "dynamic", "ops": ["Conv"]}, "no such quantization of Conv"),
            ({"kind": "static", "ops": ["MatMul"], "keep": ["nobody"]}, "'nobody', which is no node of the model"),
            ({"kind": "static", "ops": ["MatMul"], "per_channel": 1}, "'per_channel' must be true or false"),
            ({"kind": "static", "ops": ["MatMul"], "speed": 9}, "no field 'speed'"),
            ({"kind": "static", "ops": ["Conv"]}, "no node that the recipe is for"),
            ({"kind": "weights", "bits": 3}, "'bits' must be one of 8, 4"),
            ({"kind": "storage", "type": "fp8"}, "'type' must be one of fp16, bf16"),
        ):
            self.refused("quantize", words, model=path, out=self.path("out"), recipe=recipe, ranges=ranges)
        self.refused(
            "quantize", "wants 'ranges'", model=path, out=self.path("out"), recipe={"kind": "static", "ops": ["MatMul"]}
        )

    def test_an_old_opset_is_refused_with_what_to_do(self):
        path = self.save(perceptron(self.rng, opset=11))
        ranges = self.ranges(path, self.samples(self.rows()))
        recipe = {"kind": "static", "ops": ["MatMul"]}
        self.refused(
            "quantize", "rewrite it with 'opset' first", model=path, out=self.path("out"), recipe=recipe, ranges=ranges
        )
