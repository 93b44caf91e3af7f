// Images of lenses with many point masses, in one pass over the rows of each image. The reference is `rendering.py` in PyTorch.
//
// What bounds the time is the pair of a pixel and a point mass: the loop over masses keeps a block of pixels in registers, and takes
// an approximate reciprocal with one Newton step instead of a division. A row is traced to the source plane, lit, convolved along x,
// kept in a ring of as many rows as the PSF is high, convolved along y and written: no image-sized temporary exists.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

constexpr int MAX_TERMS = 64, MACRO = 8, SERSIC = 7;

template <typename T> inline T reciprocal(T x) { return 1 / x; }

template <typename T> struct Macro {
    T theta_E, t, e1, e2, cx, cy, g1, g2, area, log_s, e_square;
    int terms = 1;
    T a[MAX_TERMS];
    explicit Macro(const T *p) : theta_E(p[0]), t(p[1] - 1), e1(p[2]), e2(p[3]), cx(p[4]), cy(p[5]), g1(p[6]), g2(p[7]) {
        e_square = e1 * e1 + e2 * e2;
        area = std::max<T>(1 - e_square, T(2e-4));
        log_s = std::log(theta_E) + T(0.5) * std::log(area);
        const T e = std::sqrt(e_square), precision = sizeof(T) == 4 ? T(1e-8) : T(1e-17);
        for (T power = e; power > precision && terms < MAX_TERMS; ++terms) power *= e;
        a[0] = 1;
        for (int n = 1; n < terms; ++n) a[n] = a[n - 1] * (2 * n - 2 + t) / (2 * n + 2 - t);
    }
};

// Deflection of point masses at the pixels of a row, added to ax, ay. `masses`: theta_E^2, x, y of each.
template <typename T> void points_row(const T *masses, int count, const T *x, T y, int width, T *ax, T *ay) {
    for (int k = 0; k < count; ++k) {
        const T strength = masses[3 * k], px = masses[3 * k + 1], dy = y - masses[3 * k + 2];
        #pragma omp simd
        for (int i = 0; i < width; ++i) {
            const T dx = x[i] - px, r2 = dx * dx + dy * dy, scale = r2 > T(1e-16) ? strength / r2 : T(0);
            ax[i] += scale * dx, ay[i] += scale * dy;
        }
    }
}

#if defined(__AVX__) && defined(__FMA__)
// Four registers of eight pixels a block; the approximate reciprocal has 12 bits, a Newton step doubles them.
template <> void points_row<float>(const float *masses, int count, const float *x, float y, int width, float *ax, float *ay) {
    const __m256 two = _mm256_set1_ps(2.0f), least = _mm256_set1_ps(1e-16f);
    int i = 0;
    for (; i + 32 <= width; i += 32) {
        __m256 px[4], sx[4], sy[4];
        for (int b = 0; b < 4; ++b) {
            px[b] = _mm256_loadu_ps(x + i + 8 * b);
            sx[b] = _mm256_loadu_ps(ax + i + 8 * b);
            sy[b] = _mm256_loadu_ps(ay + i + 8 * b);
        }
        for (int k = 0; k < count; ++k) {
            const __m256 strength = _mm256_set1_ps(masses[3 * k]), mx = _mm256_set1_ps(masses[3 * k + 1]);
            const __m256 dy = _mm256_set1_ps(y - masses[3 * k + 2]), dy2 = _mm256_max_ps(_mm256_mul_ps(dy, dy), least);
            for (int b = 0; b < 4; ++b) {
                const __m256 dx = _mm256_sub_ps(px[b], mx), r2 = _mm256_fmadd_ps(dx, dx, dy2);
                const __m256 guess = _mm256_rcp_ps(r2);
                const __m256 scale = _mm256_mul_ps(strength, _mm256_mul_ps(guess, _mm256_fnmadd_ps(r2, guess, two)));
                sx[b] = _mm256_fmadd_ps(scale, dx, sx[b]);
                sy[b] = _mm256_fmadd_ps(scale, dy, sy[b]);
            }
        }
        for (int b = 0; b < 4; ++b) _mm256_storeu_ps(ax + i + 8 * b, sx[b]), _mm256_storeu_ps(ay + i + 8 * b, sy[b]);
    }
    for (; i < width; i += 8) {  // rows are padded to whole registers
        const __m256 px = _mm256_loadu_ps(x + i);
        __m256 sx = _mm256_loadu_ps(ax + i), sy = _mm256_loadu_ps(ay + i);
        for (int k = 0; k < count; ++k) {
            const __m256 dy = _mm256_set1_ps(y - masses[3 * k + 2]), dx = _mm256_sub_ps(px, _mm256_set1_ps(masses[3 * k + 1]));
            const __m256 r2 = _mm256_fmadd_ps(dx, dx, _mm256_max_ps(_mm256_mul_ps(dy, dy), least)), guess = _mm256_rcp_ps(r2);
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(masses[3 * k]), _mm256_mul_ps(guess, _mm256_fnmadd_ps(r2, guess, two)));
            sx = _mm256_fmadd_ps(scale, dx, sx);
            sy = _mm256_fmadd_ps(scale, dy, sy);
        }
        _mm256_storeu_ps(ax + i, sx), _mm256_storeu_ps(ay + i, sy);
    }
}
#endif

// Deflection of truncated haloes, added to ax, ay; formulas and constants in `lensing/tnfw_halos.py`. Of each halo: x, y, 1/Rs and
// factor, then tau, tau^2, middle, weight (TNFW), or beta^2, d_1, tau^2, d_tau, middle (cored).
constexpr int HALO = 9;

template <typename T> void tnfw_row(const T *h, const T *__restrict x, T y, int width, T *__restrict ax, T *__restrict ay) {
    const T hx = h[0], dy = y - h[1], per_Rs = h[2], factor = h[3], tau = h[4], tau2 = h[5], middle = h[6], weight = h[7];
    const T pi = T(3.14159265358979323846), near = T(1e-3), dy2 = dy * dy;
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T dx = x[i] - hx, r2 = dx * dx + dy2, held = r2 > T(1e-10) ? r2 : T(1e-10);
        const T r = std::sqrt(held), z = r * per_Rs, square = z * z, gap = 1 - square;
        const T size = gap > 0 ? gap : -gap, w = std::sqrt(size > near ? size : T(0.5)), part = w < T(1) ? w : T(1);
        const T log = std::log((1 + part) / z), arc = std::atan(w), closed = (gap > 0 ? log : arc) / w;
        const T F = size > near ? closed : 1 + gap * (T(1) / 3 + gap * T(0.2));
        const T s = std::sqrt(tau2 + square), outer = s * (weight * std::log(z / (s + tau)) - pi);
        const T scale = factor * (middle + outer + (tau2 - 1 + 2 * square) * F) / (z * r);
        ax[i] += scale * dx, ay[i] += scale * dy;
    }
}

template <typename T> void cored_row(const T *h, const T *__restrict x, T y, int width, T *__restrict ax, T *__restrict ay) {
    const T hx = h[0], dy = y - h[1], per_Rs = h[2], factor = h[3], beta2 = h[4], d1 = h[5], tau2 = h[6], dt = h[7], middle = h[8];
    const T dy2 = dy * dy, per_d1 = 2 / d1, per_dt = 2 / dt;
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T dx = x[i] - hx, r2 = dx * dx + dy2, held = r2 > T(1e-10) ? r2 : T(1e-10);
        const T r = std::sqrt(held), z = r * per_Rs, square = z * z, half = T(0.5) * std::log(beta2 + square);
        const T s1 = std::sqrt(1 + square), st = std::sqrt(tau2 + square);
        const T mass = middle + per_d1 * s1 * (std::log(s1 + d1) - half) - per_dt * st * (std::log(st + dt) - half);
        const T scale = factor * mass / (z * r);
        ax[i] += scale * dx, ay[i] += scale * dy;
    }
}

// Source position of the pixels of a row: the power law's series by Clenshaw's rule (see `epl.py`), and the shear. The rows w..after are
// scratch: the loop over terms is outside, so that the one over pixels becomes vector instructions.
template <typename T> struct Scratch {
    T *wx, *wy, *held, *zx, *zy, *b, *after;
};

template <typename T>
void macro_row(const Macro<T> &m, const T *__restrict x, T y, int width, T *__restrict bx, T *__restrict by, const Scratch<T> &rows) {
    T *__restrict wx = rows.wx, *__restrict wy = rows.wy, *__restrict held = rows.held, *__restrict zx = rows.zx;
    T *__restrict zy = rows.zy, *__restrict b = rows.b, *__restrict after = rows.after;
    const T e1 = m.e1, e2 = m.e2, cx = m.cx, py = y - m.cy, t = m.t, log_s = m.log_s, s = std::exp(m.log_s), square = m.e_square;
    const T g1 = m.g1, g2 = m.g2, first = m.terms > 1 ? m.a[m.terms - 1] : T(0);
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T px = x[i] - cx;
        wx[i] = (1 - e1) * px - e2 * py, wy[i] = (1 + e1) * py - e2 * px;
        const T w2 = wx[i] * wx[i] + wy[i] * wy[i];
        held[i] = w2 > T(1e-16) ? w2 : T(1);
        const T per = 1 / held[i], cos2 = (wx[i] * wx[i] - wy[i] * wy[i]) * per, sin2 = 2 * wx[i] * wy[i] * per;
        zx[i] = -e1 * cos2 - e2 * sin2, zy[i] = e2 * cos2 - e1 * sin2;
        b[i] = first, after[i] = 0;
    }
    for (int n = m.terms - 2; n >= 1; --n) {
        const T a = m.a[n];
        #pragma omp simd
        for (int i = 0; i < width; ++i) {
            const T next = a + 2 * zx[i] * b[i] - square * after[i];
            after[i] = b[i], b[i] = next;
        }
    }
    if (t == 1) {
        #pragma omp simd
        for (int i = 0; i < width; ++i) held[i] = s / std::sqrt(held[i]);
    } else {
        #pragma omp simd
        for (int i = 0; i < width; ++i) held[i] = std::exp(t * (log_s - T(0.5) * std::log(held[i])));
    }
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T sx = 1 + zx[i] * b[i] - square * after[i], sy = zy[i] * b[i];
        bx[i] -= held[i] * (wx[i] * sx - wy[i] * sy) + g1 * x[i] + g2 * y;
        by[i] -= held[i] * (wx[i] * sy + wy[i] * sx) + g2 * x[i] - g1 * y;
    }
}

// Adds the flux of an elliptical Sersic profile at positions x, y.
template <typename T>
void sersic_row(const T *p, T pixel_area, const T *__restrict x, const T *__restrict y, int width, T *__restrict flux) {
    const T e1 = p[3], e2 = p[4], lx = p[5], ly = p[6], area = std::max<T>(1 - e1 * e1 - e2 * e2, T(2e-4));
    const T b = std::max<T>(T(1.9992) * p[2] - T(0.3271), T(1e-5)), amp = p[0] * pixel_area, exponent = T(0.5) / p[2];
    const T per = 1 / (area * p[1] * p[1]), floor = T(1e-8) / (p[1] * p[1]);
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T px = x[i] - lx, py = y[i] - ly, wx = (1 - e1) * px - e2 * py, wy = (1 + e1) * py - e2 * px;
        const T q = (wx * wx + wy * wy) * per, held = q > floor ? q : floor;
        flux[i] += amp * std::exp(b - b * std::exp(std::log(held) * exponent));
    }
}

template <typename T>
void render(int images, int height, int width, T pixel_scale, const T *macro, const T *points, const int *counts, int most,
            const T *halos, const int *halo_counts, int most_halos, const T *cored, const int *cored_counts, int most_cored, const T *sources, int n_sources, const T *lights, int n_lights, const T *taps, int radius, T *out) {
    const int wide = width + 2 * radius, padded = (wide + 7) / 8 * 8, high = 2 * radius + 1;
    std::vector<T> rows(std::size_t(14) * padded), ring(std::size_t(high) * width);
    T *x = rows.data(), *y = x + padded, *ax = y + padded, *ay = ax + padded, *bx = ay + padded, *by = bx + padded, *flux = by + padded;
    Scratch<T> scratch;
    T *free = flux;
    for (T **row : {&scratch.wx, &scratch.wy, &scratch.held, &scratch.zx, &scratch.zy, &scratch.b, &scratch.after}) *row = free += padded;
    for (int i = 0; i < padded; ++i) x[i] = (i - radius - T(0.5) * (width - 1)) * pixel_scale;
    const T area = pixel_scale * pixel_scale;
    for (int image = 0; image < images; ++image) {
        const Macro<T> m(macro + std::size_t(image) * MACRO);
        const T *mine = points + std::size_t(image) * most * 3;
        T *picture = out + std::size_t(image) * height * width;
        for (int row = 0; row < height + 2 * radius; ++row) {
            const T y0 = (row - radius - T(0.5) * (height - 1)) * pixel_scale;
            for (int i = 0; i < padded; ++i) y[i] = y0, ax[i] = 0, ay[i] = 0, flux[i] = 0;
            if (counts[image]) points_row(mine, counts[image], x, y0, padded, ax, ay);
            for (int k = 0; k < halo_counts[image]; ++k)
                tnfw_row(halos + (std::size_t(image) * most_halos + k) * HALO, x, y0, padded, ax, ay);
            for (int k = 0; k < cored_counts[image]; ++k)
                cored_row(cored + (std::size_t(image) * most_cored + k) * HALO, x, y0, padded, ax, ay);
            for (int i = 0; i < padded; ++i) bx[i] = x[i] - ax[i], by[i] = y0 - ay[i];
            macro_row(m, x, y0, padded, bx, by, scratch);
            for (int k = 0; k < n_sources; ++k) sersic_row(sources + (std::size_t(image) * n_sources + k) * SERSIC, area, bx, by, padded, flux);
            for (int k = 0; k < n_lights; ++k) sersic_row(lights + (std::size_t(image) * n_lights + k) * SERSIC, area, x, y, padded, flux);
            T *to = ring.data() + std::size_t(row % high) * width;
            const T *middle = flux + radius, centre = taps[radius];
            for (int i = 0; i < width; ++i) to[i] = centre * middle[i];
            for (int k = 1; k <= radius; ++k) {
                const T tap = taps[radius + k];
                #pragma omp simd
                for (int i = 0; i < width; ++i) to[i] += tap * (middle[i - k] + middle[i + k]);
            }
            const int done = row - 2 * radius;
            if (done < 0) continue;
            T *line = picture + std::size_t(done) * width;
            const T *here = ring.data() + std::size_t((row - radius) % high) * width;
            for (int i = 0; i < width; ++i) line[i] = centre * here[i];
            for (int k = 1; k <= radius; ++k) {
                const T tap = taps[radius + k];
                const T *below = ring.data() + std::size_t((row - radius - k) % high) * width;
                const T *above = ring.data() + std::size_t((row - radius + k) % high) * width;
                #pragma omp simd
                for (int i = 0; i < width; ++i) line[i] += tap * (below[i] + above[i]);
            }
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                                              \
    extern "C" void NAME(int images, int height, int width, T pixel_scale, const T *macro, const T *points, const int *counts,       \
                         int most, const T *halos, const int *halo_counts, int most_halos, const T *cored, const int *cored_counts,  \
                         int most_cored, const T *sources, int n_sources, const T *lights, int n_lights, const T *taps, int radius,  \
                         T *out) {                                                                                                   \
        render<T>(images, height, width, pixel_scale, macro, points, counts, most, halos, halo_counts, most_halos, cored,            \
                  cored_counts, most_cored, sources, n_sources, lights, n_lights, taps, radius, out);                                \
    }

EXPORT(render_float, float)
EXPORT(render_double, double)
