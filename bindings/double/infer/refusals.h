// What the double's network can't do: everything but to be filled by the double's parser. Each call says so
// and gives nothing, as TensorRT does with what it doesn't support.
#pragma once

#include <string>

#include "NvInfer.h"
#include "voice.h"

namespace infer {

using namespace nvinfer1;

class Refusals : public apiv::VNetworkDefinition {
 protected:
  Voice voice_;

 private:
  struct Nothing {
    template <typename Object>
    operator Object*() const {
      return nullptr;
    }
    operator bool() const { return false; }
  };

  Nothing refuse(const char* call) const {
    voice_.error("INetworkDefinition", ErrorCode::kUNSUPPORTED_STATE,
                 std::string(call) + ": the double takes networks from its ONNX parser only");
    return {};
  }

 public:
  // clang-format off
    IActivationLayer* addActivation(ITensor&, ActivationType) noexcept override { return refuse("addActivation"); }
    ILRNLayer* addLRN(ITensor&, int64_t, float, float, float) noexcept override { return refuse("addLRN"); }
    IScaleLayer* addScale(ITensor&, ScaleMode, Weights, Weights, Weights) noexcept override { return refuse("addScale"); }
    ISoftMaxLayer* addSoftMax(ITensor&) noexcept override { return refuse("addSoftMax"); }
    IConcatenationLayer* addConcatenation(ITensor* const*, int32_t) noexcept override { return refuse("addConcatenation"); }
    IElementWiseLayer* addElementWise(ITensor&, ITensor&, ElementWiseOperation) noexcept override { return refuse("addElementWise"); }
    IUnaryLayer* addUnary(ITensor&, UnaryOperation) noexcept override { return refuse("addUnary"); }
    IShuffleLayer* addShuffle(ITensor&) noexcept override { return refuse("addShuffle"); }
    IReduceLayer* addReduce(ITensor&, ReduceOperation, uint32_t, bool) noexcept override { return refuse("addReduce"); }
    ITopKLayer* addTopK(ITensor&, TopKOperation, int32_t, uint32_t) noexcept override { return refuse("addTopK"); }
    IGatherLayer* addGather(ITensor&, ITensor&, int32_t) noexcept override { return refuse("addGather"); }
    IRaggedSoftMaxLayer* addRaggedSoftMax(ITensor&, ITensor&) noexcept override { return refuse("addRaggedSoftMax"); }
    IMatrixMultiplyLayer* addMatrixMultiply(ITensor&, MatrixOperation, ITensor&, MatrixOperation) noexcept override { return refuse("addMatrixMultiply"); }
    IConstantLayer* addConstant(Dims const&, Weights) noexcept override { return refuse("addConstant"); }
    IIdentityLayer* addIdentity(ITensor&) noexcept override { return refuse("addIdentity"); }
    void removeTensor(ITensor&) noexcept override { refuse("removeTensor"); }
    void unmarkOutput(ITensor&) noexcept override { refuse("unmarkOutput"); }
    IPluginV2Layer* addPluginV2(ITensor* const*, int32_t, IPluginV2&) noexcept override { return refuse("addPluginV2"); }
    IPluginV3Layer* addPluginV3(ITensor* const*, int32_t, ITensor* const*, int32_t, IPluginV3&) noexcept override { return refuse("addPluginV3"); }
    ISliceLayer* addSlice(ITensor&, Dims const&, Dims const&, Dims const&) noexcept override { return refuse("addSlice"); }
    IShapeLayer* addShape(ITensor&) noexcept override { return refuse("addShape"); }
    bool markOutputForShapes(ITensor&) noexcept override { return refuse("markOutputForShapes"); }
    bool unmarkOutputForShapes(ITensor&) noexcept override { return refuse("unmarkOutputForShapes"); }
    IParametricReLULayer* addParametricReLU(ITensor&, ITensor&) noexcept override { return refuse("addParametricReLU"); }
    IConvolutionLayer* addConvolutionNd(ITensor&, int64_t, Dims const&, Weights, Weights) noexcept override { return refuse("addConvolutionNd"); }
    IPoolingLayer* addPoolingNd(ITensor&, PoolingType, Dims const&) noexcept override { return refuse("addPoolingNd"); }
    IDeconvolutionLayer* addDeconvolutionNd(ITensor&, int64_t, Dims const&, Weights, Weights) noexcept override { return refuse("addDeconvolutionNd"); }
    IScaleLayer* addScaleNd(ITensor&, ScaleMode, Weights, Weights, Weights, int32_t) noexcept override { return refuse("addScaleNd"); }
    IResizeLayer* addResize(ITensor&) noexcept override { return refuse("addResize"); }
    ILoop* addLoop() noexcept override { return refuse("addLoop"); }
    ISelectLayer* addSelect(ITensor&, ITensor&, ITensor&) noexcept override { return refuse("addSelect"); }
    IPaddingLayer* addPaddingNd(ITensor&, Dims const&, Dims const&) noexcept override { return refuse("addPaddingNd"); }
    bool setWeightsName(Weights, char const*) noexcept override { return refuse("setWeightsName"); }
    IGatherLayer* addGatherV2(ITensor&, ITensor&, GatherMode) noexcept override { return refuse("addGatherV2"); }
    IIfConditional* addIfConditional() noexcept override { return refuse("addIfConditional"); }
    IScatterLayer* addScatter(ITensor&, ITensor&, ITensor&, ScatterMode) noexcept override { return refuse("addScatter"); }
    IEinsumLayer* addEinsum(ITensor* const*, int32_t, char const*) noexcept override { return refuse("addEinsum"); }
    IAssertionLayer* addAssertion(ITensor&, char const*) noexcept override { return refuse("addAssertion"); }
    IOneHotLayer* addOneHot(ITensor&, ITensor&, ITensor&, int32_t) noexcept override { return refuse("addOneHot"); }
    INonZeroLayer* addNonZero(ITensor&) noexcept override { return refuse("addNonZero"); }
    IGridSampleLayer* addGridSample(ITensor&, ITensor&) noexcept override { return refuse("addGridSample"); }
    INMSLayer* addNMS(ITensor&, ITensor&, ITensor&) noexcept override { return refuse("addNMS"); }
    IReverseSequenceLayer* addReverseSequence(ITensor&, ITensor&) noexcept override { return refuse("addReverseSequence"); }
    INormalizationLayer* addNormalization(ITensor&, ITensor&, ITensor&, uint32_t) noexcept override { return refuse("addNormalization"); }
    ICastLayer* addCast(ITensor&, DataType) noexcept override { return refuse("addCast"); }
    IQuantizeLayer* addQuantizeV2(ITensor&, ITensor&, DataType) noexcept override { return refuse("addQuantizeV2"); }
    IDequantizeLayer* addDequantizeV2(ITensor&, ITensor&, DataType) noexcept override { return refuse("addDequantizeV2"); }
    IFillLayer* addFillV2(Dims const&, FillOperation, DataType) noexcept override { return refuse("addFillV2"); }
    bool markDebug(ITensor&) noexcept override { return refuse("markDebug"); }
    bool unmarkDebug(ITensor&) noexcept override { return refuse("unmarkDebug"); }
    bool isDebugTensor(ITensor const&) const noexcept override { return refuse("isDebugTensor"); }
    bool markWeightsRefittable(char const*) noexcept override { return refuse("markWeightsRefittable"); }
    bool unmarkWeightsRefittable(char const*) noexcept override { return refuse("unmarkWeightsRefittable"); }
    bool areWeightsMarkedRefittable(char const*) const noexcept override { return refuse("areWeightsMarkedRefittable"); }
    ISqueezeLayer* addSqueeze(ITensor&, ITensor&) noexcept override { return refuse("addSqueeze"); }
    IUnsqueezeLayer* addUnsqueeze(ITensor&, ITensor&) noexcept override { return refuse("addUnsqueeze"); }
    IDynamicQuantizeLayer* addDynamicQuantize(ITensor&, int32_t, int32_t, DataType, DataType) noexcept override { return refuse("addDynamicQuantize"); }
    ICumulativeLayer* addCumulative(ITensor&, ITensor&, CumulativeOperation, bool, bool) noexcept override { return refuse("addCumulative"); }
    bool markUnfusedTensorsAsDebugTensors() noexcept override { return refuse("markUnfusedTensorsAsDebugTensors"); }
    bool unmarkUnfusedTensorsAsDebugTensors() noexcept override { return refuse("unmarkUnfusedTensorsAsDebugTensors"); }
    ITopKLayer* addTopKV2(ITensor&, TopKOperation, int32_t, uint32_t, DataType) noexcept override { return refuse("addTopKV2"); }
    INonZeroLayer* addNonZeroV2(ITensor&, DataType) noexcept override { return refuse("addNonZeroV2"); }
    INMSLayer* addNMSV2(ITensor&, ITensor&, ITensor&, DataType) noexcept override { return refuse("addNMSV2"); }
    IAttention* addAttention(ITensor&, ITensor&, ITensor&, AttentionNormalizationOp, bool) noexcept override { return refuse("addAttention"); }
    IRotaryEmbeddingLayer* addRotaryEmbedding(ITensor&, ITensor&, ITensor&, bool, int32_t) noexcept override { return refuse("addRotaryEmbedding"); }
    IDynamicQuantizeLayer* addDynamicQuantizeV2(ITensor&, Dims const&, DataType, DataType) noexcept override { return refuse("addDynamicQuantizeV2"); }
    IKVCacheUpdateLayer* addKVCacheUpdate(ITensor&, ITensor&, ITensor&, KVCacheMode) noexcept override { return refuse("addKVCacheUpdate"); }
    INormalizationLayer* addNormalizationV2(ITensor&, ITensor&, ITensor&, uint32_t) noexcept override { return refuse("addNormalizationV2"); }
    IMoELayer* addMoE(ITensor&, ITensor&, ITensor&) noexcept override { return refuse("addMoE"); }
    IDistCollectiveLayer* addDistCollective(ITensor&, CollectiveOperation, ReduceOperation, int64_t, int64_t*, int64_t) noexcept override { return refuse("addDistCollective"); }
#if NV_TENSORRT_MAJOR > 10
    IAttention* addAttentionV2(ITensor&, ITensor&, ITensor&, AttentionNormalizationOp, CausalMaskKind) noexcept override { return refuse("addAttentionV2"); }
#else
    IQuantizeLayer* addQuantize(ITensor&, ITensor&) noexcept override { return refuse("addQuantize"); }
    IDequantizeLayer* addDequantize(ITensor&, ITensor&) noexcept override { return refuse("addDequantize"); }
    IFillLayer* addFill(Dims const&, FillOperation) noexcept override { return refuse("addFill"); }
#endif
#if NV_TENSORRT_VERSION >= 110400
    ISqueezeLayer* addSqueezeV2(ITensor&, ITensor*) noexcept override { return refuse("addSqueezeV2"); }
#endif
  // clang-format on
};

}  // namespace infer
