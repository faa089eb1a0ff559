"""A model enters, a smaller equal one leaves: what is constant is computed, what does nothing is taken out. onnxsim does
it.
"""

from collections import Counter

from ..refusal import Refused, one_line

# A product with more than two dimensions as a Gemm has a Reshape before and after, and shapes to compute.
LEFT_OUT = ["fuse_matmul_add_bias_into_gemm_batched"]

# Larger constants than this aren't made: folding must not make a model heavier.
FOLDED_BYTES = "1MB"


def apply(model):
    import onnxsim

    before = kinds(model)
    try:
        simplified, _ = onnxsim.simplify(model, check_n=0, skipped_optimizers=LEFT_OUT, tensor_size_threshold=FOLDED_BYTES)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"onnxsim doesn't simplify the model: {one_line(error)}") from error
    after = kinds(simplified)
    if before == after:
        return None
    model.CopyFrom(simplified)
    gone = before - after
    return f"{sum(before.values())} nodes to {sum(after.values())}, without " + ", ".join(
        f"{count} {kind}" for kind, count in gone.most_common(4)
    )


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)
