// Image, Jacobian and normal equations of a smooth lens, in one pass over the rows of the image.
//
// Model: EPL (SIE, SIS) + shear + elliptical Sersic source + elliptical Sersic lens light + flat sky, convolved with a Gaussian PSF.
// Formulas: src/darklens/lensing/{epl,shear,sersic}.py; `lens_model.py` computes the same with PyTorch and is the reference in the tests.
//
// No image-sized temporary exists: a row of the model and of each derivative is computed, convolved along x, kept in a ring of as
// many rows as the PSF is high, convolved along y, and summed into the normal equations. Everything stays in the second-level cache;
// the inner loops run over the pixels of a row, without branches, so that the compiler makes vector instructions of them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace {

enum Parameter {
    THETA_E, GAMMA, E1, E2, CENTER_X, CENTER_Y, GAMMA1, GAMMA2,       // mass
    SOURCE,                                                             // amp, R_sersic, n_sersic, e1, e2, x, y
    SKY = SOURCE + 7,
    LENS_LIGHT,                                                         // the same seven
    PARAMETERS = LENS_LIGHT + 7
};
enum Sersic { AMP, RADIUS, INDEX, LIGHT_E1, LIGHT_E2, LIGHT_X, LIGHT_Y, LIGHT_PARAMETERS };

constexpr int MAX_TERMS = 64;

template <typename T> struct Rows {
    // Scratch rows of one image, one vector each, all as wide as the padded image.
    std::vector<T> storage;
    std::size_t width, used = 0;
    Rows(int rows, int width_) : storage(std::size_t(rows) * width_), width(width_) {}
    T *take() { return storage.data() + width * used++; }
};

template <typename T> struct Mass {
    // Per-row quantities of the power law; `turn` = conj(epsilon), zeta = -conj(epsilon) w/conj(w).
    T theta_E, t, e1, e2, cx, cy, area, log_s;
    int terms;
    T a[MAX_TERMS], da[MAX_TERMS];

    explicit Mass(const T *p) {
        theta_E = p[THETA_E], t = p[GAMMA] - 1, e1 = p[E1], e2 = p[E2], cx = p[CENTER_X], cy = p[CENTER_Y];
        const T square = e1 * e1 + e2 * e2;
        area = std::max<T>(1 - square, T(2e-4));
        log_s = std::log(theta_E) + T(0.5) * std::log(area);
        // |zeta| = e and the coefficients fall: as many terms as the precision can see
        const T e = std::sqrt(square), precision = sizeof(T) == 4 ? T(1e-8) : T(1e-17);
        terms = 1;
        for (T power = 1; power > precision && terms < MAX_TERMS; ++terms) power *= e;
        a[0] = 1, da[0] = 0;
        for (int n = 1; n < terms; ++n) {
            const T up = 2 * n - 2 + t, down = 2 * n + 2 - t, ratio = up / down;
            a[n] = a[n - 1] * ratio;
            da[n] = da[n - 1] * ratio + a[n - 1] * (down + up) / (down * down);
        }
    }
};

template <typename T> struct Light {
    T amp, radius, n, e1, e2, x, y, area, b;
    explicit Light(const T *p) {
        amp = p[AMP], radius = p[RADIUS], n = p[INDEX], e1 = p[LIGHT_E1], e2 = p[LIGHT_E2], x = p[LIGHT_X], y = p[LIGHT_Y];
        area = std::max<T>(1 - e1 * e1 - e2 * e2, T(2e-4));
        b = std::max<T>(T(1.9992) * n - T(0.3271), T(1e-5));
    }
};

template <typename T>
void sersic_row(const Light<T> &light, T pixel_area, const T *__restrict x, const T *__restrict y, int width, T *__restrict flux,
                T *__restrict dx, T *__restrict dy, T *const *wanted, T *const *scratch) {
    // Flux of a row at positions x, y; d flux/d position; derivatives after the parameters where `wanted` points to a row.
    T *__restrict value = scratch[0], *__restrict steep = scratch[1], *__restrict logs = scratch[2], *__restrict powers = scratch[3];
    const T e1 = light.e1, e2 = light.e2, per_area = 1 / light.area, per_R2 = 1 / (light.radius * light.radius);
    const T half_per_n = T(0.5) / light.n, b = light.b, amp = light.amp * pixel_area, lx = light.x, ly = light.y;
    const T per_amp = light.amp != 0 ? 1 / light.amp : 0, per_radius = 1 / light.radius, per_n = 1 / light.n;
    const T floor = T(1e-8);  // lenstronomy's smoothing radius of 1e-4 arcsec, squared
    #pragma omp simd
    for (int i = 0; i < width; ++i) {
        const T px = x[i] - lx, py = y[i] - ly;
        const T wx = (1 - e1) * px - e2 * py, wy = (1 + e1) * py - e2 * px;
        const T q = (wx * wx + wy * wy) * per_area, held = q > floor ? q : floor;
        const T log_r2 = std::log(held * per_R2);
        const T power = std::exp(log_r2 * half_per_n);
        const T s = amp * std::exp(-b * (power - 1));
        const T slope = q > floor ? -s * b * power * half_per_n / held : T(0);  // ds/dq
        flux[i] += s, value[i] = s, steep[i] = slope, logs[i] = log_r2, powers[i] = power;
        dx[i] = slope * 2 * per_area * (wx * (1 - e1) - wy * e2);
        dy[i] = slope * 2 * per_area * (wy * (1 + e1) - wx * e2);
    }
    auto fill = [&](T *to, auto formula) {
        if (!to) return;
        #pragma omp simd
        for (int i = 0; i < width; ++i) to[i] = formula(i);
    };
    auto q = [&](int i) {
        const T px = x[i] - lx, py = y[i] - ly, wx = (1 - e1) * px - e2 * py, wy = (1 + e1) * py - e2 * px;
        return (wx * wx + wy * wy) * per_area;
    };
    fill(wanted[AMP], [&](int i) { return value[i] * per_amp; });
    fill(wanted[RADIUS], [&](int i) { return -2 * steep[i] * q(i) * per_radius; });
    fill(wanted[INDEX], [&](int i) { return value[i] * (b * powers[i] * logs[i] * half_per_n * per_n - T(1.9992) * (powers[i] - 1)); });
    fill(wanted[LIGHT_E1], [&](int i) {
        const T px = x[i] - lx, py = y[i] - ly, wx = (1 - e1) * px - e2 * py, wy = (1 + e1) * py - e2 * px;
        return steep[i] * 2 * per_area * (wy * py - wx * px + q(i) * e1);
    });
    fill(wanted[LIGHT_E2], [&](int i) {
        const T px = x[i] - lx, py = y[i] - ly, wx = (1 - e1) * px - e2 * py, wy = (1 + e1) * py - e2 * px;
        return steep[i] * 2 * per_area * (-wx * py - wy * px + q(i) * e2);
    });
}

template <typename T> struct Image {
    const T *data, *v0, *weights_in;
    T v1;
};

template <typename T> struct Result {
    double *cost_in, *cost, *A, *g;
    T *weights, *model, *jacobian;
};

template <typename T> class Pass {
  public:
    Pass(const int *free, int count, int height, int width, T pixel_scale, const T *taps, int radius)
        : free_(free, free + count), height_(height), width_(width), pixel_scale_(pixel_scale), taps_(taps), radius_(radius),
          wide_(width + 2 * radius), rows_(48 + 2 * PARAMETERS, width + 2 * radius), maps_(1),
          ring_(std::size_t(2 * radius + 1) * (count + 1) * width), out_(std::size_t(count + 1) * width), weighted_(width) {
        x = rows_.take(), bx = rows_.take(), by = rows_.take(), y = rows_.take();
        for (T **row : {&wx, &wy, &Fx, &Fy, &Gx, &Gy, &Hx, &Hy, &zx, &zy, &scale, &per_w2, &log_w, &flux, &sx, &sy, &lx, &ly}) *row = rows_.take();
        for (T *&row : scratch_) row = rows_.take();
        std::fill(target_, target_ + PARAMETERS, nullptr);
        maps_[0] = flux;
        for (int p : free_) {
            target_[p] = rows_.take();
            if (p != SKY) maps_.push_back(target_[p]);
        }
    }

    void run(const T *p, const Image<T> &image, const Result<T> &result) {
        const Mass<T> mass(p);
        const Light<T> source(p + SOURCE), lens(p + LENS_LIGHT);
        const int n = int(free_.size()), high = 2 * radius_ + 1;
        double cost_in = 0, cost = 0;
        std::fill(result.A, result.A + n * n, 0.0);
        std::fill(result.g, result.g + n, 0.0);
        for (int row = 0; row < height_ + 2 * radius_; ++row) {
            compute(mass, source, lens, p, row - radius_);
            T *ring = ring_.data() + std::size_t(row % high) * maps_.size() * width_;
            for (std::size_t m = 0; m < maps_.size(); ++m) convolve_x(maps_[m], ring + m * width_);
            if (row >= 2 * radius_) sum(row - 2 * radius_, p[SKY], image, result, cost_in, cost);
        }
        for (int j = 0; j < n; ++j)
            for (int k = 0; k < j; ++k) result.A[j * n + k] = result.A[k * n + j];
        *result.cost_in = cost_in, *result.cost = cost;
    }

  private:
    std::vector<int> free_;
    int height_, width_;
    T pixel_scale_;
    const T *taps_;
    int radius_, wide_;
    Rows<T> rows_;
    std::vector<T *> maps_;
    std::vector<T> ring_, out_, weighted_;
    T *target_[PARAMETERS], *scratch_[4];
    T *x, *y, *bx, *by, *wx, *wy, *Fx, *Fy, *Gx, *Gy, *Hx, *Hy, *zx, *zy, *scale, *per_w2, *log_w, *flux, *sx, *sy, *lx, *ly;

    void compute(const Mass<T> &mass, const Light<T> &source, const Light<T> &lens, const T *p, int row) {
        // Flux and derivatives of one padded row, before the PSF.
        const T y0 = (row - T(0.5) * (height_ - 1)) * pixel_scale_, area = pixel_scale_ * pixel_scale_;
        #pragma omp simd
        for (int i = 0; i < wide_; ++i) x[i] = (i - radius_ - T(0.5) * (width_ - 1)) * pixel_scale_, y[i] = y0;
        const T g1 = p[GAMMA1], g2 = p[GAMMA2];
        deflect(mass, y0, g1, g2);
        std::fill(flux, flux + wide_, T(0));
        sersic_row(source, area, bx, by, wide_, flux, sx, sy, target_ + SOURCE, scratch_);
        negate(target_[SOURCE + LIGHT_X], sx), negate(target_[SOURCE + LIGHT_Y], sy);
        if (T *to = target_[GAMMA1])
            #pragma omp simd
            for (int i = 0; i < wide_; ++i) to[i] = sy[i] * y0 - sx[i] * x[i];
        if (T *to = target_[GAMMA2])
            #pragma omp simd
            for (int i = 0; i < wide_; ++i) to[i] = -sx[i] * y0 - sy[i] * x[i];
        if (T *to = target_[THETA_E]) {
            const T factor = -mass.t / mass.theta_E;
            #pragma omp simd
            for (int i = 0; i < wide_; ++i) {
                const T ax = wx[i] * Fx[i] - wy[i] * Fy[i], ay = wx[i] * Fy[i] + wy[i] * Fx[i];
                to[i] = factor * scale[i] * (sx[i] * ax + sy[i] * ay);
            }
        }
        if (T *to = target_[GAMMA]) slope(mass, to);
        for (int k = 0; k < 2; ++k) {
            // epsilon -> epsilon + 1 or i: w changes by -conj(z), s by its area
            const T e = k ? mass.e2 : mass.e1;
            if (T *to = target_[E1 + k]) vary(mass, y0, k ? T(0) : T(1), k ? T(1) : T(0), T(0), T(0), -e / mass.area, to);
            // centre -> centre + 1 or i: z changes by -1 or -i
            if (T *to = target_[CENTER_X + k]) vary(mass, y0, T(0), T(0), k ? T(0) : T(-1), k ? T(-1) : T(0), T(0), to);
        }
        if (lens.amp != 0 || target_[LENS_LIGHT + AMP]) {
            sersic_row(lens, area, x, y, wide_, flux, lx, ly, target_ + LENS_LIGHT, scratch_);
            negate(target_[LENS_LIGHT + LIGHT_X], lx), negate(target_[LENS_LIGHT + LIGHT_Y], ly);
        }
    }

    void negate(T *to, const T *from) const {
        if (to) for (int i = 0; i < wide_; ++i) to[i] = -from[i];
    }

    void deflect(const Mass<T> &mass, T y0, T g1, T g2) {
        // w, zeta, the series F with its derivatives G (after zeta) and H (after t), and the source position beta
        const T e1 = mass.e1, e2 = mass.e2, py = y0 - mass.cy, t = mass.t, log_s = mass.log_s;
        const int last = mass.terms - 1;
        #pragma omp simd
        for (int i = 0; i < wide_; ++i) {
            const T px = x[i] - mass.cx;
            wx[i] = (1 - e1) * px - e2 * py, wy[i] = (1 + e1) * py - e2 * px;
            T w2 = wx[i] * wx[i] + wy[i] * wy[i];
            w2 = w2 > T(1e-16) ? w2 : T(1);
            per_w2[i] = 1 / w2;
            log_w[i] = T(0.5) * std::log(w2);
            scale[i] = t == 1 ? std::exp(log_s) / std::sqrt(w2) : std::exp(t * (log_s - log_w[i]));
            const T cos2 = (wx[i] * wx[i] - wy[i] * wy[i]) * per_w2[i], sin2 = 2 * wx[i] * wy[i] * per_w2[i];
            zx[i] = -e1 * cos2 - e2 * sin2, zy[i] = e2 * cos2 - e1 * sin2;
            Fx[i] = mass.a[last], Fy[i] = 0, Gx[i] = 0, Gy[i] = 0, Hx[i] = mass.da[last], Hy[i] = 0;
        }
        for (int n = last - 1; n >= 0; --n) {  // Horner's rule, with its derivative
            const T a = mass.a[n], da = mass.da[n];
            #pragma omp simd
            for (int i = 0; i < wide_; ++i) {
                const T cx = zx[i], cy = zy[i];
                const T gx = Gx[i] * cx - Gy[i] * cy + Fx[i], gy = Gx[i] * cy + Gy[i] * cx + Fy[i];
                const T fx = Fx[i] * cx - Fy[i] * cy + a, fy = Fx[i] * cy + Fy[i] * cx;
                const T hx = Hx[i] * cx - Hy[i] * cy + da, hy = Hx[i] * cy + Hy[i] * cx;
                Gx[i] = gx, Gy[i] = gy, Fx[i] = fx, Fy[i] = fy, Hx[i] = hx, Hy[i] = hy;
            }
        }
        #pragma omp simd
        for (int i = 0; i < wide_; ++i) {
            const T ax = scale[i] * (wx[i] * Fx[i] - wy[i] * Fy[i]), ay = scale[i] * (wx[i] * Fy[i] + wy[i] * Fx[i]);
            bx[i] = x[i] - ax - g1 * x[i] - g2 * y0, by[i] = y0 - ay - g2 * x[i] + g1 * y0;
        }
    }

    void slope(const Mass<T> &mass, T *to) const {
        // d alpha/dt = alpha ln(s/|w|) + scale w H
        #pragma omp simd
        for (int i = 0; i < wide_; ++i) {
            const T log = mass.log_s - log_w[i], hx = Fx[i] * log + Hx[i], hy = Fy[i] * log + Hy[i];
            to[i] = -scale[i] * (sx[i] * (wx[i] * hx - wy[i] * hy) + sy[i] * (wx[i] * hy + wy[i] * hx));
        }
    }

    void vary(const Mass<T> &mass, T y0, T ex, T ey, T dzx, T dzy, T dlog_s, T *to) const {
        // d flux for d epsilon = ex + i ey and dz = dzx + i dzy:
        // dw = dz - epsilon conj(dz) - d epsilon conj(z); d zeta = -conj(d epsilon) w/conj(w) - conj(epsilon) (dw conj(w) - w conj(dw))/conj(w)^2
        const T e1 = mass.e1, e2 = mass.e2, t = mass.t, py = y0 - mass.cy;
        const T fx = dzx - e1 * dzx - e2 * dzy, fy = dzy + e1 * dzy - e2 * dzx;
        #pragma omp simd
        for (int i = 0; i < wide_; ++i) {
            const T px = x[i] - mass.cx, ux = wx[i], uy = wy[i], r = per_w2[i];
            const T dwx = fx - ex * px - ey * py, dwy = fy - ey * px + ex * py;
            const T dlog_w = (ux * dwx + uy * dwy) * r;
            const T cos2 = (ux * ux - uy * uy) * r, sin2 = 2 * ux * uy * r;  // w/conj(w)
            const T twist = 2 * (ux * dwy - uy * dwx) * r;                  // (dw conj(w) - w conj(dw))/|w|^2 = i twist; times w/conj(w)
            const T dzetax = -ex * cos2 - ey * sin2 - twist * zy[i], dzetay = ey * cos2 - ex * sin2 + twist * zx[i];
            const T grow = t * (dlog_s - dlog_w);
            const T vx = ux * Fx[i] - uy * Fy[i], vy = ux * Fy[i] + uy * Fx[i];
            const T hx = Gx[i] * dzetax - Gy[i] * dzetay, hy = Gx[i] * dzetay + Gy[i] * dzetax;
            const T dax = grow * vx + dwx * Fx[i] - dwy * Fy[i] + ux * hx - uy * hy;
            const T day = grow * vy + dwx * Fy[i] + dwy * Fx[i] + ux * hy + uy * hx;
            to[i] = -scale[i] * (sx[i] * dax + sy[i] * day);
        }
    }

    void convolve_x(const T *from, T *to) const {
        const T centre = taps_[radius_];
        const T *middle = from + radius_;
        #pragma omp simd
        for (int i = 0; i < width_; ++i) to[i] = centre * middle[i];
        for (int k = 1; k <= radius_; ++k) {
            const T tap = taps_[radius_ + k];
            #pragma omp simd
            for (int i = 0; i < width_; ++i) to[i] += tap * (middle[i - k] + middle[i + k]);
        }
    }

    void sum(int row, T sky, const Image<T> &image, const Result<T> &result, double &cost_in, double &cost) {
        const int n = int(free_.size()), high = 2 * radius_ + 1;
        const std::size_t length = maps_.size() * width_;
        auto ring = [&](int r) { return ring_.data() + std::size_t(r % high) * length; };
        T *out = out_.data();
        const T *middle = ring(row + radius_);
        #pragma omp simd
        for (std::size_t i = 0; i < length; ++i) out[i] = taps_[radius_] * middle[i];
        for (int k = 1; k <= radius_; ++k) {
            const T tap = taps_[radius_ + k], *below = ring(row + radius_ - k), *above = ring(row + radius_ + k);
            #pragma omp simd
            for (std::size_t i = 0; i < length; ++i) out[i] += tap * (below[i] + above[i]);
        }
        const std::size_t at = std::size_t(row) * width_;
        const T *data = image.data + at, *v0 = image.v0 + at;
        T *weight = weighted_.data();
        T *residual = flux;  // free again: the row has been convolved
        T in = 0, now = 0;
        #pragma omp simd
        for (int i = 0; i < width_; ++i) {
            residual[i] = data[i] - out[i] - sky;
            weight[i] = v0[i] > 0 ? 1 / (v0[i] + image.v1 * std::max<T>(out[i], 0)) : T(0);
            now += weight[i] * residual[i] * residual[i];
        }
        if (image.weights_in)
            #pragma omp simd
            for (int i = 0; i < width_; ++i) in += image.weights_in[at + i] * residual[i] * residual[i];
        cost += now, cost_in += in;
        if (result.weights) std::copy(weight, weight + width_, result.weights + at);
        if (result.model) for (int i = 0; i < width_; ++i) result.model[at + i] = out[i] + sky;
        T *scaled = sx;
        int map = 1;
        for (int j = 0; j < n; ++j) column_[j] = free_[j] == SKY ? nullptr : out + std::size_t(map++) * width_;
        if (result.jacobian)
            for (int j = 0; j < n; ++j)
                #pragma omp simd
                for (int i = 0; i < width_; ++i) result.jacobian[(std::size_t(j) * height_ + row) * width_ + i] = column_[j] ? column_[j][i] : T(1);
        for (int j = 0; j < n; ++j) {
            if (column_[j]) for (int i = 0; i < width_; ++i) scaled[i] = weight[i] * column_[j][i];
            else std::copy(weight, weight + width_, scaled);
            T g = 0;
            #pragma omp simd
            for (int i = 0; i < width_; ++i) g += scaled[i] * residual[i];
            result.g[j] += g;
            for (int k = j; k < n; ++k) {
                T a = 0;
                if (const T *other = column_[k]) for (int i = 0; i < width_; ++i) a += scaled[i] * other[i];
                else for (int i = 0; i < width_; ++i) a += scaled[i];
                result.A[j * n + k] += a;
            }
        }
    }

    const T *column_[PARAMETERS];
};

template <typename T>
void normal_equations(int jobs, const int *image_of, const T *parameters, const int *free, int count, const T *data, const T *v0,
                      const T *v1, const T *weights_in, int height, int width, T pixel_scale, const T *taps, int radius,
                      double *cost_in, double *cost, double *A, double *g, T *weights, T *model, T *jacobian) {
    Pass<T> pass(free, count, height, width, pixel_scale, taps, radius);
    const std::size_t pixels = std::size_t(height) * width;
    for (int job = 0; job < jobs; ++job) {
        const std::size_t i = image_of[job];
        const Image<T> image{data + i * pixels, v0 + i * pixels, weights_in ? weights_in + job * pixels : nullptr, v1[i]};
        const Result<T> result{cost_in + job, cost + job, A + std::size_t(job) * count * count, g + std::size_t(job) * count,
                               weights ? weights + job * pixels : nullptr, model ? model + job * pixels : nullptr,
                               jacobian ? jacobian + std::size_t(job) * count * pixels : nullptr};
        pass.run(parameters + std::size_t(job) * PARAMETERS, image, result);
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                                              \
    extern "C" void NAME(int jobs, const int *image_of, const T *parameters, const int *free, int count, const T *data, const T *v0, \
                         const T *v1, const T *weights_in, int height, int width, T pixel_scale, const T *taps, int radius,          \
                         double *cost_in, double *cost, double *A, double *g, T *weights, T *model, T *jacobian) {                   \
        normal_equations<T>(jobs, image_of, parameters, free, count, data, v0, v1, weights_in, height, width, pixel_scale, taps,     \
                            radius, cost_in, cost, A, g, weights, model, jacobian);                                                  \
    }

EXPORT(normal_equations_float, float)
EXPORT(normal_equations_double, double)
