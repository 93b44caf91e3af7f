// Normal and Poisson numbers by address. The reference, and what the numbers are, is `rng.py`.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace {

constexpr int BLOCK = 128;
constexpr double PI = 3.14159265358979324;

struct Reciprocals {
    double whole[BLOCK];
    Reciprocals() { for (int k = 0; k < BLOCK; ++k) whole[k] = 1.0 / k; }
};
const Reciprocals PER;

// Philox4x32 with 10 rounds (Salmon et al. 2011) at counters (first + i, lane, 0, 0).
void philox(std::uint64_t key, std::uint32_t first, std::uint32_t lane, int count, std::uint32_t (*out)[BLOCK]) {
    #pragma omp simd
    for (int i = 0; i < count; ++i) {
        std::uint32_t a = first + std::uint32_t(i), b = lane, c = 0, d = 0, k0 = std::uint32_t(key), k1 = std::uint32_t(key >> 32);
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t p = std::uint64_t(0xD2511F53u) * a, q = std::uint64_t(0xCD9E8D57u) * c;
            a = std::uint32_t(q >> 32) ^ b ^ k0, b = std::uint32_t(q);
            c = std::uint32_t(p >> 32) ^ d ^ k1, d = std::uint32_t(p);
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        out[0][i] = a, out[1][i] = b, out[2][i] = c, out[3][i] = d;
    }
}

typedef double Reals __attribute__((vector_size(32)));
typedef std::int64_t Whole __attribute__((vector_size(32)));

// Counts as the number of terms of the distribution function that lie below the quantile, for all pixels whose mean is low.
void by_sum(const double *mean, const double *w, int count, double least, double *out) {
    alignas(32) double m[BLOCK], u[BLOCK], term[BLOCK];
    int where[BLOCK], kept = 0;
    for (int i = 0; i < count; ++i)
        if (mean[i] < least) where[kept] = i, m[kept] = std::max(mean[i], 0.0), u[kept] = w[i], ++kept;
    const int padded = (kept + 7) / 8 * 8;
    for (int i = kept; i < padded; ++i) m[i] = u[i] = 0;
    for (int i = 0; i < padded; ++i) u[i] = 0.5 * std::erfc(-u[i] * 0.70710678118654752);
    #pragma omp simd
    for (int i = 0; i < padded; ++i) term[i] = std::exp(-m[i]);
    for (int start = 0; start < padded; start += 8) {  // two registers at a time hide each other's latency
        const double highest = *std::max_element(m + start, m + start + 8);
        const int most = int(highest + 8 * std::sqrt(highest)) + 16;  // 32 bits reach 6.8 standard deviations
        const Reals *ms = (const Reals *)(m + start), *us = (const Reals *)(u + start), *terms = (const Reals *)(term + start);
        const Reals m0 = ms[0], m1 = ms[1], u0 = us[0], u1 = us[1];
        Reals t0 = terms[0], t1 = terms[1], sum0 = t0, sum1 = t1;
        Whole n0 = {}, n1 = {};
        for (int k = 1; k <= most; ++k) {
            const double per = PER.whole[k];
            n0 -= u0 > sum0, n1 -= u1 > sum1;
            t0 *= m0 * per, t1 *= m1 * per;
            sum0 += t0, sum1 += t1;
        }
        for (int i = 0; i < 8 && start + i < kept; ++i) out[where[start + i]] = double(i < 4 ? n0[i] : n1[i - 4]);
    }
}

void numbers(const std::uint32_t *u, const std::uint32_t *v, int count, double least, const double *mean, double *first, double *second) {
    double w[BLOCK];
    #pragma omp simd
    for (int i = 0; i < count; ++i) {
        const double x = (double(std::int32_t(u[i] ^ 0x80000000u)) + 2147483648.5) * 0x1p-32;
        const double angle = double(std::int32_t(v[i])) * (0x1p-31 * PI), r = std::sqrt(-2 * std::log(x));
        w[i] = r * std::cos(angle), second[i] = r * std::cos(angle - 0.5 * PI);  // a sine here would not be vectorised: GCC pairs them
    }
    if (!mean) {
        std::copy(w, w + count, first);
        return;
    }
    bool low = false;
    #pragma omp simd reduction(|| : low)
    for (int i = 0; i < count; ++i) {
        const double m = std::max(mean[i], least), root = std::sqrt(m), z = w[i], z2 = z * z;
        const double q = m + root * z + (2 + z2) / 6 - z * (2 + z2) / (72 * root) + (-16 + z2 * (7 + 3 * z2)) / (810 * m);
        first[i] = std::max(std::floor(q), 0.0);
        low = low || mean[i] < least;
    }
    if (low) by_sum(mean, w, count, least, first);
}

}  // namespace

extern "C" void draw(int rows, int pixels, const std::uint64_t *keys, std::uint32_t lane, double least, const double *mean, double *first,
                     double *second) {
    const int half = (pixels + 1) / 2;
    std::uint32_t words[4][BLOCK];
    for (int row = 0; row < rows; ++row)
        for (int start = 0; start < half; start += BLOCK) {
            const int count = std::min(BLOCK, half - start);
            philox(keys[row], std::uint32_t(start), lane, count, words);
            for (int part = 0; part < 2; ++part) {
                const std::int64_t at = std::int64_t(row) * pixels + part * half + start;
                const int here = std::min(count, pixels - part * half - start);
                if (here > 0) numbers(words[2 * part], words[2 * part + 1], here, least, mean ? mean + at : nullptr, first + at, second + at);
            }
        }
}
