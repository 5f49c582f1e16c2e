// The arithmetic of the embedded engine on NVIDIA GPUs, from compute capability 8.0 on.
//
// Whatever a row is computed with, its numbers are the same bits: each number is summed up in an
// order that depends on its place in the model alone. So products cut the inputs into SLICES
// slices, each summed up by itself, whether one block has all of them or each warp has one; and
// attention cuts the context into parts of as many positions as a block has threads, which are
// merged from the first to the last. Where two kernels must agree, roundings are spelled out, so
// that the compiler does not contract one of them in another way.
//
// Matrices are bf16. Those of models in f32 or f16 are two of them, the second what rounding lost
// in the first ("planes"), and so are their inputs. Sums are f32.
//
// Compiled by `make kernels`.

typedef unsigned short u16;
typedef unsigned int u32;

#define FULL 0xffffffffu

// Inputs are padded with zeros to whole steps in each slice.
constexpr int SLICES = 8;
constexpr int STEP = 32;

constexpr int THREADS = 256;

// Shared memory whose size is chosen at launch.
extern __shared__ uint4 dynamic[];

__device__ __forceinline__ float widen(u16 bits) { return __uint_as_float(u32(bits) << 16); }

__device__ __forceinline__ u16 narrow(float x) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// Writes x as one plane or two.
__device__ __forceinline__ void store_planes(u16 *out, long plane, int planes, float x) {
    u16 high = narrow(x);
    out[0] = high;
    if (planes == 2) out[plane] = narrow(__fsub_rn(x, widen(high)));
}

__device__ __forceinline__ float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x = __fadd_rn(x, __shfl_xor_sync(FULL, x, lane));
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(FULL, x, lane));
    return x;
}

// Sum over a block of THREADS threads.
__device__ __forceinline__ float block_sum(float x) {
    __shared__ float sums[THREADS / 32];
    __syncthreads();
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    float total = 0.0f;
    for (int warp = 0; warp < THREADS / 32; warp++) total = __fadd_rn(total, sums[warp]);
    return total;
}

// ---------------------------------------------------------------------------------------------
// Rows

// x[row][width] = scale * table[token]
extern "C" __global__ void embed(const int *tokens, const u16 *table, long plane, int planes,
                                 int padded, float scale, float *x, int width) {
    const u16 *row = table + long(tokens[blockIdx.x]) * padded;
    for (int i = threadIdx.x; i < width; i += THREADS) {
        float value = widen(row[i]);
        if (planes == 2) value = __fadd_rn(value, widen(row[plane + i]));
        x[long(blockIdx.x) * width + i] = __fmul_rn(value, scale);
    }
}

__device__ void norm_row(const float *x, const float *weight, float eps, int width, u16 *out,
                         int padded, long plane, int planes) {
    float sum = 0.0f;
#pragma unroll 8
    for (int i = threadIdx.x; i < width; i += THREADS) sum = __fmaf_rn(x[i], x[i], sum);
    float scale = rsqrtf(block_sum(sum) / width + eps);
#pragma unroll 8
    for (int i = threadIdx.x; i < padded; i += THREADS) {
        float value = i < width ? __fmul_rn(__fmul_rn(x[i], scale), weight[i]) : 0.0f;
        store_planes(out + i, plane, planes, value);
    }
}

// Normalises the rows of x that `rows` names, or all.
extern "C" __global__ void norm_rows(const float *x, const int *rows, int gather, const float *weight,
                                float eps, int width, u16 *out, int padded, long plane,
                                int planes) {
    long row = gather ? rows[blockIdx.x] : blockIdx.x;
    norm_row(x + row * width, weight, eps, width, out + long(blockIdx.x) * padded, padded, plane,
             planes);
}

// Adds a product to the residual stream, normalised if the model does that, and normalises the
// stream for the next product.
extern "C" __global__ void add_norm(float *__restrict__ x, const float *__restrict__ product, const float *bias,
                                    int has_bias, const float *after, int has_after,
                                    const float *weight, float eps, int width, u16 *out,
                                    int padded, long plane, int planes) {
    x += long(blockIdx.x) * width;
    product += long(blockIdx.x) * width;
    float scale = 1.0f;
    if (has_after) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < width; i += THREADS) {
            float value = product[i];
            if (has_bias) value = __fadd_rn(value, bias[i]);
            sum = __fmaf_rn(value, value, sum);
        }
        scale = rsqrtf(block_sum(sum) / width + eps);
    }
#pragma unroll 8
    for (int i = threadIdx.x; i < width; i += THREADS) {
        float value = product[i];
        if (has_bias) value = __fadd_rn(value, bias[i]);
        if (has_after) value = __fmul_rn(__fmul_rn(value, scale), after[i]);
        x[i] = __fadd_rn(x[i], value);
    }
    // A thread reads only what it wrote itself.
    norm_row(x, weight, eps, width, out + long(blockIdx.x) * padded, padded, plane, planes);
}

// out = activation(gate) * up, of rows [gate, up]; 0 is SiLU, 1 is GELU by tanh.
extern "C" __global__ void gate(const float *product, int activation, int width, u16 *out,
                                int padded, long plane, int planes) {
    const float *gates = product + long(blockIdx.x) * 2 * width;
    out += long(blockIdx.x) * padded;
    for (int i = blockIdx.y * THREADS + threadIdx.x; i < padded; i += gridDim.y * THREADS) {
        float value = 0.0f;
        if (i < width) {
            float x = gates[i];
            if (activation == 0) {
                value = x / (1.0f + expf(-x));
            } else {
                float inner = 0.7978845608f * (x + 0.044715f * x * x * x);
                value = 0.5f * x * (1.0f + tanhf(inner));
            }
            value = __fmul_rn(value, gates[width + i]);
        }
        store_planes(out + i, plane, planes, value);
    }
}

// x = cap * tanh(x / cap)
extern "C" __global__ void softcap(float *x, long count, float cap) {
    long i = long(blockIdx.x) * THREADS + threadIdx.x;
    if (i < count) x[i] = cap * tanhf(x[i] / cap);
}

// ---------------------------------------------------------------------------------------------
// Products: out[row][outputs] = x[row][inputs] * w[outputs][inputs]

// A step of the inner loop has STEP inputs: four runs of 8 for the four threads that share a row.
// Which of them meet in one instruction does not matter, as long as both sides agree.
struct Run {
    u32 words[4];
};

__device__ __forceinline__ void multiply(float *sums, const u32 *a0, const u32 *a1,
                                         const u32 *b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a0[0]), "r"(a1[0]), "r"(a0[1]), "r"(a1[1]), "r"(b[0]), "r"(b[1]));
}

// One step for 16 rows (two runs: of a row and the one 8 below) and 8 outputs.
template <int PLANES>
__device__ __forceinline__ void multiply_step(float *sums, const Run (*a)[2], const Run *b) {
    for (int half = 0; half < 4; half += 2)
        multiply(sums, a[0][0].words + half, a[0][1].words + half, b[0].words + half);
    if (PLANES == 2) {
        for (int half = 0; half < 4; half += 2)
            multiply(sums, a[1][0].words + half, a[1][1].words + half, b[0].words + half);
        for (int half = 0; half < 4; half += 2)
            multiply(sums, a[0][0].words + half, a[0][1].words + half, b[1].words + half);
    }
}

__device__ __forceinline__ Run load_run(const u16 *from) {
    uint4 words = *reinterpret_cast<const uint4 *>(from);
    return Run{{words.x, words.y, words.z, words.w}};
}

__device__ __forceinline__ Run load_weights(const u16 *from) {
    uint4 words = __ldcs(reinterpret_cast<const uint4 *>(from));
    return Run{{words.x, words.y, words.z, words.w}};
}

// For up to 16 * TILES rows, as when decoding: memory bandwidth bounds it. A block has 16 outputs,
// a warp one slice of the inputs.
template <int PLANES, int TILES>
__device__ void product_of_few(const u16 *x, long x_plane, int rows, const u16 *w, long w_plane,
                               int inputs, float *out, int outputs) {
    constexpr int COLUMNS = 16;
    float *shared = reinterpret_cast<float *>(dynamic);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4;
    int first = blockIdx.x * COLUMNS;
    int slice = inputs / SLICES;
    long from = warp * slice + lane % 4 * 8;
    float sums[TILES][2][4] = {};
    const u16 *weights = w + long(first + group) * inputs + from;
    const u16 *source[TILES][2];
    for (int tile = 0; tile < TILES; tile++)
        for (int half = 0; half < 2; half++) {
            int row = min(tile * 16 + half * 8 + group, rows - 1);
            source[tile][half] = x + long(row) * inputs + from;
        }
    // The loads of some steps at a time keep the memory busy.
    constexpr int AHEAD = TILES == 1 && PLANES == 1 ? 8 : 4;
#pragma unroll AHEAD
    for (int k = 0; k < slice; k += STEP) {
        Run b[2][PLANES];
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int plane = 0; plane < PLANES; plane++)
                b[half][plane] = load_weights(weights + long(half * 8) * inputs + plane * w_plane + k);
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            Run a[PLANES][2];
#pragma unroll
            for (int plane = 0; plane < PLANES; plane++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    a[plane][half] = load_run(source[tile][half] + plane * x_plane + k);
#pragma unroll
            for (int half = 0; half < 2; half++) multiply_step<PLANES>(sums[tile][half], a, b[half]);
        }
    }
    // [slice][row][column]
    constexpr int ROWS = 16 * TILES;
    for (int tile = 0; tile < TILES; tile++)
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 4; i++) {
                int row = tile * 16 + group + i / 2 * 8;
                int column = half * 8 + lane % 4 * 2 + i % 2;
                shared[(warp * ROWS + row) * COLUMNS + column] = sums[tile][half][i];
            }
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
        int row = i / COLUMNS, column = first + i % COLUMNS;
        if (row >= rows || column >= outputs) continue;
        float total = 0.0f;
        for (int s = 0; s < SLICES; s++)
            total = __fadd_rn(total, shared[s * ROWS * COLUMNS + i]);
        out[long(row) * outputs + column] = total;
    }
}

__device__ __forceinline__ void copy_async(u16 *to, const u16 *from) {
    u32 address = u32(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
}

// For many rows, as when a prompt is computed. A block has 128 rows and 64 outputs, a warp 32 of
// each; inputs pass through shared memory, some steps ahead.
template <int PLANES>
__device__ void product_of_many(const u16 *x, long x_plane, int rows, const u16 *w, long w_plane,
                                int inputs, float *out, int outputs) {
    constexpr int STAGES = PLANES == 1 ? 4 : 2;
    constexpr int ROWS = 128, COLUMNS = 64, TILE = (ROWS + COLUMNS) * STEP;
    u16 *staged = reinterpret_cast<u16 *>(dynamic);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4;
    int first_row = blockIdx.y * ROWS, first_column = blockIdx.x * COLUMNS;
    int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
    int steps = inputs / STEP, steps_of_slice = steps / SLICES;

    int chunk = threadIdx.x % 4 * 8, line = threadIdx.x / 4;
    auto stage = [&](int step) {
        if (step < steps) {
            int k = step * STEP + chunk;
            u16 *to = staged + step % STAGES * TILE * PLANES;
#pragma unroll
            for (int plane = 0; plane < PLANES; plane++) {
                u16 *rows_to = to + plane * TILE;
                u16 *columns_to = rows_to + ROWS * STEP;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int row = line + half * 64;
                    long from = min(first_row + row, rows - 1);
                    copy_async(rows_to + row * STEP + chunk, x + plane * x_plane + from * inputs + k);
                }
                copy_async(columns_to + line * STEP + chunk,
                           w + plane * w_plane + long(first_column + line) * inputs + k);
            }
        }
        asm volatile("cp.async.commit_group;");
    };

    float totals[2][4][4] = {}, sums[2][4][4] = {};
    for (int step = 0; step < STAGES - 1; step++) stage(step);
    for (int step = 0; step < steps; step++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        stage(step + STAGES - 1);
        const u16 *from = staged + step % STAGES * TILE * PLANES;
        Run a[2][PLANES][2], b[4][PLANES];
#pragma unroll
        for (int plane = 0; plane < PLANES; plane++) {
            const u16 *rows_from = from + plane * TILE + lane % 4 * 8;
            const u16 *columns_from = rows_from + ROWS * STEP;
#pragma unroll
            for (int tile = 0; tile < 2; tile++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int row = warp_row + tile * 16 + half * 8 + group;
                    a[tile][plane][half] = load_run(rows_from + row * STEP);
                }
#pragma unroll
            for (int tile = 0; tile < 4; tile++)
                b[tile][plane] = load_run(columns_from + (warp_column + tile * 8 + group) * STEP);
        }
#pragma unroll
        for (int row = 0; row < 2; row++)
#pragma unroll
            for (int column = 0; column < 4; column++)
                multiply_step<PLANES>(sums[row][column], a[row], b[column]);
        if ((step + 1) % steps_of_slice == 0) {
#pragma unroll
            for (int row = 0; row < 2; row++)
#pragma unroll
                for (int column = 0; column < 4; column++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        totals[row][column][i] = __fadd_rn(totals[row][column][i], sums[row][column][i]);
                        sums[row][column][i] = 0.0f;
                    }
        }
    }
    for (int tile = 0; tile < 2; tile++)
        for (int column = 0; column < 4; column++)
            for (int i = 0; i < 4; i++) {
                int row = first_row + warp_row + tile * 16 + group + i / 2 * 8;
                int output = first_column + warp_column + column * 8 + lane % 4 * 2 + i % 2;
                if (row < rows && output < outputs)
                    out[long(row) * outputs + output] = totals[tile][column][i];
            }
}

#define PRODUCT(name, body)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS)                                         \
        name(const u16 *x, long x_plane, int rows, const u16 *w, long w_plane, int inputs,        \
             float *out, int outputs) {                                                           \
        body(x, x_plane, rows, w, w_plane, inputs, out, outputs);                                 \
    }

PRODUCT(product_16_1, (product_of_few<1, 1>))
PRODUCT(product_16_2, (product_of_few<2, 1>))
PRODUCT(product_32_1, (product_of_few<1, 2>))
PRODUCT(product_32_2, (product_of_few<2, 2>))
PRODUCT(product_64_1, (product_of_few<1, 4>))
PRODUCT(product_64_2, (product_of_few<2, 4>))
PRODUCT(product_many_1, product_of_many<1>)
PRODUCT(product_many_2, product_of_many<2>)

// ---------------------------------------------------------------------------------------------
// Attention

// Where the keys and values of a layer are: see tandem-kv-cache's layout.
struct Layout {
    // Numbers in a block, and the first of the layer.
    long block_len, layer;
    int block_size, kv_heads, head_dim;

    __device__ long head_len() const { return long(block_size) * head_dim; }
    __device__ long keys(int head) const { return layer + head * head_len(); }
    __device__ long values(int head) const { return layer + (kv_heads + head) * head_len(); }
};

// Biases, normalises and rotates the heads of each row; scales queries; stores keys and values.
// A warp has a head.
extern "C" __global__ void __launch_bounds__(THREADS)
    split_heads(const float *product, const float *bias, int has_bias, const float *query_norm,
                const float *key_norm, int has_norms, float eps, const float *frequencies,
                int rotated, float magnitude, const int *positions, const int *slots, int heads,
                float query_scale, float *queries, float *cache, Layout layout) {
    float *shared = reinterpret_cast<float *>(dynamic);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int dim = layout.head_dim, row = blockIdx.x;
    int head = blockIdx.y * (THREADS / 32) + warp;
    int all = heads + 2 * layout.kv_heads;
    if (head >= all) return;
    float *x = shared + warp * dim;
    const float *from = product + (long(row) * all + head) * dim;
    float sum = 0.0f;
    for (int i = lane; i < dim; i += 32) {
        float value = from[i];
        if (has_bias) value = __fadd_rn(value, bias[head * dim + i]);
        x[i] = value;
        sum = __fmaf_rn(value, value, sum);
    }
    bool is_query = head < heads, is_value = head >= heads + layout.kv_heads;
    if (has_norms && !is_value) {
        const float *weight = is_query ? query_norm : key_norm;
        float scale = rsqrtf(warp_sum(sum) / dim + eps);
        for (int i = lane; i < dim; i += 32) x[i] = __fmul_rn(__fmul_rn(x[i], scale), weight[i]);
    }
    __syncwarp();
    if (!is_value) {
        int half = rotated / 2;
        for (int i = lane; i < half; i += 32) {
            float sine, cosine;
            sincosf(__fmul_rn(float(positions[row]), frequencies[i]), &sine, &cosine);
            sine = __fmul_rn(sine, magnitude);
            cosine = __fmul_rn(cosine, magnitude);
            float a = x[i], b = x[i + half];
            x[i] = __fmaf_rn(a, cosine, -__fmul_rn(b, sine));
            x[i + half] = __fmaf_rn(b, cosine, __fmul_rn(a, sine));
        }
        __syncwarp();
    }
    if (is_query) {
        float *to = queries + (long(row) * heads + head) * dim;
        for (int i = lane; i < dim; i += 32) to[i] = __fmul_rn(x[i], query_scale);
        return;
    }
    int block = slots[row] / layout.block_size, slot = slots[row] % layout.block_size;
    float *to = cache + block * layout.block_len;
    if (is_value) {
        to += layout.values(head - heads - layout.kv_heads) + long(slot) * dim;
        for (int i = lane; i < dim; i += 32) to[i] = x[i];
    } else {
        to += layout.keys(head - heads) + long(slot / 16) * dim * 16 + slot % 16;
        for (int i = lane; i < dim; i += 32) to[i * 16] = x[i];
    }
}

// Some tokens of one sequence, one after the other.
struct Tile {
    // Of the first token: its row in the batch and its position.
    int row, position;
    int tokens;
    // Where the blocks of the sequence are listed.
    int table;
};

// The state of a softmax over the parts seen so far.
struct Weighed {
    float most, total;
};

// What both sides are to be multiplied with when a part joins what came before.
__device__ __forceinline__ float2 join(Weighed *all, Weighed part) {
    float most = fmaxf(all->most, part.most);
    float2 scales = {expf(__fsub_rn(all->most, most)), expf(__fsub_rn(part.most, most))};
    all->most = most;
    all->total = __fmaf_rn(all->total, scales.x, __fmul_rn(part.total, scales.y));
    return scales;
}

__device__ __forceinline__ float joined(float all, float part, float2 scales) {
    return __fmaf_rn(all, scales.x, __fmul_rn(part, scales.y));
}

// A block has the query heads that share a key-value head, for the tokens of a tile: up to ROWS
// rows. It goes through the parts of the context one after the other, or, if `partials` is there,
// has one part and leaves the merging to `merge_parts`.
//
// partials: [tile][kv head][part][ROWS]{most, total, values[head_dim]}
template <int ROWS, int PART, int GROUPS>
__device__ void attend(const float *queries, const float *cache, const Layout &layout,
                       const Tile *tiles, const int *tables, int heads, int window, float cap,
                       float *partials, int parts, u16 *out, int padded, long plane, int planes) {
    float *shared = reinterpret_cast<float *>(dynamic);
    __shared__ Weighed all[ROWS], part_of[ROWS];
    __shared__ float2 scales[ROWS];
    int dim = layout.head_dim, kv_head = blockIdx.y, group = heads / layout.kv_heads;
    const Tile tile = tiles[blockIdx.x];
    const int *table = tables + tile.table;
    int rows = tile.tokens * group, end = tile.position + tile.tokens;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int begin = window > 0 ? max(0, tile.position + 1 - window) : 0;
    int first_part = begin / PART, last_part = (end - 1) / PART;
    if (partials != nullptr) {
        first_part = max(first_part, int(blockIdx.z));
        last_part = min(last_part, int(blockIdx.z));
        if (first_part > last_part) return;
    }
    float *query = shared;                // [ROWS][dim]
    float *scores = shared + ROWS * dim;  // [ROWS][PART]
    for (int i = threadIdx.x; i < ROWS * dim; i += PART) {
        int row = i / dim;
        long from = long(tile.row + row / group) * heads + kv_head * group + row % group;
        query[i] = row < rows ? queries[from * dim + i % dim] : 0.0f;
    }
    for (int row = threadIdx.x; row < ROWS; row += PART) all[row] = Weighed{-INFINITY, 0.0f};

    // Sums over the positions: a thread has a column, if there is one, and every GROUPSth row.
    constexpr int COLUMNS = PART / GROUPS, OWN = ROWS / GROUPS;
    int column = threadIdx.x % COLUMNS, of_group = threadIdx.x / COLUMNS;
    bool has_column = column < dim;
    float values[OWN] = {};

    for (int part = first_part; part <= last_part; part++) {
        int position = part * PART + threadIdx.x;
        __syncthreads();
        {
            float sums[ROWS] = {};
            if (position < end) {
                int slot = position % layout.block_size;
                const float *keys = cache + table[position / layout.block_size] * layout.block_len +
                                    layout.keys(kv_head) + long(slot / 16) * dim * 16 + slot % 16;
                for (int d = 0; d < dim; d += 16) {
                    float key[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) key[i] = keys[(d + i) * 16];
#pragma unroll
                    for (int row = 0; row < ROWS; row++) {
                        const float4 *of_row = reinterpret_cast<const float4 *>(query + row * dim + d);
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            float4 q = of_row[i];
                            sums[row] = __fmaf_rn(q.x, key[4 * i], sums[row]);
                            sums[row] = __fmaf_rn(q.y, key[4 * i + 1], sums[row]);
                            sums[row] = __fmaf_rn(q.z, key[4 * i + 2], sums[row]);
                            sums[row] = __fmaf_rn(q.w, key[4 * i + 3], sums[row]);
                        }
                    }
                }
            }
#pragma unroll
            for (int row = 0; row < ROWS; row++) {
                int at = tile.position + row / group;
                bool visible = row < rows && position <= at && (window <= 0 || position + window > at);
                float score = sums[row];
                if (cap > 0.0f) score = __fmul_rn(cap, tanhf(__fdiv_rn(score, cap)));
                scores[row * PART + threadIdx.x] = visible ? score : -INFINITY;
            }
        }
        __syncthreads();
        for (int row = warp; row < ROWS; row += PART / 32) {
            float *of_row = scores + row * PART;
            float most = -INFINITY;
            for (int i = lane; i < PART; i += 32) most = fmaxf(most, of_row[i]);
            most = warp_max(most);
            float total = 0.0f;
            for (int i = lane; i < PART; i += 32) {
                float score = of_row[i];
                float weight = score == -INFINITY ? 0.0f : expf(__fsub_rn(score, most));
                of_row[i] = weight;
                total = __fadd_rn(total, weight);
            }
            total = warp_sum(total);
            if (lane == 0) {
                part_of[row] = Weighed{most, total};
                // A part that a row does not see changes nothing.
                scales[row] = most == -INFINITY ? float2{1.0f, 0.0f} : join(&all[row], part_of[row]);
            }
        }
        __syncthreads();
        if (!has_column) continue;
        int count = min(PART, end - part * PART);
        float sums[OWN] = {};
#pragma unroll 2
        for (int p = 0; p < count; p += 4) {
            // Whole blocks of 16 positions exist, but what is beyond the end was never written.
            int start = part * PART + p;
            const float *from = cache + table[start / layout.block_size] * layout.block_len +
                                layout.values(kv_head) +
                                long(start % layout.block_size) * dim + column;
            float value[4];
#pragma unroll
            for (int i = 0; i < 4; i++) value[i] = p + i < count ? from[i * dim] : 0.0f;
#pragma unroll
            for (int own = 0; own < OWN; own++) {
                const float *of_row = scores + (own * GROUPS + of_group) * PART + p;
                float4 weight = *reinterpret_cast<const float4 *>(of_row);
                sums[own] = __fmaf_rn(weight.x, value[0], sums[own]);
                sums[own] = __fmaf_rn(weight.y, value[1], sums[own]);
                sums[own] = __fmaf_rn(weight.z, value[2], sums[own]);
                sums[own] = __fmaf_rn(weight.w, value[3], sums[own]);
            }
        }
        if (partials != nullptr) {
            long first = ((long(blockIdx.x) * layout.kv_heads + kv_head) * parts + part) * ROWS;
#pragma unroll
            for (int own = 0; own < OWN; own++) {
                int row = own * GROUPS + of_group;
                if (row >= rows) continue;
                float *to = partials + (first + row) * (dim + 2);
                to[2 + column] = sums[own];
                if (column == 0) {
                    to[0] = part_of[row].most;
                    to[1] = part_of[row].total;
                }
            }
        } else {
#pragma unroll
            for (int own = 0; own < OWN; own++)
                values[own] = joined(values[own], sums[own], scales[own * GROUPS + of_group]);
        }
    }
    if (partials != nullptr || !has_column) return;
#pragma unroll
    for (int own = 0; own < OWN; own++) {
        int row = own * GROUPS + of_group;
        if (row >= rows) continue;
        int at = (kv_head * group + row % group) * dim + column;
        float value = __fmul_rn(values[own], __fdiv_rn(1.0f, all[row].total));
        store_planes(out + long(tile.row + row / group) * padded + at, plane, planes, value);
    }
}

#define ATTEND(width, rows, part)                                                                 \
    extern "C" __global__ void __launch_bounds__(part) attend_##width##_##rows(                   \
        const float *queries, const float *cache, Layout layout, const Tile *tiles,               \
        const int *tables, int heads, int window, float cap, float *partials, int split,          \
        int parts, u16 *out, int padded, long plane, int planes) {                                \
        attend<rows, part, part / width>(queries, cache, layout, tiles, tables, heads, window, cap,             \
                           split ? partials : nullptr, parts, out, padded, plane, planes);        \
    }

// By the width of heads, and the rows of a tile.
ATTEND(64, 8, 128)
ATTEND(64, 32, 128)
ATTEND(128, 8, 128)
ATTEND(128, 32, 128)
ATTEND(256, 8, 256)
ATTEND(256, 16, 256)

// Merges the parts of tiles whose kernel has `rows` rows. A block has a query head of a token.
extern "C" __global__ void merge_parts(const float *partials, int parts, int part_len, int rows,
                                       int window, const Tile *tiles, int kv_heads, int group,
                                       int dim, u16 *out, int padded, long plane, int planes) {
    const Tile tile = tiles[blockIdx.x];
    int head = blockIdx.y, token = blockIdx.z, column = threadIdx.x;
    if (token >= tile.tokens) return;
    int begin = window > 0 ? max(0, tile.position + 1 - window) : 0;
    int last_part = (tile.position + tile.tokens - 1) / part_len;
    Weighed all = {-INFINITY, 0.0f};
    float value = 0.0f;
#pragma unroll 4
    for (int part = begin / part_len; part <= last_part; part++) {
        long at = ((long(blockIdx.x) * kv_heads + head / group) * parts + part) * rows;
        const float *from = partials + (at + token * group + head % group) * (dim + 2);
        if (from[0] == -INFINITY) continue;
        float2 scales = join(&all, Weighed{from[0], from[1]});
        value = joined(value, from[2 + column], scales);
    }
    value = __fmul_rn(value, __fdiv_rn(1.0f, all.total));
    store_planes(out + long(tile.row + token) * padded + head * dim + column, plane, planes, value);
}
