/* Memory of tensors on a CPU, such that what was freed fits what is asked for next.
 *
 * torch asks for aligned blocks. glibc cuts them out of larger ones, and the ends that are left over
 * are soon taken by small objects: the block, once free, is too small for a tensor of its own
 * size, which takes new memory instead. Here every block has its alignment within itself.
 * ../training/hardware.py calls it. */

#include <c10/core/CPUAllocator.h>
#include <cstdlib>

namespace {

constexpr size_t ALIGNMENT = 64; /* as torch aligns */

/* The block's address is kept in front of the tensor's. */
void release(void *tensor) {
    if (tensor == nullptr) return;
    c10::profiledCPUMemoryReporter().Delete(tensor);
    std::free(static_cast<void **>(tensor)[-1]);
}

struct Packed final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) override {
        const c10::Device device(c10::DeviceType::CPU);
        if (bytes == 0) return {nullptr, nullptr, &release, device};
        const size_t all = bytes + ALIGNMENT + sizeof(void *);
        void *block = all < bytes ? nullptr : std::malloc(all);
        if (block == nullptr) c10::profiledCPUMemoryReporter().OutOfMemory(bytes);
        TORCH_CHECK(block != nullptr, "CPUAllocator: can't allocate memory: you tried to allocate ",
                    bytes, " bytes");
        const uintptr_t first = reinterpret_cast<uintptr_t>(block) + sizeof(void *);
        void *tensor = reinterpret_cast<void *>((first + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        static_cast<void **>(tensor)[-1] = block;
        c10::profiledCPUMemoryReporter().New(tensor, bytes);
        return {tensor, tensor, &release, device};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void *to, const void *from, size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }
};

} // namespace

/* From now on; tensors that are there already free their memory as before. Returns whether it was allowed. */
extern "C" int install() {
    static Packed *const packed = new Packed; /* tensors may outlive the end of main */
    c10::SetCPUAllocator(packed);
    return c10::GetCPUAllocator() == packed;
}
