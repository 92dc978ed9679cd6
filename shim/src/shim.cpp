// Calls of libtorch that tch does not have. Every function hands exceptions over as text; none of them keeps state.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/from_blob.h>

#include <string>

// libtorch_cpu has them, its headers do not: they give back what the two calls of its exported models store.
namespace at::native {
void *data_ptr_from_mkldnn(const Tensor &);
Tensor mkldnn_tensor_from_data_ptr(void *, IntArrayRef, c10::ScalarType, c10::Device, const uint8_t *, int64_t);
} // namespace at::native

namespace {

thread_local std::string message;

template <class F> at::Tensor *guarded(F call) {
  try {
    return new at::Tensor(call());
  } catch (const std::exception &error) {
    message = error.what();
    return nullptr;
  }
}

at::Tensor call(const char *name, torch::jit::Stack stack) {
  auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  op.callBoxed(&stack);
  return stack.at(0).toTensor();
}

c10::IValue both(int64_t value) { return c10::List<int64_t>({value, value}); }

c10::IValue pair(int64_t first, int64_t second) { return c10::List<int64_t>({first, second}); }

c10::IValue no_scalars() { return c10::impl::GenericList(c10::OptionalType::create(c10::NumberType::get())); }

} // namespace

extern "C" {

const char *shim_error() { return message.c_str(); }

at::Tensor *shim_conv2d_packed(const at::Tensor *x, const at::Tensor *weight, const at::Tensor *bias, int64_t stride,
                               int64_t padding_h, int64_t padding_w, bool relu) {
  return guarded([&] {
    c10::IValue added = bias ? c10::IValue(*bias) : c10::IValue();
    return call("mkldnn::_convolution_pointwise",
                {*x, *weight, added, pair(padding_h, padding_w), both(stride), both(1), int64_t{1},
                 std::string(relu ? "relu" : "none"), no_scalars(), std::string("")});
  });
}

bool shim_computes_bf16() {
  try {
    auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_is_mkldnn_bf16_supported", "");
    torch::jit::Stack stack;
    op.callBoxed(&stack);
    return stack.at(0).toBool();
  } catch (const std::exception &) {
    return false;
  }
}

at::Tensor *shim_packed_numbers(const at::Tensor *packed) {
  return guarded([&] {
    auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_nbytes", "");
    torch::jit::Stack stack{*packed};
    op.callBoxed(&stack);
    int64_t count = stack.at(0).toInt() / static_cast<int64_t>(sizeof(float));
    void *numbers = at::native::data_ptr_from_mkldnn(*packed);
    return at::from_blob(numbers, {count}, at::TensorOptions(at::kFloat)).to(at::kBFloat16);
  });
}

at::Tensor *shim_packed_layout(const at::Tensor *packed) {
  return guarded([&] { return call("mkldnn::_get_mkldnn_serialized_md", {*packed}); });
}

at::Tensor *shim_packed_of(const at::Tensor *numbers, const at::Tensor *layout, const int64_t *shape, int64_t dims) {
  return guarded([&] {
    return at::native::mkldnn_tensor_from_data_ptr(numbers->data_ptr(), at::IntArrayRef(shape, dims), at::kFloat,
                                                   at::kCPU, layout->data_ptr<uint8_t>(), layout->numel());
  });
}

void shim_set_reproducible() {
  auto &context = at::globalContext();
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicCuDNN(true);
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  context.setDeterministicFillUninitializedMemory(false);
}
}
