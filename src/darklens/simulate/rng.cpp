// Noise by address, in single precision and one pass: random bits, normal numbers, counts, image. The reference is `rng.py`.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int BLOCK = 512;
constexpr float SERIES_FROM = 10;
constexpr int MOST_TERMS = 60;  // 32 bits reach 6.8 standard deviations

struct Reciprocals {
    double whole[MOST_TERMS + 1];
    Reciprocals() { for (int k = 0; k <= MOST_TERMS; ++k) whole[k] = 1.0 / k; }
};
const Reciprocals PER;

template <class To, class From> inline To bits(From x) {
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}

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

// Box-Muller; logarithm, sine and cosine are the polynomials of Cephes (Moshier 1989), all in registers.
void normals(const std::uint32_t *u, const std::uint32_t *v, int count, float *first, float *second) {
    #pragma omp simd
    for (int i = 0; i < count; ++i) {
        const float x = (float(std::int32_t(u[i] >> 16)) * 65536.0f + (float(std::int32_t(u[i] & 0xFFFFu)) + 0.5f)) * 0x1p-32f;
        const std::int32_t word = bits<std::int32_t>(x) - 0x3F3504F3, e = word >> 23;  // mantissa from sqrt(1/2) to sqrt(2)
        const float y = bits<float>((word & 0x007FFFFF) + 0x3F3504F3) - 1.0f, yy = y * y;
        float log = 7.0376836292e-2f;
        log = log * y - 1.1514610310e-1f, log = log * y + 1.1676998740e-1f, log = log * y - 1.2420140846e-1f;
        log = log * y + 1.4249322787e-1f, log = log * y - 1.6668057665e-1f, log = log * y + 2.0000714765e-1f;
        log = log * y - 2.4999993993e-1f, log = log * y + 3.3333331174e-1f;
        log = float(e) * 0.69314718056f + (y + (log * y * yy - 0.5f * yy));
        const float r = std::sqrt(std::max(-2.0f * log, 0.0f));
        const std::uint32_t quarter = (v[i] + 0x20000000u) >> 30;
        const float z = float(std::int32_t(v[i] - (quarter << 30))) * (0x1p-31f * 3.14159265359f), zz = z * z;
        const float s = z + z * zz * ((-1.9515295891e-4f * zz + 8.3321608736e-3f) * zz - 1.6666654611e-1f);
        const float c = 1.0f - 0.5f * zz + zz * zz * ((2.443315711809948e-5f * zz - 1.388731625493765e-3f) * zz + 4.166664568298827e-2f);
        const bool odd = quarter & 1u;
        first[i] = r * (odd ? s : c) * float(1 - std::int32_t((quarter + 1u) & 2u));
        second[i] = r * (odd ? c : s) * float(1 - std::int32_t(quarter & 2u));
    }
}

typedef double Reals __attribute__((vector_size(32)));
typedef std::int64_t Whole __attribute__((vector_size(32)));

// Counts as the number of terms of the distribution function that lie below the quantile, for all pixels whose mean is low.
void by_sum(const float *mean, const float *w, int count, float *out) {
    alignas(32) double m[BLOCK], u[BLOCK], term[BLOCK];
    int where[BLOCK], kept = 0;
    for (int i = 0; i < count; ++i) where[kept] = i, kept += mean[i] < SERIES_FROM && mean[i] > 0;
    const int padded = (kept + 7) / 8 * 8;
    for (int i = 0; i < padded; ++i) m[i] = i < kept ? mean[where[i]] : 0, u[i] = i < kept ? w[where[i]] : 0;
    #pragma omp simd
    for (int i = 0; i < padded; ++i) {  // half the complementary error function to 1.2e-7 (Press et al. 1992, section 6.2)
        const double z = std::fabs(u[i]) * 0.70710678118654752, t = 1 / (1 + 0.5 * z);
        double p = 0.17087277;
        p = p * t - 0.82215223, p = p * t + 1.48851587, p = p * t - 1.13520398, p = p * t + 0.27886807;
        p = p * t - 0.18628806, p = p * t + 0.09678418, p = p * t + 0.37409196, p = p * t + 1.00002368;
        const double tail = 0.5 * t * std::exp(p * t - 1.26551223 - z * z);
        u[i] = u[i] < 0 ? tail : 1 - tail;
        term[i] = std::exp(-m[i]);
    }
    for (int start = 0; start < padded; start += 8) {  // two registers at a time hide each other's latency
        const Reals *ms = (const Reals *)(m + start), *us = (const Reals *)(u + start), *terms = (const Reals *)(term + start);
        const Reals m0 = ms[0], m1 = ms[1], u0 = us[0], u1 = us[1];
        Reals t0 = terms[0], t1 = terms[1], sum0 = t0, sum1 = t1;
        Whole n0 = {}, n1 = {};
        for (int k = 1; k <= MOST_TERMS; ++k) {
            const Whole more0 = u0 > sum0, more1 = u1 > sum1, more = more0 | more1;
            if (!(more[0] | more[1] | more[2] | more[3])) break;
            const double per = PER.whole[k];
            n0 -= more0, n1 -= more1;
            t0 *= m0 * per, t1 *= m1 * per;
            sum0 += t0, sum1 += t1;
        }
        for (int i = 0; i < 8 && start + i < kept; ++i) out[where[start + i]] = float(i < 4 ? n0[i] : n1[i - 4]);
    }
}

// Returns whether a mean is not finite.
bool counts(const float *mean, const float *w, int count, float *out) {
    std::int32_t low = 0, wrong = 0;
    #pragma omp simd reduction(| : low, wrong)
    for (int i = 0; i < count; ++i) {
        const float m = std::max(mean[i], SERIES_FROM), root = std::sqrt(m), per = 1 / root, z = w[i], z2 = z * z, whole = std::floor(m);
        const float third = z * (0.0169922f + z2 * (-0.002067184f + z2 * -0.001638699f)), fourth = -0.0006227976f + z2 * (-0.01192506f + z2 * (0.0002064398f + z2 * 0.0007853003f));
        const float rest = (-16 + z2 * (7 + 3 * z2)) * (1 / 810.0f) + per * (third + per * fourth);
        const float q = (m - whole) + root * z + (2 + z2) * (1 / 6.0f) + per * (per * rest - z * (2 + z2) * (1 / 72.0f));
        const float n = std::max(whole + std::floor(q), 0.0f);  // the fraction alone, so that a large mean loses no digits
        out[i] = mean[i] > 0 ? n : 0.0f;
        low |= mean[i] < SERIES_FROM;
        wrong |= (bits<std::int32_t>(mean[i]) & 0x7F800000) == 0x7F800000;
    }
    if (low) by_sum(mean, w, count, out);
    return wrong;
}

enum Kind { NORMALS, POISSON, EXPOSURE, TWICE };

struct Work {
    std::uint64_t key;
    std::uint32_t lane;
    float t, sky, noise;
};

bool pixels_of(Kind kind, const Work &k, const std::uint32_t *u, const std::uint32_t *v, const std::uint32_t *again_u,
               const std::uint32_t *again_v, int count, const float *flux, float *out, float *second) {
    float a[BLOCK], b[BLOCK], mean[BLOCK];
    if (kind == NORMALS) return normals(u, v, count, out, second), false;
    normals(u, v, count, a, b);
    if (kind == POISSON) {
        if (second) std::copy(b, b + count, second);
        return counts(flux, a, count, out);
    }
    const float t = k.t, sky = k.sky, noise = k.noise;
    if (kind == EXPOSURE) {
        #pragma omp simd
        for (int i = 0; i < count; ++i) mean[i] = (flux[i] + sky) * t;
        const bool wrong = counts(mean, a, count, out);
        const float per = 1 / t, above = sky * t;
        #pragma omp simd
        for (int i = 0; i < count; ++i) out[i] = ((out[i] - above) + b[i] * noise) * per;
        return wrong;
    }
    #pragma omp simd
    for (int i = 0; i < count; ++i) {
        const float f = flux[i], variance = t * (f > 0 ? f : 0.0f);
        mean[i] = t * (f + b[i] * noise) + a[i] * std::sqrt(variance);
    }
    normals(again_u, again_v, count, a, b);
    return counts(mean, a, count, out);
}

}  // namespace

// Returns 1 where an expected count is not finite, else 0.
extern "C" int record(int kind, int rows, int pixels, const std::uint64_t *keys, std::uint32_t lane, const float *t, float sky,
                      float noise, const float *flux, float *out, float *second) {
    const int half = (pixels + 1) / 2;
    std::uint32_t words[4][BLOCK], again[4][BLOCK];
    bool wrong = false;
    for (int row = 0; row < rows; ++row) {
        const Work work{keys[row], lane, t ? t[row] : 1, sky, noise};
        for (int start = 0; start < half; start += BLOCK) {
            const int count = std::min(BLOCK, half - start);
            philox(keys[row], std::uint32_t(start), lane, count, words);
            if (kind == TWICE) philox(keys[row], std::uint32_t(start), lane + 1, count, again);
            for (int part = 0; part < 2; ++part) {
                const std::int64_t at = std::int64_t(row) * pixels + part * half + start;
                const int here = std::min(count, pixels - part * half - start), w = 2 * part;
                if (here > 0)
                    wrong |= pixels_of(Kind(kind), work, words[w], words[w + 1], again[w], again[w + 1], here,
                                       flux ? flux + at : nullptr, out + at, second ? second + at : nullptr);
            }
        }
    }
    return wrong;
}
