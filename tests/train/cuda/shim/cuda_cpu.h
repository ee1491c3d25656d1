// CUDA C on the CPU: what neuron.cu uses of CUDA, and a launcher that runs one block after the other.
//
// Every CUDA thread is a coroutine (ucontext), so that __syncthreads can wait. The order of the threads is chosen by
// the launcher: a result that depends on it is a missing barrier. What a kernel may not use (atomics, shuffles) is not
// here, and does not compile.
#pragma once
#include <csetjmp>
#include <csignal>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

static inline float cospif(float x) { return (float)cos(3.14159265358979323846 * fmod((double)x, 2.0)); }

namespace cuda_cpu {

enum State { READY, WAITING, DONE };
struct Thread {
    ucontext_t context;
    char* stack;
    State state;
};
constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = 64 << 10;
static Thread threads[MOST_THREADS];
static ucontext_t scheduler;
static int current;
static void (*kernel_body)(void**);
static void** kernel_arguments;

static void enter() {
    kernel_body(kernel_arguments);
    threads[current].state = DONE;
}

static inline void wait() {
    threads[current].state = WAITING;
    swapcontext(&threads[current].context, &scheduler);
}

static inline void arrange(int* order, int count, unsigned seed) {
    for (int i = 0; i < count; ++i) order[i] = seed == 1 ? count - 1 - i : i;
    for (int i = count - 1; seed > 1 && i > 0; --i) {
        seed = seed * 1664525u + 1013904223u;
        const int j = seed % (i + 1u), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

// 0, or 1 if some threads of a block waited at a barrier that others never reached.
static int run_block(unsigned seed) {
    const int count = blockDim.x;
    static int order[MOST_THREADS];
    arrange(order, count, seed);
    for (int i = 0; i < count; ++i) {
        Thread& thread = threads[i];
        if (!thread.stack) thread.stack = (char*)malloc(STACK);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack;
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = &scheduler;
        makecontext(&thread.context, enter, 0);
        thread.state = READY;
    }
    for (;;) {
        for (int i = 0; i < count; ++i) {
            current = order[i];
            if (threads[current].state != READY) continue;
            threadIdx = {(unsigned)current, 0, 0};
            swapcontext(&scheduler, &threads[current].context);
        }
        int waiting = 0;
        for (int i = 0; i < count; ++i) waiting += threads[i].state == WAITING;
        if (waiting == 0) return 0;
        if (waiting != count) return 1;
        for (int i = 0; i < count; ++i) threads[i].state = READY;
    }
}

static sigjmp_buf before_launch;
static void out_of_bounds(int) { siglongjmp(before_launch, 1); }

template <class T> constexpr const char* name_of() {
    if constexpr (std::is_same_v<T, float>) return "float32";
    else if constexpr (std::is_same_v<T, double>) return "float64";
    else if constexpr (std::is_same_v<T, int>) return "int32";
    else if constexpr (std::is_same_v<T, long long>) return "int64";
    else return T::name;
}

template <class A> static void append(char* text) {
    if constexpr (std::is_pointer_v<A>) {
        using T = std::remove_pointer_t<A>;
        strcat(strcat(text, std::is_const_v<T> ? "in " : "out "), name_of<std::remove_const_t<T>>());
    } else {
        strcat(text, name_of<A>());
    }
    strcat(text, ",");
}

// A kernel as functions of plain C: its signature in words, and a launch. Unnamed, or libraries would share it.
namespace {
template <auto kernel> struct Export;
template <class... A, void (*kernel)(A...)> struct Export<kernel> {
    static const char* signature() {
        static char text[1024];
        if (!*text) (append<A>(text), ...);
        return text;
    }
    template <int... I> struct Indices {};
    template <int... I> static void call(void** arguments, Indices<I...>) {
        kernel(*reinterpret_cast<std::remove_const_t<A>*>(arguments[I])...);
    }
    template <int n, int... I> static void count(void** arguments) {
        if constexpr (n == 0) call(arguments, Indices<I...>{});
        else count<n - 1, n - 1, I...>(arguments);
    }
    static void body(void** arguments) { count<sizeof...(A)>(arguments); }
    // 0, 1 as run_block, or 2 after an access outside of all arrays.
    static int launch(unsigned grid, unsigned block, unsigned seed, void** arguments) {
        kernel_body = body;
        kernel_arguments = arguments;
        gridDim = {grid, 1, 1};
        blockDim = {block, 1, 1};
        struct sigaction ours {}, theirs[3];
        ours.sa_handler = out_of_bounds;
        const int signals[] = {SIGSEGV, SIGBUS, SIGILL};  // SIGILL is what -fsanitize=bounds raises
        for (int i = 0; i < 3; ++i) sigaction(signals[i], &ours, &theirs[i]);
        volatile int result = sigsetjmp(before_launch, 1) ? 2 : 0;
        for (unsigned i = 0; i < grid && !result; ++i) {
            blockIdx = {i, 0, 0};
            result = run_block(seed);
        }
        for (int i = 0; i < 3; ++i) sigaction(signals[i], &theirs[i], nullptr);
        return result;
    }
};
}  // namespace

}  // namespace cuda_cpu

#define __syncthreads() cuda_cpu::wait()

#define CUDA_CPU_EXPORT(kernel)                                                                          \
    extern "C" const char* kernel##__signature() { return cuda_cpu::Export<kernel>::signature(); }       \
    extern "C" int kernel##__launch(unsigned grid, unsigned block, unsigned seed, void** arguments) {    \
        return cuda_cpu::Export<kernel>::launch(grid, block, seed, arguments);                           \
    }
