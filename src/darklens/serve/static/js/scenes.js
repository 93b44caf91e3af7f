// Lenses to begin with.

export const SCENES = [
  { title: "An Einstein ring", bench: { theta_E: 1.3, e1: 0, e2: 0, gamma1: 0, gamma2: 0, source_x: 0, source_y: 0, source_e1: 0, R_sersic: 0.12 } },
  { title: "An Einstein cross", bench: { theta_E: 1.2, e1: 0.22, e2: 0.05, source_x: 0.02, source_y: 0.03, R_sersic: 0.05, source_e1: 0, source_mag: 23 } },
  { title: "A giant arc", bench: { theta_E: 1.4, e1: 0.18, e2: -0.1, gamma1: 0.05, source_x: 0.28, source_y: 0.05, R_sersic: 0.13, source_e1: -0.2 } },
  { title: "A dark clump on the arc", bench: { theta_E: 1.3, source_x: 0.1, source_y: 0.06, substructure: "clump", log10_mass: 9.6, x_sub: 1.04, y_sub: 0.92, R_sersic: 0.15 } },
  { title: "Cold dark matter", bench: { theta_E: 1.3, source_x: 0.08, source_y: -0.05, substructure: "subhalos", f_sub: 0.02, seed: 7 } },
  { title: "An axion vortex", bench: { theta_E: 1.3, source_x: 0.05, source_y: 0.08, substructure: "vortex", log10_mass: 9.9, half_length: 0.7, x_sub: 0.5, y_sub: 0.9, angle: -20 } },
  {
    title: "Like the common test: vortex",
    bench: { theta_E: 1.3, e1: 0, e2: 0, gamma1: 0.1, gamma2: -0.05, source_x: 0.15, source_y: -0.1, R_sersic: 0.5, n_sersic: 1.5, source_mag: 20, source_e1: 0.15, substructure: "vortex", log10_mass: 9.75, half_length: 0.6, x_sub: 0.4, y_sub: -0.3, angle: 35, instrument: "as-common-test" },
  },
  {
    title: "Like DeepLense Model III: point masses",
    bench: { theta_E: 0.81, e1: 0.1, e2: 0, gamma1: 0.03, gamma2: 0, source_x: 0.15, source_y: 0.1, R_sersic: 0.25, n_sersic: 1, source_mag: 20, source_e1: -0.1, source_e2: 0.1, substructure: "points", f_sub: 0.04, instrument: "as-model-iii" },
  },
];

const between = (low, high, digits = 2) => Number((low + (high - low) * Math.random()).toFixed(digits));

/** A random lens. */
export function surprise() {
  const kind = ["none", "subhalos", "points", "vortex", "clump"][Math.floor(5 * Math.random())];
  const theta_E = between(0.9, 1.6);
  const where = between(0, 2 * Math.PI);
  return {
    theta_E, e1: between(-0.2, 0.2), e2: between(-0.2, 0.2), gamma: between(1.9, 2.15), gamma1: between(-0.08, 0.08), gamma2: between(-0.08, 0.08),
    source_x: between(-0.3, 0.3), source_y: between(-0.3, 0.3), R_sersic: between(0.08, 0.3), n_sersic: between(0.8, 2.5), source_mag: between(21.5, 23.5, 1),
    source_e1: between(-0.25, 0.25), source_e2: between(-0.25, 0.25), substructure: kind, f_sub: between(0.005, 0.03, 3), seed: Math.floor(9999 * Math.random()),
    log10_mass: between(9, 10.2), half_length: between(0.3, 1.2), angle: Math.round(between(-90, 90)),
    x_sub: Number((theta_E * Math.cos(where)).toFixed(2)), y_sub: Number((theta_E * Math.sin(where)).toFixed(2)),
  };
}
