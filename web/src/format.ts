// Numbers with units, in about three digits.

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** So many of something. */
export function number(value: number, one: string, many = one + "s"): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A number that need not be exact. */
export function rough(value: number): string {
  if (Number.isInteger(value) && value < 10_000) return count(value);
  return value >= 9_995 ? short(value) : value >= 999.5 ? count(Math.round(value)) : three(value);
}

function short(value: number): string {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (value >= size * 0.9995) return three(value / size) + " " + unit;
  }
  return three(value);
}

function three(value: number): string {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  for (const unit of ["KiB", "MiB", "GiB", "TiB"]) {
    value /= 1024;
    if (value < 1023.5 || unit === "TiB") return `${three(value)} ${unit}`;
  }
  return "";
}

export function duration(seconds: number): string {
  if (seconds === 0) return "0 s";
  if (seconds < 1e-6) return `${three(seconds * 1e9)} ns`;
  if (seconds < 1e-3) return `${three(seconds * 1e6)} µs`;
  if (seconds < 1) return `${three(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${three(seconds)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

export function percent(fraction: number): string {
  return fraction > 0 && fraction < 0.005 ? "<1 %" : `${(fraction * 100).toFixed(0)} %`;
}

/** Seconds since the start of the run, on an axis. */
export function clock(seconds: number): string {
  if (Math.abs(seconds) < 120) return `${+seconds.toFixed(2)} s`;
  const minutes = seconds / 60;
  return minutes < 120 ? `${+minutes.toFixed(1)} min` : `${+(minutes / 60).toFixed(1)} h`;
}

/** The same where steps of the axis may be tiny: as many digits as tell them apart. */
export function clockOf(seconds: number, step: number): string {
  if (step >= 60) return clock(seconds);
  const digits = Math.min(9, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  return `${seconds.toFixed(digits)} s`;
}
