// Products of a blur (sparse, a row for each pixel that counts, a column for each pixel of the sky) with nodes of a source.
//
// The nodes that a pixel of the sky sees are a sparse matrix too, of a dozen entries a row. SciPy's product of the two counts its
// entries, sorts them into lists and spreads them out again; here a row of the result stays in the cache while it is summed.
// Indices are 32 bits, numbers doubles, rows as in scipy.sparse.csr_array.

extern "C" {

// out (rows of `stride` numbers, zero before) += blur x seen.
void onto_pixels(int rows, const int* blur_start, const int* blur_column, const double* blur, const int* seen_start,
                 const int* seen_column, const double* seen, double* out, long stride) {
    for (int i = 0; i < rows; ++i) {
        double* line = out + i * stride;
        for (int p = blur_start[i]; p < blur_start[i + 1]; ++p) {
            const double weight = blur[p];
            const int sky = blur_column[p];
            for (int q = seen_start[sky]; q < seen_start[sky + 1]; ++q) line[seen_column[q]] += weight * seen[q];
        }
    }
}

// out (entries of `seen`, zero before) += blur^T x dense, where `seen` has an entry.
void back_to_sky(int rows, const int* blur_start, const int* blur_column, const double* blur, const int* seen_start,
                 const int* seen_column, const double* dense, long stride, double* out) {
    for (int i = 0; i < rows; ++i) {
        const double* line = dense + i * stride;
        for (int p = blur_start[i]; p < blur_start[i + 1]; ++p) {
            const double weight = blur[p];
            const int sky = blur_column[p];
            for (int q = seen_start[sky]; q < seen_start[sky + 1]; ++q) out[q] += weight * line[seen_column[q]];
        }
    }
}
}
